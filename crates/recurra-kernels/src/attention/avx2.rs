//! Attention with AVX2.

use super::Loops;
use super::rotation::Angle;
use super::vector::{self, Step};
use crate::simd::Avx2;
use std::ops::Range;

pub(super) static LOOPS: Loops = Loops { rotate, softmax, scores_back, step };

#[target_feature(enable = "avx2,fma")]
unsafe fn rotate(from: &[f32], to: &mut [f32], angle: Angle<'_, f32>, scale: f32) {
    // SAFETY: by this function's contract, which is that of `vector::rotate`.
    unsafe { vector::rotate::<Avx2>(from, to, angle, scale) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn softmax(row: &mut [f32], seen: [Range<usize>; 2]) -> (f32, f32) {
    // SAFETY: by this function's contract, which is that of `vector::softmax`.
    unsafe { vector::softmax::<Avx2>(row, seen) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn scores_back(
    scores: &mut [f32],
    d_scores: &mut [f32],
    seen: [Range<usize>; 2],
    log: f32,
    delta: f32,
) {
    // SAFETY: by this function's contract, which is that of `vector::scores_back`.
    unsafe { vector::scores_back::<Avx2>(scores, d_scores, seen, log, delta) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn step(of: &Step<'_>, scores: &mut [f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Avx2>(of, scores, out) }
}
