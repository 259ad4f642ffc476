//! The step beside its products with AVX-512, to the last digits, and quicker where products are of `bf16` anyway.

use super::{Loops, Step, StepBack, vector};
use crate::simd::math::Exact;
use crate::simd::{Avx512, Quick};

pub(super) static LOOPS: Loops = Loops { scale, scale_backward, step, step_backward };
pub(super) static QUICK: Loops = Loops {
    scale: quick_scale,
    scale_backward,
    step: quick_step,
    step_backward: quick_step_backward,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scale(gate: &mut [f32], v: &[f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale`.
    unsafe { vector::scale::<Avx512, Exact>(gate, v, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scale_backward(gate: &mut [f32], v: &[f32], d: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale_backward`.
    unsafe { vector::scale_backward::<Avx512>(gate, v, d) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn step(is_coupled: bool, row: Step<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Avx512, Exact>(is_coupled, row) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn step_backward(is_coupled: bool, row: StepBack<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step_backward`.
    unsafe { vector::step_backward::<Avx512, Exact>(is_coupled, row) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_scale(gate: &mut [f32], v: &[f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::scale`.
    unsafe { vector::scale::<Avx512, Quick>(gate, v, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_step(is_coupled: bool, row: Step<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Avx512, Quick>(is_coupled, row) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_step_backward(is_coupled: bool, row: StepBack<'_, f32>) {
    // SAFETY: by this function's contract, which is that of `vector::step_backward`.
    unsafe { vector::step_backward::<Avx512, Quick>(is_coupled, row) }
}
