//! Inverted dropout (Srivastava et al., 2014) whose mask is computed from a counter and never stored.
//!
//! yᵢ = xᵢ / keep where hash(key, i) < keep · 2³², else 0. The mask depends on the key and the position alone: backward is
//! the same call on the gradients, and every instruction set and number of threads gives the same mask, and the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod reference;
#[cfg(test)]
mod tests;
mod vector;

use crate::counter::Counter;
use crate::{Cpu, Element, Isa, SharedSlice};

/// Values of one task: enough to be worth a thread, few enough to stay in its cache.
const BLOCK: usize = 32 * 1024;

/// Which values are kept: a function of the key and the position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// Tells one mask from another: mix the seed, the step and the layer into it. Neighbouring keys give unrelated masks.
    pub key: u64,
    /// The probability that a value is kept, 0 < keep ≤ 1.
    pub keep: f32,
}

/// A mask made ready for the loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    counter: Counter,
    /// A value is kept when its hash lies below.
    threshold: u32,
    scale: f64,
}

impl Mask {
    /// This mask for `len` values, made ready.
    ///
    /// # Panics
    /// As [`apply`].
    #[cfg(target_arch = "x86_64")]
    #[track_caller]
    pub(crate) fn checked(self, len: usize) -> Prepared {
        check(self, len);
        self.prepare()
    }

    fn prepare(self) -> Prepared {
        let keep = f64::from(self.keep);
        Prepared {
            counter: Counter::new(self.key),
            threshold: (keep * 4_294_967_296.0) as u32,
            scale: 1.0 / keep,
        }
    }
}

impl Prepared {
    #[inline(always)]
    fn keeps(self, position: u32) -> bool {
        self.counter.at(position) < self.threshold
    }
}

/// Keeps value i and divides it by `keep` where hash(key, i) < keep · 2³²; sets it to zero elsewhere, even where it is
/// infinite or not a number. Forward on activations, backward on their gradients.
///
/// # Shapes
/// `values` any, read as one row; the first is at position `first`.
///
/// # Panics
/// When `keep` is not in 0 < keep ≤ 1, or there are more than 2³² values.
#[track_caller]
pub fn apply<E: Element>(cpu: &Cpu, mask: Mask, first: usize, values: &mut [E]) {
    check(mask, first + values.len());
    each_block(cpu, mask, first, None, values);
}

/// [`apply`] from `values` to `to`.
///
/// # Panics
/// As [`apply`], and when both do not hold as many values.
#[track_caller]
pub fn apply_to<E: Element>(cpu: &Cpu, mask: Mask, first: usize, values: &[E], to: &mut [E]) {
    check(mask, first + values.len());
    assert_eq!(values.len(), to.len(), "dropout of so many values into so many");
    each_block(cpu, mask, first, Some(values), to);
}

#[track_caller]
fn check(mask: Mask, len: usize) {
    assert!(mask.keep > 0.0 && mask.keep <= 1.0, "keep is {}; expected 0 < keep ≤ 1", mask.keep);
    assert!(len as u64 <= 1 << 32, "{len} values; positions are 32 bits");
}

/// Blocks of `values` on the team, each filled from the same block of `from` where that is another place.
fn each_block<E: Element>(
    cpu: &Cpu,
    mask: Mask,
    first: usize,
    from: Option<&[E]>,
    values: &mut [E],
) {
    let keeps_all = mask.keep == 1.0;
    let mask = mask.prepare();
    let len = values.len();
    let values = SharedSlice::new(values);
    cpu.pool().for_each_block(len, BLOCK, |places| {
        let start = (first + places.start) as u32;
        // SAFETY: every task has values of its own.
        let block = unsafe { values.slice(places.clone()) };
        if let Some(from) = from {
            block.copy_from_slice(&from[places]);
        }
        match E::as_f32_mut(block) {
            _ if keeps_all => {}
            Some(block) => apply_f32(cpu.isa(), mask, start, block),
            None => reference::apply(mask, start, block),
        }
    });
}

fn apply_f32(isa: Isa, mask: Prepared, start: u32, values: &mut [f32]) {
    match isa {
        // SAFETY: `Cpu` has checked that the machine has the instruction set.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::apply(mask, start, values) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::apply(mask, start, values) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::apply(mask, start, values),
        _ => plain::apply(mask, start, values),
    }
}
