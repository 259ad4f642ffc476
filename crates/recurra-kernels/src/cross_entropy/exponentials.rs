//! The loops over tiles of exponentials with AVX-512 and `bf16`: from logits to operands of the products, and back to sums.
//!
//! Tokens go down and positions (rows of h) go across, so that 16 lanes are 16 positions and nothing is summed across lanes.

use super::tiles::SQUARE;
use crate::tiles::TILE;
use crate::tiles::layout::{bits, interleaved, transposed};
use crate::update::put_row::{self, Row, first};
use std::arch::x86_64::*;

/// Tokens, and positions, of two tiles side by side.
pub(super) const PAIR: usize = 32;
/// Units of the size of an `f32` in two tiles.
pub(super) const PAIR_UNITS: usize = 2 * TILE;
/// Lanes of a register, and rows of a tile.
const LANES: usize = 16;

/// A bias, and the negative of a reference, for which the exponential is zero.
pub(super) const NEVER: f32 = -1e30;

/// The logits of 32 tokens, and where what becomes of them goes.
pub(super) struct Logits<'a> {
    /// A square for each 32 positions, without the bias.
    pub logits: &'a [f32],
    /// [`NEVER`] where no token is.
    pub bias: &'a [f32; PAIR],
    /// What is taken off the logits of a position before the exponential.
    pub references: &'a [f32],
    /// Added to: Σ e of each position.
    pub sums: &'a mut [f64],
    /// Raised: the largest logit of each position.
    pub largest: &'a mut [f32],
    /// e as the left side of d_weight, and as the right side of d_hidden; nothing where only the loss is wanted.
    pub kept: Option<Kept>,
}

/// The place of a row and a column in a square.
#[inline]
pub(super) fn in_square(row: usize, col: usize) -> usize {
    (row / LANES * 2 + col / LANES) * TILE + row % LANES * LANES + col % LANES
}

/// Where the tiles of e go.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// A panel of these tokens, 32 positions a step.
    pub left: *mut f32,
    /// Whether `left` goes past the caches.
    pub is_far: bool,
    /// The step of these tokens in panels of 32 positions.
    pub right: *mut f32,
    pub right_panel: usize,
}

/// e = exp(l + b − reference), laid out, summed, and the largest l + b.
///
/// # Safety
/// The machine has AVX-512 with `bf16`; the places of `kept` are writable and the caller's.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn exponentials(block: &mut Logits<'_>) {
    // SAFETY: by this function's contract.
    unsafe {
        match block.kept {
            None => exponentials_of::<false, false>(block),
            Some(Kept { is_far: false, .. }) => exponentials_of::<true, false>(block),
            Some(Kept { is_far: true, .. }) => exponentials_of::<true, true>(block),
        }
    }
}

