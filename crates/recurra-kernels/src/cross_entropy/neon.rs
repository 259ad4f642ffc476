//! Rows of logits with NEON.

use super::vector::{self, Kernel, Statistics};
use crate::simd::Neon;

pub(super) static KERNEL: Kernel = Kernel { statistics, gradient };

unsafe fn statistics(logits: &[f32]) -> Statistics {
    // SAFETY: by this function's contract, which is that of `vector::statistics`.
    unsafe { vector::statistics::<Neon>(logits) }
}

unsafe fn gradient(logits: &mut [f32], max: f32, factor: f32) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Neon>(logits, max, factor) }
}
