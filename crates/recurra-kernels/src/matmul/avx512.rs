//! AVX-512: tiles of 14 × 32 (28 accumulators, two vectors of B, one of A), transposition in registers.
//!
//! With B from the second cache both 14 × 32 and 9 × 48 reach nine tenths of the peak; 14 rows are laid out for less. (With
//! B in the first cache, 160 steps of k at a time, 9 × 48 had been 5 to 8 % faster.)

use super::kernels::{self, Kernels};
use super::sparse_rows::{self, SparseLoops, SparseRows};
use super::vector::{self, Corner, Lanes, Strip, Tile};
use crate::simd::{Avx512, Vector};
use std::arch::x86_64::*;

pub(super) static KERNELS: Kernels = Kernels {
    rows: 14,
    cols: 32,
    row_step: 14,
    col_step: 32,
    depth_unit: 1,
    block_depth: 1024,
    most_depth: 1024,
    tile_rows: 1,
    lanes: Avx512::LANES,
    tiles: &[
        &[tile::<1, 1>, tile::<1, 2>],
        &[tile::<2, 1>, tile::<2, 2>],
        &[tile::<3, 1>, tile::<3, 2>],
        &[tile::<4, 1>, tile::<4, 2>],
        &[tile::<5, 1>, tile::<5, 2>],
        &[tile::<6, 1>, tile::<6, 2>],
        &[tile::<7, 1>, tile::<7, 2>],
        &[tile::<8, 1>, tile::<8, 2>],
        &[tile::<9, 1>, tile::<9, 2>],
        &[tile::<10, 1>, tile::<10, 2>],
        &[tile::<11, 1>, tile::<11, 2>],
        &[tile::<12, 1>, tile::<12, 2>],
        &[tile::<13, 1>, tile::<13, 2>],
        &[tile::<14, 1>, tile::<14, 2>],
    ],
    wide: &[(4, tile::<1, 8>), (4, tile::<2, 8>)],
    pack_rows: pack,
    pack_cols: pack,
    packed_at_once: 8,
    sparse: Some(&SPARSE),
    enter: kernels::nothing,
    leave: kernels::nothing,
};

static SPARSE: SparseLoops = SparseLoops { most_kept: 0.56, kept, multiply: multiply_sparse };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn tile<const R: usize, const W: usize>(tile: &Tile) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { vector::multiply::<Avx512, R, 2, W>(tile) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn pack(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { vector::pack::<Avx512>(strip, to) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn kept(values: *const f32, n: usize) -> u64 {
    // SAFETY: by this function's contract, which is that of `kept`.
    unsafe { sparse_rows::kept(values, n) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn multiply_sparse(rows: SparseRows) {
    // SAFETY: by this function's contract, which is that of `multiply`.
    unsafe { sparse_rows::multiply::<Avx512>(rows) }
}

impl Lanes for Avx512 {
    /// Four rows at a time become 4 × 4 blocks in each quarter of a register; then quarters change places.
    #[inline(always)]
    unsafe fn transpose(
        from: Corner<*const f32>,
        rows: usize,
        cols: usize,
        to: Corner<*mut f32>,
        width: usize,
    ) {
        // SAFETY: AVX-512 and readable or writable places by the contract of `Lanes`; masks keep to them.
        unsafe {
            let (cols_mask, width_mask) =
                (((1_u32 << cols) - 1) as __mmask16, ((1_u32 << width) - 1) as __mmask16);
            let row = |r: usize| {
                if r < rows {
                    _mm512_castps_pd(_mm512_maskz_loadu_ps(
                        cols_mask,
                        from.first.add(r * from.stride),
                    ))
                } else {
                    _mm512_setzero_pd()
                }
            };
            let mut quads = [[_mm512_setzero_ps(); 4]; 4];
            for (g, quad) in quads.iter_mut().enumerate() {
                let (a, b) = (_mm512_castpd_ps(row(4 * g)), _mm512_castpd_ps(row(4 * g + 1)));
                let (c, d) = (_mm512_castpd_ps(row(4 * g + 2)), _mm512_castpd_ps(row(4 * g + 3)));
                let ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                let cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
                let ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
                let cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
                // Written out: a closure would be a function of its own, without the instruction set.
                *quad = [
                    _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
                    _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high)),
                ];
            }
            let store = |c: usize, column: __m512| {
                if c < cols {
                    _mm512_mask_storeu_ps(to.first.add(c * to.stride), width_mask, column);
                }
            };
            #[allow(clippy::needless_range_loop)] // one index into several arrays
            for i in 0..4 {
                let even_01 = _mm512_shuffle_f32x4::<0x88>(quads[0][i], quads[1][i]);
                let even_23 = _mm512_shuffle_f32x4::<0x88>(quads[2][i], quads[3][i]);
                let odd_01 = _mm512_shuffle_f32x4::<0xdd>(quads[0][i], quads[1][i]);
                let odd_23 = _mm512_shuffle_f32x4::<0xdd>(quads[2][i], quads[3][i]);
                store(i, _mm512_shuffle_f32x4::<0x88>(even_01, even_23));
                store(4 + i, _mm512_shuffle_f32x4::<0x88>(odd_01, odd_23));
                store(8 + i, _mm512_shuffle_f32x4::<0xdd>(even_01, even_23));
                store(12 + i, _mm512_shuffle_f32x4::<0xdd>(odd_01, odd_23));
            }
        }
    }
}
