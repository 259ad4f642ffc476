//! Sixteen lanes on x86-64.

use super::{AdamWStep, SgdStep, vector};
use crate::simd::Avx512;

/// [`vector::squared_norm`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub fn squared_norm(block: &[f32]) -> f64 {
    vector::squared_norm(block)
}

/// [`vector::sgd`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn sgd(
    step: SgdStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    momentum: Option<&mut [f32]>,
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::sgd::<Avx512>(step, value, gradient, momentum) }
}

/// [`vector::adamw`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub unsafe fn adamw(
    step: AdamWStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::adamw::<Avx512>(step, value, gradient, m, v) }
}
