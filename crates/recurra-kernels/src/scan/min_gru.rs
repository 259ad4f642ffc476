//! The step of the minGRU.

use super::formula::{Beside, Formula, Gradients, MOST_GATES, Made, before_sigmoid};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates z, g.
#[derive(Clone, Copy)]
pub(super) struct MinGru;

impl Formula for MinGru {
    const GATES: usize = 2;
    const HANDS_UP_MEMORY: bool = true;

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        [a_z, g, ..]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
    ) -> Made<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let z = F::sigmoid(a_z);
            let h = z.mul_add(g.sub(before), before); // (1 − z)·h₋ + z·g
            Made { kept: [z, g, z, z], memory: h, out: h }
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector>(
        self,
        [z, g, ..]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
        _: V,
        d_out: V,
        d_memory: V,
    ) -> Gradients<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let zero = V::splat(0.0);
            let d_h = d_out.add(d_memory);
            let d_a_z = before_sigmoid(d_h.mul(g.sub(before)), z);
            let d_g = d_h.mul(z);
            Gradients::of_gates([d_a_z, d_g, zero, zero], d_h.sub(d_g))
        }
    }
}