/// [`exponentials`], with what happens to e known beforehand.
///
/// # Safety
/// As [`exponentials`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn exponentials_of<const KEEP: bool, const FAR: bool>(block: &mut Logits<'_>) {
    let order = interleaved();
    for (panel, square) in block.logits.chunks_exact(SQUARE).enumerate() {
        let at = [panel * PAIR, panel * PAIR + LANES];
        // SAFETY: a square holds 32 tokens; slices check their bounds here.
        unsafe {
            let load = |from: &[f32]| at.map(|at| _mm512_loadu_ps(from[at..at + LANES].as_ptr()));
            let references = load(block.references);
            let mut largest = load(block.largest);
            let mut sums = [_mm512_setzero_ps(); 2];
            for token in (0..PAIR).step_by(2) {
                let mut e = [[_mm512_setzero_ps(); 2]; 2];
                for (odd, e) in e.iter_mut().enumerate() {
                    let bias = _mm512_set1_ps(block.bias[token + odd]);
                    for (half, e) in e.iter_mut().enumerate() {
                        let l = square.as_ptr().add(in_square(token + odd, half * LANES));
                        let l = _mm512_add_ps(_mm512_loadu_ps(l), bias);
                        largest[half] = _mm512_max_ps(largest[half], l);
                        *e = exp(_mm512_sub_ps(l, references[half]));
                        sums[half] = _mm512_add_ps(sums[half], *e);
                    }
                }
                let Some(kept) = block.kept.filter(|_| KEEP) else { continue };
                let left = kept.left.add(panel * PAIR_UNITS + token * LANES);
                for (odd, e) in e.iter().enumerate() {
                    let row = bits(_mm512_cvtne2ps_pbh(e[1], e[0]));
                    let to = left.add(odd * LANES).cast();
                    if FAR { _mm512_stream_si512(to, row) } else { _mm512_store_si512(to, row) }
                }
                let right = kept.right.add(panel * kept.right_panel + token / 2 * LANES);
                let [even, odd] = e;
                for (half, (even, odd)) in even.into_iter().zip(odd).enumerate() {
                    let halves = bits(_mm512_cvtne2ps_pbh(odd, even));
                    let pairs = _mm512_permutexvar_epi16(order, halves);
                    _mm512_store_si512(right.add(half * TILE).cast(), pairs);
                }
            }
            for half in 0..2 {
                let at = at[half];
                _mm512_storeu_ps(block.largest[at..at + LANES].as_mut_ptr(), largest[half]);
                let mut lanes = [0.0_f32; LANES];
                _mm512_storeu_ps(lanes.as_mut_ptr(), sums[half]);
                let all = &mut block.sums[at..at + LANES];
                all.iter_mut().zip(lanes).for_each(|(all, sum)| *all += f64::from(sum));
            }
        }
    }
    if FAR {
        _mm_sfence();
    }
}

/// eˣ = 2ⁿ·2ʳ with n the whole number next to x·log₂e and 2ʳ a polynomial fitted on Chebyshev nodes: relative error below
/// 3·10⁻⁷ and that of x·log₂e. Infinite from 88.8 on, zero below −104, not a number where x is −∞ or none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn exp(x: __m512) -> __m512 {
    let x = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let r = _mm512_sub_ps(x, n);
    let mut power = _mm512_set1_ps(POWERS_OF_TWO[5]);
    for coefficient in POWERS_OF_TWO[..5].iter().rev() {
        power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(*coefficient));
    }
    // 2⁻∞ would be zero whatever it is multiplied with.
    _mm512_scalef_ps(power, _mm512_max_ps(n, _mm512_set1_ps(-1000.0)))
}

/// 2ʳ for |r| ≤ ½.
const POWERS_OF_TWO: [f32; 6] =
    [1.0, std::f32::consts::LN_2, 0.240_221_07, 0.055_503_27, 0.009_676_037, 0.001_340_043_3];

/// Rows of a block of d_weight on their way to it.
pub(super) struct Rows<'a> {
    /// Squares of at most 32 rows and as many columns as there are.
    pub from: &'a [f32],
    /// (rows, H)
    pub to: &'a mut [f32],
    pub h: usize,
    /// Whether they are added to what is there.
    pub adds: bool,
    /// Whether they go past the caches, which nothing that is added to does.
    pub is_far: bool,
    /// Σ x² of each row as it then is.
    pub squares: &'a mut [f64],
    /// Room for a row, in whole registers.
    pub line: &'a mut [f32],
}

/// Copies or adds rows.
///
/// # Safety
/// The machine has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn put_rows(rows: Rows<'_>) {
    let Rows { from, to, h, adds, is_far, squares, line } = rows;
    let line = &mut line[..h.next_multiple_of(LANES)];
    for (row, (to, square)) in to.chunks_exact_mut(h).zip(squares).enumerate() {
        for (at, vector) in (0..h).step_by(LANES).zip(line.chunks_exact_mut(LANES)) {
            let from = &from[at / PAIR * SQUARE + in_square(row, at % PAIR)..];
            vector.copy_from_slice(&from[..LANES]);
        }
        // SAFETY: by this function's contract.
        *square = unsafe { Row { from: line, to, adds, is_far }.put() };
    }
    if is_far {
        put_row::fence();
    }
}

