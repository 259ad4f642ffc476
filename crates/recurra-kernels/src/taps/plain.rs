//! Sums of shifted copies with whatever the compiler makes of it.

use super::{Loops, Taps, vector};
use crate::SharedSlice;
use crate::simd::Plain;

pub(super) static LOOPS: Loops = Loops { sum, gradient };

unsafe fn sum(taps: Taps<'_, f32>, bias: Option<&[f32]>, x: &[f32], start: usize, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::sum`.
    unsafe { vector::sum::<Plain>(taps, bias, x, start, y) }
}

unsafe fn gradient(
    offsets: &[isize],
    x: &[f32],
    d_y: &[f32],
    cols: usize,
    d_coefficients: &SharedSlice<'_, f32>,
    columns: [usize; 2],
) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Plain>(offsets, x, d_y, cols, d_coefficients, columns) }
}
