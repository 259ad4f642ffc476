//! Attention with AVX-512.

use super::Loops;
use super::rotation::Angle;
use super::vector::{self, Step};
use crate::simd::Avx512;
use std::ops::Range;

pub(super) static LOOPS: Loops = Loops { rotate, softmax, scores_back, step };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn rotate(from: &[f32], to: &mut [f32], angle: Angle<'_, f32>, scale: f32) {
    // SAFETY: by this function's contract, which is that of `vector::rotate`.
    unsafe { vector::rotate::<Avx512>(from, to, angle, scale) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn softmax(row: &mut [f32], seen: [Range<usize>; 2]) -> (f32, f32) {
    // SAFETY: by this function's contract, which is that of `vector::softmax`.
    unsafe { vector::softmax::<Avx512>(row, seen) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scores_back(
    scores: &mut [f32],
    d_scores: &mut [f32],
    seen: [Range<usize>; 2],
    log: f32,
    delta: f32,
) {
    // SAFETY: by this function's contract, which is that of `vector::scores_back`.
    unsafe { vector::scores_back::<Avx512>(scores, d_scores, seen, log, delta) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn step(of: &Step<'_>, scores: &mut [f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Avx512>(of, scores, out) }
}
