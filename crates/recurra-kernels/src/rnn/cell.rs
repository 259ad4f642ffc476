//! The pointwise part of the simple recurrent network.

use super::Activation;
use crate::recurrent::{Cell, MOST_GATES};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

impl Cell for Activation {
    const GATES: usize = 1;
    const KEPT: usize = 1;
    const GRADIENTS: usize = 1;
    const OF_INPUT: &'static [usize] = &[0];
    const OF_RECURRENT: &'static [usize] = &[0];

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        a: [V; MOST_GATES],
        u: [V; MOST_GATES],
        _h_before: V,
    ) -> ([V; MOST_GATES], V, V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let a = a[0].add(u[0]);
            let h = match self {
                Activation::Tanh => F::tanh(a),
                Activation::Relu => a.max(V::splat(0.0)),
            };
            ([h; MOST_GATES], h, h)
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector, F: GateFunctions<V>>(
        self,
        _kept: [V; MOST_GATES],
        _h_before: V,
        h: V,
        d_h: V,
        _d_memory: V,
    ) -> ([V; MOST_GATES], V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let zero = V::splat(0.0);
            let d_a = match self {
                Activation::Tanh => d_h.mul(V::splat(1.0).sub(h.mul(h))),
                Activation::Relu => zero.select_less(h, d_h, zero),
            };
            ([d_a; MOST_GATES], zero)
        }
    }
}
