//! The step of the minLSTM.

use super::formula::{Beside, Formula, Gradients, MOST_GATES, Made};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates f, i, g.
#[derive(Clone, Copy)]
pub(super) struct MinLstm;

/// Below the sum of two gates that still have a ratio, so that 0/0 is 0.
pub(super) const LEAST_SUM: f32 = 1e-37;

impl Formula for MinLstm {
    const GATES: usize = 3;
    const HANDS_UP_MEMORY: bool = true;

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        [a_f, a_i, g, _]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
    ) -> Made<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let (f, i) = (F::sigmoid(a_f), F::sigmoid(a_i));
            let one_over_sum = f.add(i).max(V::splat(LEAST_SUM)).reciprocal();
            let h = f.mul_add(before, i.mul(g)).mul(one_over_sum);
            Made { kept: [f, i, g, g], memory: h, out: h }
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector>(
        self,
        [f, i, g, _]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
        _: V,
        d_out: V,
        d_memory: V,
    ) -> Gradients<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let zero = V::splat(0.0);
            let one_over_sum = f.add(i).max(V::splat(LEAST_SUM)).reciprocal();
            let d_h = d_out.add(d_memory);
            let (f_share, i_share) = (f.mul(one_over_sum), i.mul(one_over_sum));
            // d f' = −d i', where f' = f / (f + i): ∂f'/∂f = i' / (f + i), and f·∂f'/∂f = f'·i'.
            let d_share = d_h.mul(before.sub(g)).mul(f_share).mul(i_share);
            let one = V::splat(1.0);
            let d_a_f = d_share.mul(one.sub(f));
            let d_a_i = zero.sub(d_share.mul(one.sub(i)));
            let d_g = d_h.mul(i_share);
            Gradients::of_gates([d_a_f, d_a_i, d_g, zero], d_h.mul(f_share))
        }
    }
}