/// Parts of d_hidden, positions across, on their way to it: d_hidden_n = f_n·(Σ_parts part_n − r_n·W_tₙ).
pub(super) struct Turned<'a> {
    /// Each has, for 32 positions after the other, a square for 32 h after the other.
    pub parts: &'a [f32],
    pub part_len: usize,
    pub h: usize,
    /// f_n and −f_n·r_n.
    pub factors: &'a [f32],
    pub target_factors: &'a [f32],
    pub weight: &'a [f32],
    pub targets: &'a [u32],
}

impl Turned<'_> {
    /// The rows of 32 positions of d_hidden, `out` (rows, H).
    ///
    /// # Safety
    /// The machine has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn put(&self, panel: usize, out: &mut [f32]) {
        let &Self { parts, part_len, h, .. } = self;
        for at in (0..h).step_by(LANES) {
            let mask = first(h - at);
            for (half, out) in out.chunks_mut(LANES * h).enumerate() {
                let tile = (panel * h.div_ceil(PAIR) + at / PAIR) * SQUARE
                    + in_square(at % PAIR, half * LANES);
                let mut block = [_mm512_setzero_ps(); LANES];
                for part in parts.chunks_exact(part_len) {
                    let tile = part[tile..][..TILE].as_ptr();
                    for (row, sum) in block.iter_mut().enumerate() {
                        // SAFETY: 16 values of a tile.
                        *sum =
                            _mm512_add_ps(*sum, unsafe { _mm512_loadu_ps(tile.add(row * LANES)) });
                    }
                }
                let block = transposed(block.map(|row| _mm512_castps_si512(row)));
                for (row, (out, sum)) in out.chunks_exact_mut(h).zip(block).enumerate() {
                    let n = panel * PAIR + half * LANES + row;
                    let weight = &self.weight[self.targets[n] as usize * h + at..];
                    let sum = _mm512_castsi512_ps(sum);
                    // SAFETY: masks keep to the rows.
                    unsafe {
                        let weight = _mm512_maskz_loadu_ps(mask, weight.as_ptr());
                        let rest = _mm512_mul_ps(weight, _mm512_set1_ps(self.target_factors[n]));
                        let sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(self.factors[n]), rest);
                        _mm512_mask_storeu_ps(out[at..].as_mut_ptr(), mask, sum);
                    }
                }
            }
        }
    }
}

/// A panel of 32 tokens by h as one step of panels of 32 h by tokens, `apart` from each other, of `h_panels` such.
///
/// # Safety
/// The machine has AVX-512; the panels are readable and writable.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn turn(panel: *const f32, h_panels: usize, to: *mut f32, apart: usize) {
    for idx in 0..h_panels {
        // SAFETY: by this function's contract.
        unsafe {
            let from = panel.add(idx * PAIR_UNITS);
            let to = to.add(idx * apart);
            // A pair of tokens for h 0 to 3 of each quarter of a register, and for h 4 to 7.
            let mut low = [_mm512_setzero_si512(); LANES];
            let mut high = [_mm512_setzero_si512(); LANES];
            for (p, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
                let even = _mm512_load_si512(from.add(2 * p * LANES).cast());
                let odd = _mm512_load_si512(from.add((2 * p + 1) * LANES).cast());
                *low = _mm512_unpacklo_epi16(even, odd);
                *high = _mm512_unpackhi_epi16(even, odd);
            }
            for (high, pairs) in [low, high].into_iter().enumerate() {
                for (d, row) in transposed(pairs).into_iter().enumerate() {
                    let row_of_h = d / 4 * 8 + high * 4 + d % 4;
                    _mm512_store_si512(to.add(row_of_h * LANES).cast(), row);
                }
            }
        }
    }
}
