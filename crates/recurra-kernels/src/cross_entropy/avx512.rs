//! Rows of logits with AVX-512.

use super::vector::{self, Kernel, Statistics};
use crate::simd::Avx512;

pub(super) static KERNEL: Kernel = Kernel { statistics, gradient };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn statistics(logits: &[f32]) -> Statistics {
    // SAFETY: by this function's contract, which is that of `vector::statistics`.
    unsafe { vector::statistics::<Avx512>(logits) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn gradient(logits: &mut [f32], max: f32, factor: f32) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Avx512>(logits, max, factor) }
}
