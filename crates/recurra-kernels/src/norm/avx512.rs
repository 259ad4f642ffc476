//! Norms with AVX-512.

use super::vector;
use super::{Back, Loops, Rows};
use crate::simd::Avx512;

pub(super) static LOOPS: Loops = Loops { forward, backward };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn forward(rows: &Rows<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Avx512>(rows, y) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn backward(rows: &Rows<'_>, d_y: &[f32], back: &mut Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Avx512>(rows, d_y, back) }
}
