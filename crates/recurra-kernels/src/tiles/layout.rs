//! Values of `f32`, wherever they lie, as a tile of `bf16`.

use super::{DEPTH, ROW_BYTES, ROWS};
use std::arch::x86_64::*;

/// Which operand of a product a tile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A: 16 rows of 32 k.
    Left,
    /// B: 16 pairs of k, each of 16 columns.
    Right,
}

/// Where the values of a tile are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub first: *const f32,
    /// From one row of A (column of B) to the next, and from one k to the next; one of the two is 1.
    pub across: usize,
    pub along: usize,
    /// Rows of A (columns of B) that exist, at most 16, and steps of k, at most 32; the tile is zero beyond.
    pub n: usize,
    pub depth: usize,
}

/// Sixteen registers of pairs.
pub(crate) type Pairs = [__m512i; ROWS];

/// Rounds `source` to `bf16` and lays it out as a tile at `to`.
///
/// # Safety
/// The machine has AVX-512 with `bf16`; the source is readable; `to` has room for a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn tile(side: Side, source: &Source, to: *mut f32) {
    // SAFETY: by this function's contract.
    unsafe {
        match (source.n, source.depth) {
            (ROWS, DEPTH) => tile_of::<true, true>(side, source, to),
            _ => tile_of::<false, true>(side, source, to),
        }
    }
}

/// [`tile`] where the next tile of k is for others to lay out, or for later: where it lies in other rows it is not asked for.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn tile_alone(side: Side, source: &Source, to: *mut f32) {
    // SAFETY: by this function's contract.
    unsafe {
        match (source.n, source.depth) {
            (ROWS, DEPTH) => tile_of::<true, false>(side, source, to),
            _ => tile_of::<false, false>(side, source, to),
        }
    }
}

/// [`tile`] or [`tile_alone`], with all counts known beforehand where the tile is `WHOLE`: then it never leaves the registers.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile_of<const WHOLE: bool, const ASKS: bool>(side: Side, source: &Source, to: *mut f32) {
    let &Source { first, across, along, .. } = source;
    let (n, depth) = if WHOLE { (ROWS, DEPTH) } else { (source.n, source.depth) };
    debug_assert!(across == 1 || along == 1, "strides {across} and {along}");
    // SAFETY: by this function's contract.
    unsafe {
        // A matrix of one row (or column) has both strides 1: then each is right.
        let is_along = along == 1;
        let mut pairs = if is_along {
            pairs_along::<WHOLE>(first, across, n, depth)
        } else {
            pairs_across::<WHOLE, ASKS>(first, along, n, depth)
        };
        if is_along == (side == Side::Right) {
            pairs = transposed(pairs);
        }
        for (row, pairs) in pairs.into_iter().enumerate() {
            _mm512_storeu_si512(to.add(row * ROW_BYTES / 4).cast(), pairs);
        }
    }
}

/// Row r: the 16 pairs of k of row r of A (or column r of B); zero past `lanes` and `n_k`.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pairs_along<const WHOLE: bool>(
    first: *const f32,
    stride: usize,
    lanes: usize,
    n_k: usize,
) -> Pairs {
    let (lanes, n_k) = if WHOLE { (ROWS, DEPTH) } else { (lanes, n_k) };
    let low = mask(n_k.min(ROWS));
    let high = mask(n_k.saturating_sub(ROWS));
    let mut pairs = [_mm512_setzero_si512(); ROWS];
    for (r, pairs) in pairs[..lanes].iter_mut().enumerate() {
        // SAFETY: masks keep to what exists.
        unsafe {
            let row = first.add(r * stride);
            // Two tiles further on: so many rows at once are more than the hardware follows.
            _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(4 * ROWS).cast());
            _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(5 * ROWS).cast());
            let low = _mm512_maskz_loadu_ps(low, row);
            let high = _mm512_maskz_loadu_ps(high, row.wrapping_add(ROWS));
            *pairs = bits(_mm512_cvtne2ps_pbh(high, low));
        }
    }
    pairs
}

