//! Attention with NEON.

use super::Loops;
use super::rotation::Angle;
use super::vector::{self, Step};
use crate::simd::Neon;
use std::ops::Range;

pub(super) static LOOPS: Loops = Loops { rotate, softmax, scores_back, step };

unsafe fn rotate(from: &[f32], to: &mut [f32], angle: Angle<'_, f32>, scale: f32) {
    // SAFETY: by this function's contract, which is that of `vector::rotate`.
    unsafe { vector::rotate::<Neon>(from, to, angle, scale) }
}

unsafe fn softmax(row: &mut [f32], seen: [Range<usize>; 2]) -> (f32, f32) {
    // SAFETY: by this function's contract, which is that of `vector::softmax`.
    unsafe { vector::softmax::<Neon>(row, seen) }
}

unsafe fn scores_back(
    scores: &mut [f32],
    d_scores: &mut [f32],
    seen: [Range<usize>; 2],
    log: f32,
    delta: f32,
) {
    // SAFETY: by this function's contract, which is that of `vector::scores_back`.
    unsafe { vector::scores_back::<Neon>(scores, d_scores, seen, log, delta) }
}

unsafe fn step(of: &Step<'_>, scores: &mut [f32], out: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::step`.
    unsafe { vector::step::<Neon>(of, scores, out) }
}
