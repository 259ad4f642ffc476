//! The loops with AVX-512.

use super::Kernel;
use super::vector::{self, DEPTH};
use crate::simd::{Avx512, Vector};

/// Twenty-seven sums in thirty-two registers.
const ROWS: usize = 9;
const VECTORS: usize = 3;

pub(super) static KERNEL: Kernel = Kernel {
    rows: ROWS,
    cols: VECTORS * Avx512::LANES,
    depth: DEPTH,
    multiply,
    lay_out: vector::lay_out,
    read,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::multiply`.
    unsafe { vector::multiply::<Avx512, ROWS, VECTORS>(a, b, times, c) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn read(values: &[f32], times: usize) -> f32 {
    // SAFETY: by this function's contract, which is that of `vector::read`.
    unsafe { vector::read::<Avx512>(values, times) }
}
