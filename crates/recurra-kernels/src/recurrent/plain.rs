//! The sweep with what the compiler makes of arrays of 8.

use super::product::{self, Tiles};
use super::sweep::{self, Sweep};
use crate::Worker;
use crate::simd::Plain;

unsafe fn tile<const R: usize, const P: usize>(
    left: *const f32,
    row_stride: usize,
    depth: usize,
    panel: *const f32,
    sums: *mut f32,
    from_zero: bool,
) {
    // SAFETY: the caller's contract is the same.
    unsafe { product::tile::<Plain, R, P>(left, row_stride, depth, panel, sums, from_zero) }
}

static TILES: Tiles = Tiles([
    &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>],
    &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>],
    &[tile::<1, 3>, tile::<2, 3>],
    &[tile::<1, 4>, tile::<2, 4>],
]);

/// One member's part of the sweep.
///
/// # Safety
/// As [`sweep::sweep`].
pub(super) unsafe fn sweep<S: Sweep>(worker: Option<&Worker<'_>>, kernel: &S) {
    // SAFETY: the caller's contract is the same.
    unsafe { sweep::sweep::<Plain, S>(&TILES, worker, kernel) }
}
