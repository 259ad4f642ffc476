//! A tile as its definition says, one value after the other.

use super::layout::{Side, Source};
use super::{DEPTH, ROWS};

/// The nearest number of 8 bits of mantissa, ties to even, as its 16 bits.
pub(super) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The 512 values of a tile in the order of memory; `value(i, k)` is that of row i of A (or column i of B) at k.
pub(super) fn tile(side: Side, source: &Source, value: impl Fn(usize, usize) -> f32) -> Vec<u16> {
    let mut tile = vec![0; ROWS * DEPTH];
    for i in 0..source.n {
        for k in 0..source.depth {
            let place = match side {
                Side::Left => i * DEPTH + k,
                Side::Right => k / 2 * 2 * ROWS + 2 * i + k % 2,
            };
            tile[place] = to_bf16(value(i, k));
        }
    }
    tile
}
