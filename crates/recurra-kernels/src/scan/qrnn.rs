//! The step of the QRNN with fo-pooling.

use super::formula::{Beside, Formula, Gradients, MOST_GATES, Made, before_sigmoid};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates z, f, o.
#[derive(Clone, Copy)]
pub(super) struct Qrnn;

impl Formula for Qrnn {
    const GATES: usize = 3;
    const HANDS_UP_MEMORY: bool = false;

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        [a_z, a_f, a_o, _]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
    ) -> Made<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let (z, f, o) = (F::tanh(a_z), F::sigmoid(a_f), F::sigmoid(a_o));
            let c = f.mul_add(before.sub(z), z); // f·c₋ + (1 − f)·z
            Made { kept: [z, f, o, o], memory: c, out: o.mul(c) }
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector>(
        self,
        [z, f, o, _]: [V; MOST_GATES],
        _: Beside<V>,
        before: V,
        c: V,
        d_out: V,
        d_memory: V,
    ) -> Gradients<V> {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let (zero, one) = (V::splat(0.0), V::splat(1.0));
            let d_c = d_out.mul_add(o, d_memory);
            let d_a_z = d_c.mul(one.sub(f)).mul(one.sub(z.mul(z)));
            let d_a_f = before_sigmoid(d_c.mul(before.sub(z)), f);
            let d_a_o = before_sigmoid(d_out.mul(c), o);
            Gradients::of_gates([d_a_z, d_a_f, d_a_o, zero], d_c.mul(f))
        }
    }
}
