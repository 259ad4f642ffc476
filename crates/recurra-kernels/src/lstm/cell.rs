//! The pointwise part of the LSTM.

use crate::recurrent::{Cell, MOST_GATES};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Gates in the order i, f, g, o; the memory is c. `COUPLED`: the input gate lets in no more than 1 − f.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lstm<const COUPLED: bool>;

impl<const COUPLED: bool> Lstm<COUPLED> {
    /// What the input gate lets in, of what it wants to.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    unsafe fn let_in<V: Vector>(i: V, f: V) -> V {
        // SAFETY: by the contract of `Vector`.
        unsafe { if COUPLED { i.min(V::splat(1.0).sub(f)) } else { i } }
    }
}

impl<const COUPLED: bool> Cell for Lstm<COUPLED> {
    const GATES: usize = 4;
    const KEPT: usize = 4;
    const GRADIENTS: usize = 4;
    const OF_INPUT: &'static [usize] = &[0, 1, 2, 3];
    const OF_RECURRENT: &'static [usize] = &[0, 1, 2, 3];

    #[inline(always)]
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        a: [V; MOST_GATES],
        u: [V; MOST_GATES],
        c_before: V,
    ) -> ([V; MOST_GATES], V, V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let i = F::sigmoid(a[0].add(u[0]));
            let f = F::sigmoid(a[1].add(u[1]));
            let g = F::tanh(a[2].add(u[2]));
            let o = F::sigmoid(a[3].add(u[3]));
            let c = f.mul_add(c_before, Self::let_in(i, f).mul(g));
            ([i, f, g, o], c, o.mul(F::tanh(c)))
        }
    }

    #[inline(always)]
    unsafe fn backward<V: Vector, F: GateFunctions<V>>(
        self,
        [i, f, g, o]: [V; MOST_GATES],
        c_before: V,
        c: V,
        d_h: V,
        d_c: V,
    ) -> ([V; MOST_GATES], V) {
        // SAFETY: by the contract of `Vector`.
        unsafe {
            let one = V::splat(1.0);
            let tanh_c = F::tanh(c);
            let d_c = d_h.mul(o).mul_add(one.sub(tanh_c.mul(tanh_c)), d_c);
            let mut d_let_in = d_c.mul(g);
            let mut d_f = d_c.mul(c_before);
            if COUPLED {
                // Of 1 − f and i, the smaller one has the gradient.
                let (rest, zero) = (one.sub(f), V::splat(0.0));
                d_f = d_f.sub(rest.select_less(i, d_let_in, zero));
                d_let_in = rest.select_less(i, zero, d_let_in);
            }
            let d_i = d_let_in.mul(i).mul(one.sub(i));
            let d_f = d_f.mul(f).mul(one.sub(f));
            let d_g = d_c.mul(Self::let_in(i, f)).mul(one.sub(g.mul(g)));
            let d_o = d_h.mul(tanh_c).mul(o).mul(one.sub(o));
            ([d_i, d_f, d_g, d_o], d_c.mul(f))
        }
    }
}
