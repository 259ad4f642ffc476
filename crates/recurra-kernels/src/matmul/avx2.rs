//! AVX2 with FMA: tiles of 6 × 16 (12 accumulators, two vectors of B, one of A), transposition in registers.

use super::kernels::{self, Kernels};
use super::sparse_rows::{self, SparseLoops, SparseRows};
use super::vector::{self, Corner, Lanes, Strip, Tile};
use crate::simd::{Avx2, Vector};
use std::arch::x86_64::*;

pub(super) static KERNELS: Kernels = Kernels {
    rows: 6,
    cols: 16,
    row_step: 6,
    col_step: 16,
    depth_unit: 1,
    block_depth: 1024,
    most_depth: 1024,
    tile_rows: 1,
    lanes: Avx2::LANES,
    tiles: &[
        &[tile::<1, 1>, tile::<1, 2>],
        &[tile::<2, 1>, tile::<2, 2>],
        &[tile::<3, 1>, tile::<3, 2>],
        &[tile::<4, 1>, tile::<4, 2>],
        &[tile::<5, 1>, tile::<5, 2>],
        &[tile::<6, 1>, tile::<6, 2>],
    ],
    wide: &[(4, tile::<1, 8>), (2, tile::<2, 4>)],
    pack_rows: pack,
    pack_cols: pack,
    packed_at_once: 8,
    sparse: Some(&SPARSE),
    enter: kernels::nothing,
    leave: kernels::nothing,
};

static SPARSE: SparseLoops = SparseLoops { most_kept: 0.66, kept, multiply: multiply_sparse };

#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize, const W: usize>(tile: &Tile) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { vector::multiply::<Avx2, R, 2, W>(tile) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn pack(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { vector::pack::<Avx2>(strip, to) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn kept(values: *const f32, n: usize) -> u64 {
    // SAFETY: by this function's contract, which is that of `kept`.
    unsafe { sparse_rows::kept(values, n) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_sparse(rows: SparseRows) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { sparse_rows::multiply::<Avx2>(rows) }
}

/// The mask of the first n lanes.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: AVX2 by the contract of `Lanes`.
    unsafe {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
}

impl Lanes for Avx2 {
    /// Four rows at a time become 4 × 4 blocks in each half of a register; then halves change places.
    #[inline(always)]
    unsafe fn transpose(
        from: Corner<*const f32>,
        rows: usize,
        cols: usize,
        to: Corner<*mut f32>,
        width: usize,
    ) {
        // SAFETY: AVX2 and readable or writable places by the contract of `Lanes`; partial accesses keep to them.
        unsafe {
            let row = |r: usize| {
                if r >= rows {
                    return _mm256_setzero_ps();
                }
                let from = from.first.add(r * from.stride);
                if cols == 8 {
                    _mm256_loadu_ps(from)
                } else {
                    _mm256_maskload_ps(from, first(cols))
                }
            };
            let mut quads = [[_mm256_setzero_ps(); 4]; 2];
            for (g, quad) in quads.iter_mut().enumerate() {
                let (a, b) = (row(4 * g), row(4 * g + 1));
                let (c, d) = (row(4 * g + 2), row(4 * g + 3));
                let ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
                let cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
                let ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
                let cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
                // Written out: a closure would be a function of its own, without the instruction set.
                *quad = [
                    _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
                    _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high)),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high)),
                ];
            }
            let store = |c: usize, column: __m256| {
                if c < cols {
                    let to = to.first.add(c * to.stride);
                    if width == 8 {
                        _mm256_storeu_ps(to, column)
                    } else {
                        _mm256_maskstore_ps(to, first(width), column)
                    }
                }
            };
            #[allow(clippy::needless_range_loop)] // one index into several arrays
            for i in 0..4 {
                store(i, _mm256_permute2f128_ps::<0x20>(quads[0][i], quads[1][i]));
                store(4 + i, _mm256_permute2f128_ps::<0x31>(quads[0][i], quads[1][i]));
            }
        }
    }
}
