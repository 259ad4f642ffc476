//! The loops with what the compiler makes of plain loops.

use super::Kernel;
use super::vector::{self, DEPTH};
use crate::simd::{Plain, Vector};

/// Few enough for the sixteen small registers of the oldest 64-bit x86.
const ROWS: usize = 4;
const VECTORS: usize = 1;

pub(super) static KERNEL: Kernel = Kernel {
    rows: ROWS,
    cols: VECTORS * Plain::LANES,
    depth: DEPTH,
    multiply,
    lay_out: vector::lay_out,
    read,
};

unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::multiply`.
    unsafe { vector::multiply::<Plain, ROWS, VECTORS>(a, b, times, c) }
}

unsafe fn read(values: &[f32], times: usize) -> f32 {
    // SAFETY: by this function's contract, which is that of `vector::read`.
    unsafe { vector::read::<Plain>(values, times) }
}
