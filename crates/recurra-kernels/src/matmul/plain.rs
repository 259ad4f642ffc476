//! Any machine: tiles of 4 × 8, which fit the sixteen small registers of the oldest 64-bit x86.

use super::kernels::{self, Kernels};
use super::vector::{self, Lanes, Strip, Tile};
use crate::simd::{Plain, Vector};

pub(super) static KERNELS: Kernels = Kernels {
    rows: 4,
    cols: 8,
    row_step: 4,
    col_step: 8,
    depth_unit: 1,
    block_depth: 1024,
    most_depth: 1024,
    tile_rows: 1,
    lanes: Plain::LANES,
    tiles: &[&[tile::<1, 1>], &[tile::<2, 1>], &[tile::<3, 1>], &[tile::<4, 1>]],
    wide: &[(2, tile::<1, 2>)],
    pack_rows: pack,
    pack_cols: pack,
    packed_at_once: 8,
    sparse: None,
    enter: kernels::nothing,
    leave: kernels::nothing,
};

impl Lanes for Plain {}

unsafe fn tile<const R: usize, const W: usize>(tile: &Tile) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { vector::multiply::<Plain, R, 1, W>(tile) }
}

unsafe fn pack(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { vector::pack::<Plain>(strip, to) }
}
