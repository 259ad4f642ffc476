//! The largest of some logits, found while they are in the first cache.

use super::layout::LANES;
use super::product::Product;

/// The largest logit of a row, and where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeliest {
    /// The first of the largest.
    pub id: u32,
    /// Its logit; −∞ where there is none.
    pub logit: f32,
    /// Whether every logit was a number below +∞.
    pub(super) is_sound: bool,
}

/// The same for each of sixteen lanes while a row is looked through, from its first place to its last or backward.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lanes {
    pub logits: [f32; LANES],
    pub ids: [u32; LANES],
    /// Not 0 where a logit was no number, or +∞.
    pub unsound: [u32; LANES],
}

/// A block of the output layer times some rows, of which only the likeliest outputs are kept.
#[derive(Debug)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // its products are those of tiles
pub(super) struct Search<'a> {
    pub product: Product<'a>,
    /// One a row: what was found in other blocks.
    pub likeliest: &'a mut [Lanes],
    /// The id of the first output, and how many there are.
    pub first: usize,
    pub n: usize,
    /// As for [`Lanes::look`].
    pub is_backward: bool,
}

impl Likeliest {
    /// Nothing seen yet.
    pub(super) const NONE: Self = Self { id: 0, logit: f32::NEG_INFINITY, is_sound: true };

    /// Whether there is a likeliest: all logits were numbers below +∞, and not all of them −∞.
    pub fn is_sound(&self) -> bool {
        self.is_sound && self.logit > f32::NEG_INFINITY
    }

    /// That of a whole row of logits.
    pub fn of(logits: &[f32]) -> Self {
        let mut lanes = Lanes::NONE;
        // SAFETY: these are the loops of an instruction set that this machine has.
        unsafe { (super::kernels::best().look)(&mut lanes, logits, 0, false) };
        lanes.likeliest()
    }

    /// That of a single logit.
    pub(super) fn one(id: u32, logit: f32) -> Self {
        Self { id, logit, is_sound: logit < f32::INFINITY }
    }

    /// The likelier of two; of equal ones the lower id.
    pub(super) fn or(self, other: Self) -> Self {
        let is_other =
            other.logit > self.logit || (other.logit == self.logit && other.id < self.id);
        let is_sound = self.is_sound && other.is_sound;
        Self { is_sound, ..if is_other { other } else { self } }
    }
}

impl Lanes {
    /// Nothing seen yet.
    pub(super) const NONE: Self =
        Self { logits: [f32::NEG_INFINITY; LANES], ids: [0; LANES], unsound: [0; LANES] };

    /// Looks at `logits`, the first of which has the id `first`; what was looked at before stands before them, or after
    /// them where `is_backward`.
    #[inline(always)]
    pub(super) fn look(&mut self, logits: &[f32], first: usize, is_backward: bool) {
        let (whole, rest) = logits.as_chunks::<LANES>();
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let rest_first = first + logits.len() - rest.len();
        if is_backward {
            if !rest.is_empty() {
                self.look_at(&last, rest_first, |x, best| x >= best);
            }
            for (idx, values) in whole.iter().enumerate().rev() {
                self.look_at(values, first + idx * LANES, |x, best| x >= best);
            }
        } else {
            for (idx, values) in whole.iter().enumerate() {
                self.look_at(values, first + idx * LANES, |x, best| x > best);
            }
            if !rest.is_empty() {
                self.look_at(&last, rest_first, |x, best| x > best);
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // lanes of four arrays, counted alike
    fn look_at(
        &mut self,
        values: &[f32; LANES],
        first: usize,
        is_better: impl Fn(f32, f32) -> bool,
    ) {
        for lane in 0..LANES {
            let x = values[lane];
            let better = is_better(x, self.logits[lane]);
            self.logits[lane] = if better { x } else { self.logits[lane] };
            self.ids[lane] = if better { (first + lane) as u32 } else { self.ids[lane] };
            self.unsound[lane] |= u32::from(x.is_nan()) | u32::from(x == f32::INFINITY);
        }
    }

    /// The likeliest of all lanes.
    pub(super) fn likeliest(&self) -> Likeliest {
        let is_sound = self.unsound == [0; LANES];
        let lanes = self.logits.into_iter().zip(self.ids);
        let lanes = lanes.map(|(logit, id)| Likeliest { id, logit, is_sound });
        lanes.fold(Likeliest { is_sound, ..Likeliest::NONE }, Likeliest::or)
    }
}
