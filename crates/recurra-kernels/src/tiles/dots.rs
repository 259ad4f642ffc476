//! Tiles multiplied in registers, where there is no matrix unit.
//!
//! AVX-512 with `bf16` (Zen 4 and later, Cooper Lake and later) adds the products of a pair of k to sixteen sums at once:
//! c_n += a_2k+1 · b_2k+1,n, then c_n += a_2k · b_2k,n, each rounded to nearest, numbers too small for a full mantissa taken as
//! zero. A row of a tile of B is such an operand as it lies, and so is a pair of a row of A in all lanes. Each sum is one chain
//! over k, whatever stands beside it.

use super::{DEPTH, ROW_BYTES, ROWS, TILE};
use std::arch::x86_64::*;

/// Rows at a time: with two vectors of B 24 sums, which hide the time that one addition takes.
const MOST_ROWS: usize = 12;

/// Rows of A: where the first begins, from one to the next, and from one tile of k to the next, in values of `bf16`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub first: *const u16,
    pub to_row: usize,
    pub to_tile: usize,
}

impl Left {
    /// Rows of whole tiles one below the other, the next k `to_tile` units of the size of an `f32` further on.
    pub(crate) fn tiles(first: *const f32, to_tile: usize) -> Self {
        Self { first: first.cast(), to_row: DEPTH, to_tile: 2 * to_tile }
    }

    /// Those from row `row` on.
    #[inline(always)]
    fn below(self, row: usize) -> Self {
        Self { first: self.first.wrapping_add(row * self.to_row), ..self }
    }
}

/// Tiles of B side by side: the first of each, and how far the next k is, in units of the size of an `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Right<const V: usize> {
    pub first: [*const f32; V],
    pub to_tile: usize,
}

/// Where sums are: the first row of each vector, and from one row to the next. Of the last vector only some lanes may exist.
#[derive(Clone, Copy)]
pub(crate) struct Sums<const V: usize> {
    pub first: [*mut f32; V],
    pub to_row: usize,
    pub lanes: usize,
}

impl<const V: usize> Sums<V> {
    /// Those of whole vectors.
    pub(crate) fn whole(first: [*mut f32; V], to_row: usize) -> Self {
        Self { first, to_row, lanes: ROWS }
    }

    #[inline(always)]
    fn below(self, row: usize) -> Self {
        Self { first: self.first.map(|first| first.wrapping_add(row * self.to_row)), ..self }
    }

    #[inline(always)]
    fn mask(&self, v: usize) -> __mmask16 {
        if v + 1 < V { !0 } else { ((1_u32 << self.lanes) - 1) as __mmask16 }
    }
}

/// What sums begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    Zero,
    /// The values there, the same for all rows; columns as those of the sums.
    Bias(*const f32),
    /// What is there.
    Sum,
}

/// Asks for so many cache lines, so that they are in the second cache when they are wanted.
#[inline(always)]
pub(crate) fn fetch<T>(from: *const T, n_lines: usize) {
    for line in 0..n_lines {
        // SAFETY: a hint, which needs no place that exists.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_byte_add(line * ROW_BYTES).cast()) };
    }
}

/// sums (`n_rows`, 16·V) ← start + left · right over `n_k` tiles of k.
///
/// # Safety
/// The machine has AVX-512 with `bf16`; what the arguments say is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn multiply<const V: usize>(
    left: Left,
    right: Right<V>,
    n_rows: usize,
    n_k: usize,
    start: Start,
    sums: Sums<V>,
) {
    let n_blocks = n_rows.div_ceil(MOST_ROWS);
    for block in 0..n_blocks {
        let place = |block: usize| n_rows * block / n_blocks;
        let (row, end) = (place(block), place(block + 1));
        let (left, sums) = (left.below(row), sums.below(row));
        // SAFETY: by this function's contract.
        unsafe {
            match end - row {
                1 => rows::<1, V>(left, right, n_k, start, sums),
                2 => rows::<2, V>(left, right, n_k, start, sums),
                3 => rows::<3, V>(left, right, n_k, start, sums),
                4 => rows::<4, V>(left, right, n_k, start, sums),
                5 => rows::<5, V>(left, right, n_k, start, sums),
                6 => rows::<6, V>(left, right, n_k, start, sums),
                7 => rows::<7, V>(left, right, n_k, start, sums),
                8 => rows::<8, V>(left, right, n_k, start, sums),
                9 => rows::<9, V>(left, right, n_k, start, sums),
                10 => rows::<10, V>(left, right, n_k, start, sums),
                11 => rows::<11, V>(left, right, n_k, start, sums),
                _ => rows::<MOST_ROWS, V>(left, right, n_k, start, sums),
            }
        }
    }
}

/// [`multiply`] for `R` rows, whose sums stay in registers.
///
/// # Safety
/// As [`multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn rows<const R: usize, const V: usize>(
    left: Left,
    right: Right<V>,
    n_k: usize,
    start: Start,
    sums: Sums<V>,
) {
    let mut c = [[_mm512_setzero_ps(); V]; R];
    // SAFETY: by this function's contract; masks keep to the lanes that exist.
    unsafe {
        match start {
            Start::Zero => {}
            Start::Bias(bias) => {
                for row in &mut c {
                    for (v, c) in row.iter_mut().enumerate() {
                        *c = _mm512_maskz_loadu_ps(sums.mask(v), bias.wrapping_add(v * ROWS));
                    }
                }
            }
            Start::Sum => {
                for (r, row) in c.iter_mut().enumerate() {
                    for (v, c) in row.iter_mut().enumerate() {
                        *c =
                            _mm512_maskz_loadu_ps(sums.mask(v), sums.first[v].add(r * sums.to_row));
                    }
                }
            }
        }
        let (mut a, mut b) = (left.first, right.first);
        for _ in 0..n_k {
            for pair in 0..TILE / ROWS {
                let mut b_pair = [_mm512_setzero_si512(); V];
                for (v, b_pair) in b_pair.iter_mut().enumerate() {
                    *b_pair = _mm512_loadu_si512(b[v].add(pair * ROWS).cast());
                }
                for (r, row) in c.iter_mut().enumerate() {
                    let a_pair = a.add(r * left.to_row + 2 * pair).cast::<i32>().read_unaligned();
                    let a_pair = _mm512_set1_epi32(a_pair);
                    for (c, b_pair) in row.iter_mut().zip(b_pair) {
                        *c = _mm512_dpbf16_ps(*c, pairs(a_pair), pairs(b_pair));
                    }
                }
            }
            a = a.wrapping_add(left.to_tile);
            b = b.map(|b| b.wrapping_add(right.to_tile));
        }
        for (r, row) in c.into_iter().enumerate() {
            for (v, c) in row.into_iter().enumerate() {
                _mm512_mask_storeu_ps(sums.first[v].add(r * sums.to_row), sums.mask(v), c);
            }
        }
    }
}

/// The same bits.
#[inline(always)]
fn pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes without a meaning of their own.
    unsafe { std::mem::transmute(bits) }
}
