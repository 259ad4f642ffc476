//! NEON: tiles of 8 × 12 (24 accumulators, three vectors of B).

use super::blocks::Kernels;
use super::vector::{self, Lanes, Strip, Tile};
use crate::simd::Neon;

pub(super) static KERNELS: Kernels = Kernels {
    rows: 8,
    cols: 12,
    tiles: &[
        tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>, tile::<6>, tile::<7>, tile::<8>,
    ],
    wide: &[(4, wide::<1, 12>), (2, wide::<2, 6>)],
    pack,
};

impl Lanes for Neon {}

unsafe fn tile<const R: usize>(tile: &Tile) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { vector::multiply::<Neon, R, 3, 3>(tile) }
}

unsafe fn wide<const R: usize, const W: usize>(tile: &Tile) {
    // SAFETY: as above.
    unsafe { vector::multiply::<Neon, R, 3, W>(tile) }
}

unsafe fn pack(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { vector::pack::<Neon>(strip, to) }
}
