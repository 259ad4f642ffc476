//! The loops, once for every vector type.

use super::reference::GELU;
use super::{Back, Function, Run};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// σ(s(x)) and s′(x).
#[inline(always)]
unsafe fn gate_and_slope<V: Vector, F: GateFunctions<V>>(function: Function, x: V) -> (V, V) {
    // SAFETY: by the contract of `Vector`.
    unsafe {
        match function {
            Function::Silu => (F::sigmoid(x), V::splat(1.0)),
            Function::Gelu => {
                let [first, third] = GELU.map(|x| V::splat(x as f32));
                let square = x.mul(x);
                let gate = F::sigmoid(x.mul(square.mul_add(third, first)));
                (gate, square.mul_add(third.mul(V::splat(3.0)), first))
            }
        }
    }
}

/// y = f(a) ⊙ b.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn forward<V: Vector, F: GateFunctions<V>>(run: Run<'_>, y: &mut [f32]) {
    let Run { function, a, b } = run;
    let n = y.len().min(a.len()).min(b.map_or(usize::MAX, <[f32]>::len));
    for at in (0..n).step_by(V::LANES) {
        let lanes = (n - at).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let x = V::load_first(a.as_ptr().add(at), lanes);
            let (gate, _) = gate_and_slope::<V, F>(function, x);
            let mut value = x.mul(gate);
            if let Some(b) = b {
                value = value.mul(V::load_first(b.as_ptr().add(at), lanes));
            }
            value.store_first(y.as_mut_ptr().add(at), lanes);
        }
    }
}

/// d_a = d_y ⊙ b ⊙ f′(a) and d_b = d_y ⊙ f(a).
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn backward<V: Vector, F: GateFunctions<V>>(
    run: Run<'_>,
    d_y: &[f32],
    back: Back<'_>,
) {
    let Run { function, a, b } = run;
    let Back { d_a, mut d_b, adds } = back;
    let n = d_y.len().min(a.len()).min(d_a.len());
    if let (Some(b), Some(d_b)) = (b, &d_b) {
        assert!(b.len() >= n && d_b.len() >= n, "a gate of {n} values");
    }
    for at in (0..n).step_by(V::LANES) {
        let lanes = (n - at).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let put = |value: V, to: *mut f32| {
                let value = if adds { value.add(V::load_first(to, lanes)) } else { value };
                value.store_first(to, lanes);
            };
            let x = V::load_first(a.as_ptr().add(at), lanes);
            let d = V::load_first(d_y.as_ptr().add(at), lanes);
            let (gate, slope) = gate_and_slope::<V, F>(function, x);
            let value = x.mul(gate);
            // σ + x·σ·(1 − σ)·s′
            let slope = value.mul(V::splat(1.0).sub(gate)).mul_add(slope, gate);
            let mut d_value = d.mul(slope);
            if let (Some(b), Some(d_b)) = (b, &mut d_b) {
                d_value = d_value.mul(V::load_first(b.as_ptr().add(at), lanes));
                put(d.mul(value), d_b.as_mut_ptr().add(at));
            }
            put(d_value, d_a.as_mut_ptr().add(at));
        }
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops {
            forward: forward::<crate::simd::math::Exact>,
            backward: backward::<crate::simd::math::Exact>,
        };

        $(#[$feature])?
        unsafe fn forward<F: crate::simd::math::GateFunctions<$vector>>(
            run: super::Run<'_>,
            y: &mut [f32],
        ) {
            // SAFETY: by this function's contract, which is that of `vector::forward`.
            unsafe { super::vector::forward::<$vector, F>(run, y) }
        }

        $(#[$feature])?
        unsafe fn backward<F: crate::simd::math::GateFunctions<$vector>>(
            run: super::Run<'_>,
            d_y: &[f32],
            back: super::Back<'_>,
        ) {
            // SAFETY: by this function's contract, which is that of `vector::backward`.
            unsafe { super::vector::backward::<$vector, F>(run, d_y, back) }
        }
    };
}

pub(super) use loops;
