//! The largest of some logits, found while they are in the first cache.

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

impl Likeliest {
    /// Whether there is a likeliest: all logits were numbers below +∞, and not all of them −∞.
    pub fn is_sound(&self) -> bool {
        self.is_sound && self.logit > f32::NEG_INFINITY
    }

    /// Nothing seen yet.
    pub(super) const NONE: Self = Self { id: 0, logit: f32::NEG_INFINITY, is_sound: true };

    /// That of a whole row of logits.
    pub fn of(logits: &[f32]) -> Self {
        let mut likeliest = Self::NONE;
        // SAFETY: these are the loops of an instruction set that this machine has.
        unsafe { (super::kernels::look())(&mut likeliest, logits, 0) };
        likeliest
    }

    /// The likelier of two; of equal ones the lower id.
    pub(super) fn or(self, other: Self) -> Self {
        let is_other =
            other.logit > self.logit || (other.logit == self.logit && other.id < self.id);
        let is_sound = self.is_sound && other.is_sound;
        Self { is_sound, ..if is_other { other } else { self } }
    }

    /// Looks at `logits`, the first of which has the id `first`.
    #[inline(always)]
    pub(super) fn look(&mut self, logits: &[f32], first: usize) {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let mut sound = [true; 16];
        let (whole, rest) = logits.as_chunks::<16>();
        for values in whole {
            for lane in 0..16 {
                let x = values[lane];
                lanes[lane] = if x > lanes[lane] { x } else { lanes[lane] };
                sound[lane] &= x < f32::INFINITY;
            }
        }
        let mut largest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
        self.is_sound &= sound.into_iter().all(|sound| sound);
        for &x in rest {
            largest = if x > largest { x } else { largest };
            self.is_sound &= x < f32::INFINITY;
        }
        if largest > self.logit || (largest == self.logit && (first as u32) < self.id) {
            let place = logits.iter().position(|&x| x == largest).unwrap_or(0);
            *self = Self { id: (first + place) as u32, logit: largest, ..*self };
        }
    }
}
