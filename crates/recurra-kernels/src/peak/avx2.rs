//! The loops with AVX2 and fused multiply-add.

use super::Kernel;
use super::vector::{self, DEPTH};
use crate::simd::{Avx2, Vector};

/// Twelve sums in sixteen registers.
const ROWS: usize = 6;
const VECTORS: usize = 2;

pub(super) static KERNEL: Kernel = Kernel {
    rows: ROWS,
    cols: VECTORS * Avx2::LANES,
    depth: DEPTH,
    multiply,
    lay_out: vector::lay_out,
    read,
};

#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::multiply`.
    unsafe { vector::multiply::<Avx2, ROWS, VECTORS>(a, b, times, c) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn read(values: &[f32], times: usize) -> f32 {
    // SAFETY: by this function's contract, which is that of `vector::read`.
    unsafe { vector::read::<Avx2>(values, times) }
}
