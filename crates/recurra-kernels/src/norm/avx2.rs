//! Norms with AVX2.

use super::vector;
use super::{Back, Loops, Rows};
use crate::simd::Avx2;

pub(super) static LOOPS: Loops = Loops { forward, backward };

#[target_feature(enable = "avx2,fma")]
unsafe fn forward(rows: &Rows<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Avx2>(rows, y) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn backward(rows: &Rows<'_>, d_y: &[f32], back: &mut Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Avx2>(rows, d_y, back) }
}
