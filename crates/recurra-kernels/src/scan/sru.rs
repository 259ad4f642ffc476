//! The step of the SRU.

use super::formula::{Beside, Formula, Gradients, MOST_GATES, Made, before_sigmoid};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates u, f, r, and x where it is a product.
#[derive(Clone, Copy)]
pub(super) struct Sru<const IS_PROJECTED: bool> {
    /// α
    pub scale: f32,
}

impl<const IS_PROJECTED: bool> Formula for Sru<IS_PROJECTED> {
    const GATES: usize = if IS_PROJECTED { 4 } else { 3 };
    const VECTORS: usize = 2;
    const READS_X: bool = !IS_PROJECTED;
    const HANDS_UP_MEMORY: bool = false;

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        [u, a_f, a_r, a_x]: [V; MOST_GATES],
        Beside { vectors: [v_f, v_r], x }: Beside<V>,
        before: V,
    ) -> Made<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let f = F::sigmoid(v_f.mul_add(before, a_f));
            let r = F::sigmoid(v_r.mul_add(before, a_r));
            let c = f.mul_add(before.sub(u), u); // f·c₋ + (1 − f)·u
            let x = if IS_PROJECTED { a_x } else { x };
            let skip = x.mul(V::splat(self.scale));
            let h = r.mul_add(c.sub(skip), skip); // r·c + (1 − r)·αx
            Made { kept: [u, f, r, a_x], memory: c, out: h }
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector>(
        self,
        [u, f, r, a_x]: [V; MOST_GATES],
        Beside { vectors: [v_f, v_r], x }: Beside<V>,
        before: V,
        c: V,
        d_out: V,
        d_memory: V,
    ) -> Gradients<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let one = V::splat(1.0);
            let scale = V::splat(self.scale);
            let x = if IS_PROJECTED { a_x } else { x };
            let d_c = d_out.mul_add(r, d_memory);
            let d_u = d_c.mul(one.sub(f));
            let d_a_f = before_sigmoid(d_c.mul(before.sub(u)), f);
            let d_a_r = before_sigmoid(d_out.mul(c.sub(x.mul(scale))), r);
            let d_x = d_out.mul(one.sub(r)).mul(scale);
            let d_before = d_a_r.mul_add(v_r, d_a_f.mul_add(v_f, d_c.mul(f)));
            Gradients {
                a: [d_u, d_a_f, d_a_r, d_x],
                before: d_before,
                vectors: [d_a_f.mul(before), d_a_r.mul(before)],
                x: d_x,
            }
        }
    }
}
