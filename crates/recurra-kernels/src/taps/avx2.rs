//! Sums of shifted copies with AVX2 and FMA.

use super::{Loops, Taps, vector};
use crate::SharedSlice;
use crate::simd::Avx2;

pub(super) static LOOPS: Loops = Loops { sum, gradient };

#[target_feature(enable = "avx2,fma")]
unsafe fn sum(taps: Taps<'_, f32>, bias: Option<&[f32]>, x: &[f32], start: usize, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::sum`.
    unsafe { vector::sum::<Avx2>(taps, bias, x, start, y) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn gradient(
    offsets: &[isize],
    x: &[f32],
    d_y: &[f32],
    cols: usize,
    d_coefficients: &SharedSlice<'_, f32>,
    columns: [usize; 2],
) {
    // SAFETY: by this function's contract, which is that of `vector::gradient`.
    unsafe { vector::gradient::<Avx2>(offsets, x, d_y, cols, d_coefficients, columns) }
}
