//! Activations with AVX2.

use super::vector;
use super::{Back, Loops, Run};
use crate::simd::Avx2;
use crate::simd::math::Exact;

pub(super) static LOOPS: Loops = Loops { forward, backward };

#[target_feature(enable = "avx2,fma")]
unsafe fn forward(run: Run<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Avx2, Exact>(run, y) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn backward(run: Run<'_>, d_y: &[f32], back: Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Avx2, Exact>(run, d_y, back) }
}
