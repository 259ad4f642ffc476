//! The pointwise part of the GRU.

use crate::recurrent::{Cell, MOST_GATES};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates in the order r, z, n; the memory is h. Kept are r, z, n and q = W_hn·h₋ + b_hn; the gradients are those of q, r, z
/// and n, in this order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gru;

impl Cell for Gru {
    const GATES: usize = 3;
    const BIASED: Option<usize> = Some(2);
    const KEPT: usize = 4;
    const GRADIENTS: usize = 4;
    const OF_INPUT: &'static [usize] = &[1, 2, 3];
    const OF_RECURRENT: &'static [usize] = &[1, 2, 0];

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        a: [V; MOST_GATES],
        u: [V; MOST_GATES],
        h_before: V,
    ) -> ([V; MOST_GATES], V, V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let r = F::sigmoid(a[0].add(u[0]));
            let z = F::sigmoid(a[1].add(u[1]));
            let q = u[2];
            let n = F::tanh(r.mul_add(q, a[2]));
            let h = z.mul_add(h_before, V::splat(1.0).sub(z).mul(n));
            ([r, z, n, q], h, h)
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector, F: GateFunctions<V>>(
        self,
        [r, z, n, q]: [V; MOST_GATES],
        h_before: V,
        _h: V,
        d_h: V,
        d_memory: V,
    ) -> ([V; MOST_GATES], V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let one = V::splat(1.0);
            let d_h = d_h.add(d_memory);
            let d_n = d_h.mul(one.sub(z)).mul(one.sub(n.mul(n)));
            let d_z = d_h.mul(h_before.sub(n)).mul(z).mul(one.sub(z));
            let d_r = d_n.mul(q).mul(r).mul(one.sub(r));
            let d_q = d_n.mul(r);
            ([d_q, d_r, d_z, d_n], d_h.mul(z))
        }
    }
}