/// Row p: the pair (2p, 2p + 1) of k of 16 rows of A (or columns of B); zero past `lanes` and `n_k`.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pairs_across<const WHOLE: bool, const ASKS: bool>(
    first: *const f32,
    stride: usize,
    lanes: usize,
    n_k: usize,
) -> Pairs {
    let (lanes, n_k) = if WHOLE { (ROWS, DEPTH) } else { (lanes, n_k) };
    let lanes = mask(lanes);
    let order = interleaved();
    let mut pairs = [_mm512_setzero_si512(); ROWS];
    for (p, pairs) in pairs[..n_k.div_ceil(2)].iter_mut().enumerate() {
        // SAFETY: masks and counts keep to what exists.
        unsafe {
            let row = first.add(2 * p * stride);
            if ASKS {
                // The next tile of k.
                let next = row.wrapping_add(DEPTH * stride);
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(stride).cast());
            }
            let even = _mm512_maskz_loadu_ps(lanes, row);
            let has_odd = 2 * p + 1 < n_k;
            let odd =
                _mm512_maskz_loadu_ps(if has_odd { lanes } else { 0 }, row.wrapping_add(stride));
            let halves = bits(_mm512_cvtne2ps_pbh(odd, even));
            *pairs = _mm512_permutexvar_epi16(order, halves);
        }
    }
    pairs
}

/// The tile of A whose row i is column i of 32 rows, k going from row to row.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn put_transposed(pairs: Pairs, to: *mut f32) {
    for (row, pairs) in transposed(pairs).into_iter().enumerate() {
        // SAFETY: by this function's contract.
        unsafe { _mm512_storeu_si512(to.add(row * ROW_BYTES / 4).cast(), pairs) };
    }
}

/// A tile of sums, its columns as the bits of registers.
///
/// # Safety
/// AVX-512; a tile is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) unsafe fn transposed_sums(from: *const f32) -> [__m512i; ROWS] {
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for (idx, row) in rows.iter_mut().enumerate() {
        // SAFETY: by this function's contract.
        *row = unsafe { _mm512_loadu_si512(from.add(idx * ROWS).cast()) };
    }
    transposed(rows)
}

/// Value i of the first half of a register beside value i of the second.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn interleaved() -> __m512i {
    _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4,
        19, 3, 18, 2, 17, 1, 16, 0,
    )
}

/// Rows and columns exchanged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn transposed(rows: Pairs) -> Pairs {
    let mut quads = [_mm512_setzero_si512(); ROWS];
    // In each quarter of a register, 4 × 4 blocks of four rows.
    for g in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|r| rows[4 * g + r]);
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        quads[g] = _mm512_unpacklo_epi64(ab, cd);
        quads[4 + g] = _mm512_unpackhi_epi64(ab, cd);
        quads[8 + g] = _mm512_unpacklo_epi64(ab_high, cd_high);
        quads[12 + g] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    let mut columns = [_mm512_setzero_si512(); ROWS];
    // quads[4 i + g] holds, in quarter q, column 4 q + i of the rows 4 g to 4 g + 3.
    for i in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|g| quads[4 * i + g]);
        let (even_ab, even_cd) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
        let (odd_ab, odd_cd) =
            (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
        columns[i] = _mm512_shuffle_i32x4::<0x88>(even_ab, even_cd);
        columns[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd_ab, odd_cd);
        columns[8 + i] = _mm512_shuffle_i32x4::<0xdd>(even_ab, even_cd);
        columns[12 + i] = _mm512_shuffle_i32x4::<0xdd>(odd_ab, odd_cd);
    }
    columns
}

/// The first `n ≤ 16` lanes.
fn mask(n: usize) -> __mmask16 {
    ((1_u32 << n) - 1) as __mmask16
}

/// The same bits.
pub(crate) fn bits(values: __m512bh) -> __m512i {
    // SAFETY: both are 64 bytes without a meaning of their own.
    unsafe { std::mem::transmute(values) }
}
