//! The sweep with what the compiler makes of arrays of 8.

use super::product::{self, Ahead, Left, Tiles};
use super::sweep::{self, Sweep};
use crate::Worker;
use crate::simd::Plain;

unsafe fn tile<const R: usize, const P: usize>(
    left: Left,
    panel: *const f32,
    sums: *mut f32,
    from_zero: bool,
    ahead: Ahead,
) {
    // SAFETY: the caller's contract is the same.
    unsafe { product::tile::<Plain, R, P>(left, panel, sums, from_zero, ahead) }
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
