//! The loops with NEON.

use super::Kernel;
use super::vector::{self, DEPTH};
use crate::simd::{Neon, Vector};

/// Twenty-four sums in thirty-two registers.
const ROWS: usize = 6;
const VECTORS: usize = 4;

pub(super) static KERNEL: Kernel = Kernel {
    rows: ROWS,
    cols: VECTORS * Neon::LANES,
    depth: DEPTH,
    multiply,
    lay_out: vector::lay_out,
    read,
};

unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::multiply`.
    unsafe { vector::multiply::<Neon, ROWS, VECTORS>(a, b, times, c) }
}

unsafe fn read(values: &[f32], times: usize) -> f32 {
    // SAFETY: by this function's contract, which is that of `vector::read`.
    unsafe { vector::read::<Neon>(values, times) }
}
