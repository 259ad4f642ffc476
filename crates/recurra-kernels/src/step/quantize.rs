//! Inputs as whole numbers: one scale a row.
//!
//! q = round(127·x / max|x|) and x ≈ q·s with s = max|x| / 127. A row that holds what is no number has a scale that is none.

use super::layout::OFFSET;
use crate::simd::math::ROUNDER;

/// Rows shorter than this are zero: 1 / s would be infinite.
const TINY: f32 = 1e-35;

/// max|x|; not a number where one of them is none.
#[inline(always)]
pub(super) fn largest_magnitude(row: &[f32]) -> f32 {
    // Magnitudes order as their bits do, and what is no number lies above all others.
    let bits = |x: &f32| x.to_bits() & 0x7fff_ffff;
    f32::from_bits(row.iter().map(bits).fold(0, u32::max))
}

/// s and 1 / s of a row of this magnitude.
#[inline(always)]
pub(super) fn scales(magnitude: f32) -> (f32, f32) {
    if magnitude < TINY { (0.0, 0.0) } else { (magnitude / 127.0, 127.0 / magnitude) }
}

/// Writes q + 128 of a row to the first places of `to`, zeros to the others, and gives s.
#[inline(always)]
pub(super) fn quantize(row: &[f32], to: &mut [u8]) -> f32 {
    let (scale, inverse) = scales(largest_magnitude(row));
    let (to, rest) = to.split_at_mut(row.len());
    rest.fill(0);
    for (to, x) in to.iter_mut().zip(row) {
        *to = ((x * inverse + ROUNDER).to_bits() as u8).wrapping_add(OFFSET as u8);
    }
    scale
}
