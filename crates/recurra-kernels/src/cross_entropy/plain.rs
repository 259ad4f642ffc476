//! Rows of logits on any machine.

use super::vector::{self, Kernel, Statistics};
use crate::simd::Plain;

pub(super) static KERNEL: Kernel = Kernel { statistics, gradient };

unsafe fn statistics(logits: &[f32]) -> Statistics {
    // SAFETY: by this function's contract, which is that of `vector::statistics`.
    unsafe { vector::statistics::<Plain>(logits) }
}

unsafe fn gradient(logits: &mut [f32], max: f32, factor: f32) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Plain>(logits, max, factor) }
}
