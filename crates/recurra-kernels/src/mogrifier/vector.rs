//! The loops, once for every vector type.

use super::{GATES, Step, StepBack};
use crate::lstm::cell::Lstm;
use crate::recurrent::{Cell, load, store};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// As [`scale`](super::scale).
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn scale<V: Vector, F: GateFunctions<V>>(
    gate: &mut [f32],
    v: &[f32],
    out: &mut [f32],
) {
    let n = v.len().min(gate.len()).min(out.len());
    for at in (0..n).step_by(V::LANES) {
        let lanes = (n - at).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let place = gate.as_mut_ptr().add(at);
            let m = V::splat(2.0).mul(F::sigmoid(load(place, lanes)));
            store(m, place, lanes);
            store(m.mul(load(v.as_ptr().add(at), lanes)), out.as_mut_ptr().add(at), lanes);
        }
    }
}

/// As [`scale_backward`](super::scale_backward).
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn scale_backward<V: Vector>(gate: &mut [f32], v: &[f32], d: &mut [f32]) {
    let n = v.len().min(gate.len()).min(d.len());
    for at in (0..n).step_by(V::LANES) {
        let lanes = (n - at).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let (of_gate, of_d) = (gate.as_mut_ptr().add(at), d.as_mut_ptr().add(at));
            let m: V = load(of_gate, lanes);
            let d_v = load::<V>(of_d, lanes).mul(m);
            let slope = V::splat(1.0).sub(m.mul(V::splat(0.5)));
            store(d_v.mul(load(v.as_ptr().add(at), lanes)).mul(slope), of_gate, lanes);
            store(d_v, of_d, lanes);
        }
    }
}

/// As [`step`](super::step).
///
/// # Safety
/// The contract of [`Vector`]; the slices of a row are as long as it says.
#[inline(always)]
pub(super) unsafe fn step<V: Vector, F: GateFunctions<V>>(is_coupled: bool, row: Step<'_, f32>) {
    // SAFETY: by this function's contract.
    unsafe {
        match is_coupled {
            false => step_of::<V, F, _>(Lstm::<false>, row),
            true => step_of::<V, F, _>(Lstm::<true>, row),
        }
    }
}

#[inline(always)]
unsafe fn step_of<V: Vector, F: GateFunctions<V>, C: Cell>(cell: C, row: Step<'_, f32>) {
    let Step { gates, c_before, c, h } = row;
    let (hidden, first) = (c.len(), gates.as_mut_ptr());
    for unit in (0..hidden).step_by(V::LANES) {
        let n = (hidden - unit).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let place = |gate: usize| first.add(gate * hidden + unit);
            let mut a = [V::splat(0.0); GATES];
            for (gate, a) in a.iter_mut().enumerate() {
                *a = load(place(gate), n);
            }
            let zero = [V::splat(0.0); GATES];
            let before = load(c_before.as_ptr().add(unit), n);
            let (found, c_now, h_now) = cell.forward::<V, F>(a, zero, before);
            for (gate, value) in found.into_iter().enumerate() {
                store(value, place(gate), n);
            }
            store(c_now, c.as_mut_ptr().add(unit), n);
            store(h_now, h.as_mut_ptr().add(unit), n);
        }
    }
}

/// As [`step_backward`](super::step_backward).
///
/// # Safety
/// As [`step`].
#[inline(always)]
pub(super) unsafe fn step_backward<V: Vector, F: GateFunctions<V>>(
    is_coupled: bool,
    row: StepBack<'_, f32>,
) {
    // SAFETY: by this function's contract.
    unsafe {
        match is_coupled {
            false => step_back_of::<V, F, _>(Lstm::<false>, row),
            true => step_back_of::<V, F, _>(Lstm::<true>, row),
        }
    }
}

#[inline(always)]
unsafe fn step_back_of<V: Vector, F: GateFunctions<V>, C: Cell>(cell: C, row: StepBack<'_, f32>) {
    let StepBack { gates, c_before, c, d_h, d_c } = row;
    let (hidden, first) = (c.len(), gates.as_mut_ptr());
    for unit in (0..hidden).step_by(V::LANES) {
        let n = (hidden - unit).min(V::LANES);
        // SAFETY: places inside of all slices.
        unsafe {
            let place = |gate: usize| first.add(gate * hidden + unit);
            let mut found = [V::splat(0.0); GATES];
            for (gate, found) in found.iter_mut().enumerate() {
                *found = load(place(gate), n);
            }
            let before = load(c_before.as_ptr().add(unit), n);
            let now = load(c.as_ptr().add(unit), n);
            let d_h = load(d_h.as_ptr().add(unit), n);
            let of_c = d_c.as_mut_ptr().add(unit);
            let (gradients, d_before) =
                cell.backward::<V, F>(found, before, now, d_h, load(of_c, n));
            for (gate, value) in gradients.into_iter().enumerate() {
                store(value, place(gate), n);
            }
            store(d_before, of_c, n);
        }
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops {
            scale: scale::<crate::simd::math::Exact>,
            scale_backward,
            step: step::<crate::simd::math::Exact>,
            step_backward: step_backward::<crate::simd::math::Exact>,
        };

        $(#[$feature])?
        unsafe fn scale<F: crate::simd::math::GateFunctions<$vector>>(
            gate: &mut [f32],
            v: &[f32],
            out: &mut [f32],
        ) {
            // SAFETY: by this function's contract, which is that of `vector::scale`.
            unsafe { super::vector::scale::<$vector, F>(gate, v, out) }
        }

        $(#[$feature])?
        unsafe fn scale_backward(gate: &mut [f32], v: &[f32], d: &mut [f32]) {
            // SAFETY: by this function's contract, which is that of `vector::scale_backward`.
            unsafe { super::vector::scale_backward::<$vector>(gate, v, d) }
        }

        $(#[$feature])?
        unsafe fn step<F: crate::simd::math::GateFunctions<$vector>>(
            is_coupled: bool,
            row: super::Step<'_, f32>,
        ) {
            // SAFETY: by this function's contract, which is that of `vector::step`.
            unsafe { super::vector::step::<$vector, F>(is_coupled, row) }
        }

        $(#[$feature])?
        unsafe fn step_backward<F: crate::simd::math::GateFunctions<$vector>>(
            is_coupled: bool,
            row: super::StepBack<'_, f32>,
        ) {
            // SAFETY: by this function's contract, which is that of `vector::step_backward`.
            unsafe { super::vector::step_backward::<$vector, F>(is_coupled, row) }
        }
    };
}

pub(super) use loops;
