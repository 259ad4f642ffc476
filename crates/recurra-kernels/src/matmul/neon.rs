//! NEON: tiles of 8 × 12 (24 accumulators, three vectors of B).

use super::kernels::{self, Kernels};
use super::vector::{self, Lanes, Strip, Tile};
use crate::simd::{Neon, Vector};

pub(super) static KERNELS: Kernels = Kernels {
    rows: 8,
    cols: 12,
    row_step: 8,
    col_step: 12,
    depth_unit: 1,
    block_depth: 1024,
    most_depth: 1024,
    tile_rows: 1,
    lanes: Neon::LANES,
    tiles: &[
        &[tile::<1, 1>, tile::<1, 2>, tile::<1, 3>],
        &[tile::<2, 1>, tile::<2, 2>, tile::<2, 3>],
        &[tile::<3, 1>, tile::<3, 2>, tile::<3, 3>],
        &[tile::<4, 1>, tile::<4, 2>, tile::<4, 3>],
        &[tile::<5, 1>, tile::<5, 2>, tile::<5, 3>],
        &[tile::<6, 1>, tile::<6, 2>, tile::<6, 3>],
        &[tile::<7, 1>, tile::<7, 2>, tile::<7, 3>],
        &[tile::<8, 1>, tile::<8, 2>, tile::<8, 3>],
    ],
    wide: &[(3, tile::<1, 9>), (2, tile::<2, 6>)],
    pack_rows: pack,
    pack_cols: pack,
    packed_at_once: 8,
    sparse: None,
    enter: kernels::nothing,
    leave: kernels::nothing,
};

impl Lanes for Neon {}

unsafe fn tile<const R: usize, const W: usize>(tile: &Tile) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { vector::multiply::<Neon, R, 3, W>(tile) }
}

unsafe fn pack(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { vector::pack::<Neon>(strip, to) }
}
