//! The sweep with AVX-512: 32 registers of 16 lanes, up to 24 of them sums.

use super::product::{self, Ahead, Left, Tiles};
use super::sweep::{self, Sweep};
use crate::Worker;
use crate::simd::Avx512;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn tile<const R: usize, const P: usize>(
    left: Left,
    panel: *const f32,
    sums: *mut f32,
    from_zero: bool,
    ahead: Ahead,
) {
    // SAFETY: the caller's contract is the same.
    unsafe { product::tile::<Avx512, R, P>(left, panel, sums, from_zero, ahead) }
}

static TILES: Tiles = Tiles([
    &[
        tile::<1, 1>,
        tile::<2, 1>,
        tile::<3, 1>,
        tile::<4, 1>,
        tile::<5, 1>,
        tile::<6, 1>,
        tile::<7, 1>,
        tile::<8, 1>,
    ],
    &[
        tile::<1, 2>,
        tile::<2, 2>,
        tile::<3, 2>,
        tile::<4, 2>,
        tile::<5, 2>,
        tile::<6, 2>,
        tile::<7, 2>,
        tile::<8, 2>,
    ],
    &[
        tile::<1, 3>,
        tile::<2, 3>,
        tile::<3, 3>,
        tile::<4, 3>,
        tile::<5, 3>,
        tile::<6, 3>,
        tile::<7, 3>,
        tile::<8, 3>,
    ],
    &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
]);

/// One member's part of the sweep.
///
/// # Safety
/// The machine has AVX-512 (F, BW, DQ, VL); otherwise as [`sweep::sweep`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn sweep<S: Sweep>(worker: Option<&Worker<'_>>, kernel: &S) {
    // SAFETY: the caller's contract is the same.
    unsafe { sweep::sweep::<Avx512, S>(&TILES, worker, kernel) }
}
