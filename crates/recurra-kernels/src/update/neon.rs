//! Four lanes on 64-bit ARM.

use super::{AdamStep, DynamicStep, SgdStep, vector};
use crate::simd::Neon;

/// [`vector::squared_norm`].
pub fn squared_norm(block: &[f32]) -> f64 {
    vector::squared_norm(block)
}

/// [`vector::sgd`].
///
/// # Safety
/// As there.
pub unsafe fn sgd(
    step: SgdStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    momentum: Option<&mut [f32]>,
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::sgd::<Neon>(step, value, gradient, momentum) }
}

/// [`vector::adam`].
///
/// # Safety
/// As there.
pub unsafe fn adam(
    step: AdamStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: Option<&mut [f32]>,
    v: &mut [f32],
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::adam::<Neon>(step, value, gradient, m, v) }
}

/// [`vector::average`].
///
/// # Safety
/// As there.
pub unsafe fn average(weight: f32, value: &[f32], average: &mut [f32]) {
    // SAFETY: by the contract of this function.
    unsafe { vector::average::<Neon>(weight, value, average) }
}

/// [`vector::dynamic`].
///
/// # Safety
/// As there.
pub unsafe fn dynamic(
    step: DynamicStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    moments: [&[f32]; 2],
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::dynamic::<Neon>(step, value, gradient, moments) }
}

/// [`vector::add_squares`].
///
/// # Safety
/// As there.
pub unsafe fn add_squares(gradient: &mut [f32], sum: &mut [f32]) {
    // SAFETY: by the contract of this function.
    unsafe { vector::add_squares::<Neon>(gradient, sum) }
}
