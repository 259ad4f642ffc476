//! Rows times panels: the inner loop of every recurrent kernel.

use super::panels::MOST_VECTORS;
use crate::simd::Vector;
use std::ops::Range;

/// A matrix whose rows are multiplied with panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// Its first value.
    pub values: *const f32,
    /// From the start of one row to the start of the next.
    pub row_stride: usize,
    /// Values used of each row; 0 stands for no matrix.
    pub depth: usize,
}

impl Left {
    /// Nothing to multiply.
    pub const NONE: Self = Self { values: std::ptr::null(), row_stride: 0, depth: 0 };
}

/// What will be read soon: fetched into the second cache meanwhile, a line at each turn of the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    from: *const f32,
    /// Values from one turn to the next.
    stride: usize,
}

impl Ahead {
    #[inline(always)]
    fn fetch(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction, and it may be given any address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(self.from.cast());
        }
        self.from = self.from.wrapping_add(self.stride);
    }
}

/// sums (R, P·LANES) = or += left (R, depth) · panel (depth, P·LANES), in one instantiation for R rows and P vectors.
///
/// Arguments: left, panel, sums, whether the sums start at zero, and what to fetch meanwhile.
pub(super) type Tile = unsafe fn(Left, *const f32, *mut f32, bool, Ahead);

/// The tiles of an instruction set: for P = 1, 2, 3, 4 vectors those of R = 1, 2, … rows.
pub(super) struct Tiles(pub [&'static [Tile]; MOST_VECTORS]);

/// The loop of a tile. All R·P sums stay in registers; each is one chain of multiply-adds over the depth.
///
/// # Safety
/// As for [`Vector`]; `left`, `panel` and `sums` hold what [`Tile`] says.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // rows and vectors, counted alike for registers and memory
pub(super) unsafe fn tile<V: Vector, const R: usize, const P: usize>(
    left: Left,
    panel: *const f32,
    sums: *mut f32,
    from_zero: bool,
    mut ahead: Ahead,
) {
    // SAFETY: the caller vouches for the places and the instruction set.
    unsafe {
        let mut sum = [[V::splat(0.0); P]; R];
        if !from_zero {
            for r in 0..R {
                for p in 0..P {
                    sum[r][p] = V::load(sums.add((r * P + p) * V::LANES));
                }
            }
        }
        let mut weights = panel;
        for k in 0..left.depth {
            ahead.fetch();
            let mut w = [V::splat(0.0); P];
            for p in 0..P {
                w[p] = V::load(weights.add(p * V::LANES));
            }
            for r in 0..R {
                let x = V::splat(*left.values.add(r * left.row_stride + k));
                for p in 0..P {
                    sum[r][p] = x.mul_add(w[p], sum[r][p]);
                }
            }
            weights = weights.add(P * V::LANES);
        }
        for r in 0..R {
            for p in 0..P {
                sum[r][p].store(sums.add((r * P + p) * V::LANES));
            }
        }
    }
}

/// Depth of a piece of a panel: it stays in the first cache while all rows are multiplied with it.
const PIECE: usize = 96;

/// sums (rows, width) = Σ left · panel, where the panel's depth runs through both matrices of `left`, one after the other.
///
/// While a piece of the panel is multiplied with all rows, the piece after it (of `next_panel` at the end) is fetched:
/// where the panels come from the third cache or from memory, that made the whole sweep 1.4 to 1.7 times as fast.
///
/// # Safety
/// The machine has the instruction set of `tiles`; the matrices hold `rows`, the panel all of the depth, `sums` the rows.
pub(super) unsafe fn product(
    tiles: &[Tile],
    left: [Left; 2],
    rows: Range<usize>,
    panel: *const f32,
    next_panel: *const f32,
    width: usize,
    sums: *mut f32,
) {
    let n_tiles = rows.len().div_ceil(tiles.len());
    let mut left_over = left[0].depth + left[1].depth;
    let mut piece = panel;
    let mut from_zero = true;
    for left in left {
        let mut done = 0;
        while done < left.depth {
            let depth = PIECE.min(left.depth - done);
            done += depth;
            left_over -= depth;
            let after = if left_over == 0 { next_panel } else { piece.wrapping_add(depth * width) };
            for idx in 0..n_tiles {
                // As equal as can be: four tiles of five rows rather than three of six and one of two.
                let first = rows.len() * idx / n_tiles;
                let n_rows = rows.len() * (idx + 1) / n_tiles - first;
                let from = after.wrapping_add(depth * width * idx / n_tiles);
                let ahead = Ahead { from, stride: width / n_tiles };
                // SAFETY: rows and depth lie inside, by this function's contract.
                unsafe {
                    let row = left.values.add((rows.start + first) * left.row_stride);
                    let left = Left { values: row.add(done - depth), depth, ..left };
                    tiles[n_rows - 1](left, piece, sums.add(first * width), from_zero, ahead);
                }
            }
            from_zero = false;
            piece = piece.wrapping_add(depth * width);
        }
    }
    if from_zero {
        // SAFETY: the caller vouches for rows × width values.
        unsafe { std::slice::from_raw_parts_mut(sums, rows.len() * width) }.fill(0.0);
    }
}
