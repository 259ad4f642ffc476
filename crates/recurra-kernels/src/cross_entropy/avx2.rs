//! Rows of logits with AVX2.

use super::vector::{self, Kernel, Statistics};
use crate::simd::Avx2;

pub(super) static KERNEL: Kernel = Kernel { statistics, gradient };

#[target_feature(enable = "avx2,fma")]
unsafe fn statistics(logits: &[f32]) -> Statistics {
    // SAFETY: by this function's contract, which is that of `vector::statistics`.
    unsafe { vector::statistics::<Avx2>(logits) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn gradient(logits: &mut [f32], max: f32, factor: f32) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Avx2>(logits, max, factor) }
}
