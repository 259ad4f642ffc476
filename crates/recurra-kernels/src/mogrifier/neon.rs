//! The step beside its products with NEON.

use super::{Loops, Step, StepBack, vector};
use crate::simd::Neon;
use crate::simd::math::Exact;

pub(super) static LOOPS: Loops = Loops { scale, scale_backward, step, step_backward };

unsafe fn scale(gate: &mut [f32], v: &[f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale`.
    unsafe { vector::scale::<Neon, Exact>(gate, v, out) }
}

unsafe fn scale_backward(gate: &mut [f32], v: &[f32], d: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale_backward`.
    unsafe { vector::scale_backward::<Neon>(gate, v, d) }
}

unsafe fn step(is_coupled: bool, row: Step<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Neon, Exact>(is_coupled, row) }
}

unsafe fn step_backward(is_coupled: bool, row: StepBack<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step_backward`.
    unsafe { vector::step_backward::<Neon, Exact>(is_coupled, row) }
}
