//! The loops over a row of logits, once for every vector type.

use crate::simd::{Vector, math};

/// What is known of a stretch of logits: their maximum m and Σ exp(l − m).
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    pub max: f32,
    /// Not a number when a logit is not finite.
    pub sum: f64,
}

impl Statistics {
    /// Those of no logits.
    pub const NONE: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Takes those of other logits of the same row in.
    pub fn merge(&mut self, new: Self) {
        let max = self.max.max(new.max);
        let to = |old: &Self| old.sum * (f64::from(old.max) - f64::from(max)).exp();
        // The first time there is nothing, and 0 · exp(−∞ − max) need not be 0.
        let sum = to(&new) + if self.sum == 0.0 { 0.0 } else { to(self) };
        *self = Self { max, sum };
    }
}

/// The row loops of one instruction set.
pub(super) struct Kernel {
    pub statistics: unsafe fn(&[f32]) -> Statistics,
    pub gradient: unsafe fn(&mut [f32], f32, f32),
}

/// The widest vector.
const MOST_LANES: usize = 16;

/// The last, partial vector of a row, with `rest` in the lanes that do not exist.
#[inline(always)]
unsafe fn last<V: Vector>(values: &[f32], rest: f32) -> V {
    let mut lanes = [rest; MOST_LANES];
    lanes[..values.len()].copy_from_slice(values);
    // SAFETY: at least `LANES` values are there.
    unsafe { V::load(lanes.as_ptr()) }
}

/// Maximum and sum of exponentials of at most a few thousand logits (the sum is made of `f32` chains).
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn statistics<V: Vector>(logits: &[f32]) -> Statistics {
    let whole = logits.chunks_exact(V::LANES);
    let rest = whole.remainder();
    // SAFETY: each chunk holds `LANES` values.
    unsafe {
        let zero = V::splat(0.0);
        let mut max = last::<V>(rest, f32::NEG_INFINITY);
        // 0·l is 0 for a finite l and not a number for any other; exp would hide those, being clamped.
        let mut poison = last::<V>(rest, 0.0).mul(zero);
        for chunk in whole.clone() {
            let l = V::load(chunk.as_ptr());
            max = max.max(l);
            poison = l.mul_add(zero, poison);
        }
        let max = max.largest();
        let mut sum = poison;
        for chunk in whole {
            sum = sum.add(math::exp(V::load(chunk.as_ptr()).sub(V::splat(max))));
        }
        // Where a lane does not exist exp gives its lower bound, 10⁻³⁸: nothing beside the 1 of the maximum.
        sum = sum.add(math::exp(last::<V>(rest, f32::NEG_INFINITY).sub(V::splat(max))));
        Statistics { max, sum: f64::from(sum.sum()) }
    }
}

/// l ← factor · exp(l − max).
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn gradient<V: Vector>(logits: &mut [f32], max: f32, factor: f32) {
    // SAFETY: each chunk holds `LANES` values, the rest as many as are said.
    unsafe {
        let (max, factor) = (V::splat(max), V::splat(factor));
        let mut whole = logits.chunks_exact_mut(V::LANES);
        for chunk in &mut whole {
            let l = V::load(chunk.as_ptr());
            math::exp(l.sub(max)).mul(factor).store(chunk.as_mut_ptr());
        }
        let rest = whole.into_remainder();
        let l = V::load_first(rest.as_ptr(), rest.len());
        math::exp(l.sub(max)).mul(factor).store_first(rest.as_mut_ptr(), rest.len());
    }
}
