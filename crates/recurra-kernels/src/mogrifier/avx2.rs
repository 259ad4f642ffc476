//! The step beside its products with AVX2 and FMA.

use super::{Loops, Step, StepBack, vector};
use crate::simd::Avx2;
use crate::simd::math::Exact;

pub(super) static LOOPS: Loops = Loops { scale, scale_backward, step, step_backward };

#[target_feature(enable = "avx2,fma")]
unsafe fn scale(gate: &mut [f32], v: &[f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale`.
    unsafe { vector::scale::<Avx2, Exact>(gate, v, out) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn scale_backward(gate: &mut [f32], v: &[f32], d: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale_backward`.
    unsafe { vector::scale_backward::<Avx2>(gate, v, d) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn step(is_coupled: bool, row: Step<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Avx2, Exact>(is_coupled, row) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn step_backward(is_coupled: bool, row: StepBack<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step_backward`.
    unsafe { vector::step_backward::<Avx2, Exact>(is_coupled, row) }
}
