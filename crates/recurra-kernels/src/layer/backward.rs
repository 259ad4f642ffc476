//! From the gradients of the states to those of the weights and the input: the steps of a piece from the last to the first,
//! then its products.

use super::LayerShape;
use super::gradient::{FeatureTiles, Gradients, PairTiles};
use super::kept::Kept;
use super::product::{Rows, Tiles};
use super::sizes::{self, Steps, blocks, padded, pieces};
use super::weights::PackedLayer;
use crate::amx::{self, ROWS};
use crate::recurrent::{Cell, MOST_GATES, load, store};
use crate::simd::{Avx512, Quick, Vector};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Rows whose gradients are held at a time.
pub(super) const PIECE: usize = 2048;
/// Rows whose sums are held at a time.
const CHUNK: usize = 64;

/// Sums of some rows with two blocks.
#[repr(align(64))]
struct Sums([f32; CHUNK * 2 * ROWS]);

/// A sequence back through one layer.
pub(super) struct Backward<'a, C> {
    pub cell: C,
    pub shape: LayerShape,
    pub weights: &'a PackedLayer,
    /// (T·B, E)
    pub x: &'a [f32],
    /// (T + 1, B, H)
    pub h: &'a [f32],
    /// (T·B, H)
    pub d_h: &'a [f32],
    pub kept: Kept,
    /// (T·B, E), and whether something is there to add to.
    pub d_x: Option<(SharedSlice<'a, f32>, bool)>,
    /// The gradients of a piece, row by row: gradient by gradient, each padded to whole tiles.
    pub d_rows: Rows,
    /// The same as right operands, by blocks.
    pub d_pairs: PairTiles,
    /// x and h₋ of a piece as left operands, by sixteen values.
    pub x_tiles: FeatureTiles,
    pub h_tiles: FeatureTiles,
    /// (blocks, B, 16) each: what the step after sends back to h and to the memory.
    pub d_h_carried: SharedSlice<'a, f32>,
    pub d_memory: SharedSlice<'a, f32>,
    pub gradients: Gradients<'a>,
}

impl<C: Cell> Backward<'_, C> {
    /// One member's part.
    ///
    /// # Safety
    /// The machine has AMX and AVX-512 with `bf16`; every member calls it, and the fields hold what they say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn member(&self, worker: &Worker<'_>) {
        let LayerShape { time, batch, .. } = self.shape;
        let tiles = Tiles::new();
        let own = sizes::own_blocks(worker, self.shape.blocks());
        // SAFETY: by this function's contract; members write apart, and read what others wrote after a barrier.
        unsafe {
            for piece in pieces(time, batch, PIECE).rev() {
                let is_last = piece.end == time;
                self.prepare(worker, &piece, own.clone());
                for step in piece.clone().rev() {
                    let is_new = step + 1 == piece.end;
                    self.step(&tiles, step, &piece, own.clone(), is_new, is_last && is_new);
                    worker.barrier();
                }
                if piece.start > 0 {
                    self.carry(&tiles, own.clone());
                }
                tiles.shape(ROWS);
                let n_k = self.d_pairs.n_k(piece.len());
                self.gradients.add::<C>(
                    &tiles,
                    &self.d_pairs,
                    [&self.x_tiles, &self.h_tiles],
                    n_k,
                    own.clone(),
                    is_last,
                );
                self.input_gradient(&tiles, worker, &piece);
                if piece.start > 0 {
                    worker.barrier();
                }
            }
            self.gradients.finish::<C>(own);
            amx::release();
        }
    }

    /// The member's share of the left operands of a piece, and zeros where its own right operands have no values.
    #[inline(always)]
    unsafe fn prepare(&self, worker: &Worker<'_>, piece: &Steps, own: Range<usize>) {
        let LayerShape { batch, inputs, hidden, .. } = self.shape;
        let n_k = self.d_pairs.n_k(piece.len());
        // SAFETY: rows of x and h; each tile of k is one member's, and so are the vectors of its blocks.
        unsafe {
            for k in worker.share(n_k) {
                self.x_tiles.fill(self.x, inputs, k, piece, batch);
                self.h_tiles.fill(self.h, hidden, k, piece, batch);
            }
            self.d_pairs.clear_last(own.start * C::GRADIENTS..own.end * C::GRADIENTS, piece.len());
            // The second half of a last tile that no block fills.
            if !self.shape.blocks().is_multiple_of(2) {
                let column = self.shape.blocks() * ROWS;
                for row in worker.share(piece.len() * batch) {
                    for gradient in 0..C::GRADIENTS {
                        let to = self.d_rows.at(row, gradient * padded(hidden) + column);
                        Avx512::splat(0.0).store_bf16(to, ROWS);
                    }
                }
            }
        }
    }

    /// One step of the member's units. The first of a piece (`is_new`) takes over what was carried, the first of all nothing.
    #[inline(always)]
    unsafe fn step(
        &self,
        tiles: &Tiles,
        step: usize,
        piece: &Steps,
        own: Range<usize>,
        is_new: bool,
        is_first: bool,
    ) {
        let batch = self.shape.batch;
        let mut sums = Sums([0.0; _]);
        let sums = sums.0.as_mut_ptr();
        for pair in sizes::back_and_forth(own, 2, step) {
            for first in (0..batch).step_by(CHUNK) {
                let rows = first..(first + CHUNK).min(batch);
                // SAFETY: as in `prepare`; `sums` has room for the rows of two blocks.
                unsafe {
                    if !is_new {
                        let places = rows.len() * ROWS * size_of::<u16>() * C::KEPT * pair.len();
                        tiles.fetch(self.kept.gates(step, pair.start, first), places);
                        let after = (step + 1 - piece.start) * batch + first;
                        self.recurrent_products(tiles, after, rows.len(), pair.clone(), sums);
                    }
                    for (place, block) in pair.clone().enumerate() {
                        let (from, width) = match is_new {
                            false => (sums.cast_const().add(place * ROWS), pair.len() * ROWS),
                            true => {
                                let carried = (block * batch + first) * ROWS;
                                (self.d_h_carried.ptr(carried).cast_const(), ROWS)
                            }
                        };
                        let rows = rows.clone();
                        self.finish(step, piece, block, rows, from, width, is_first);
                    }
                }
            }
        }
    }

    /// d·W_hh for two blocks of units, of `n_rows` rows from row `first` of the piece on.
    #[inline(always)]
    unsafe fn recurrent_products(
        &self,
        tiles: &Tiles,
        first: usize,
        n_rows: usize,
        pair: Range<usize>,
        sums: *mut f32,
    ) {
        let columns = self.weights.recurrent.columns(pair);
        let left = self.d_rows.at(first, first_of(C::OF_RECURRENT) * padded(self.shape.hidden));
        // SAFETY: by the caller's contract.
        unsafe { tiles.multiply(self.d_rows, left, n_rows, columns, sums) };
    }

    /// What the first step of a piece sends back to h, kept for the piece before.
    #[inline(always)]
    unsafe fn carry(&self, tiles: &Tiles, own: Range<usize>) {
        let batch = self.shape.batch;
        let mut sums = Sums([0.0; _]);
        let sums = sums.0.as_mut_ptr();
        for first in own.clone().step_by(2) {
            let pair = first..(first + 2).min(own.end);
            for first in (0..batch).step_by(CHUNK) {
                let n_rows = CHUNK.min(batch - first);
                // SAFETY: as in `step`.
                unsafe {
                    self.recurrent_products(tiles, first, n_rows, pair.clone(), sums);
                    for (place, block) in pair.clone().enumerate() {
                        for row in 0..n_rows {
                            let sum = Avx512::load(sums.add((row * pair.len() + place) * ROWS));
                            sum.store(self.d_h_carried.ptr((block * batch + first + row) * ROWS));
                        }
                    }
                }
            }
        }
    }

    /// The pointwise part of a step, for some rows of a block: two rows at a time, as a right operand has them.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // a place in time, in the batch and in the layer
    #[allow(clippy::needless_range_loop)] // gates, counted alike in registers and in memory
    unsafe fn finish(
        &self,
        step: usize,
        piece: &Steps,
        block: usize,
        rows: Range<usize>,
        sums: *const f32,
        width: usize,
        is_first: bool,
    ) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let unit = block * ROWS;
        let n = ROWS.min(hidden - unit);
        let step_in_piece = step - piece.start;
        // SAFETY: places of this member's units; `sums` holds the rows.
        unsafe {
            let zero = Avx512::splat(0.0);
            let mut total = [zero; MOST_GATES];
            for first in rows.clone().step_by(2) {
                let mut d = [[zero; MOST_GATES]; 2];
                let n_rows = 2.min(rows.end - first);
                for (row, d) in (first..).zip(&mut d[..n_rows]) {
                    let gates = self.kept.gates(step, block, row);
                    let mut kept = [zero; MOST_GATES];
                    for idx in 0..C::KEPT {
                        kept[idx] = Avx512::load_f16(gates.add(idx * ROWS));
                    }
                    let before = Avx512::load(self.kept.memory(step, block, row));
                    let now = Avx512::load(self.kept.memory(step + 1, block, row));
                    let d_memory = self.d_memory.ptr((block * batch + row) * ROWS);
                    let place = self.d_h.as_ptr().add((step * batch + row) * hidden + unit);
                    fetch(place, batch * hidden);
                    let (mut d_h, mut d_m): (Avx512, Avx512) = (load(place, n), zero);
                    if !is_first {
                        d_h = d_h.add(Avx512::load(sums.add((row - rows.start) * width)));
                        d_m = Avx512::load(d_memory);
                    }
                    let (found, d_before) =
                        self.cell.backward::<Avx512, Quick>(kept, before, now, d_h, d_m);
                    d_before.store(d_memory);
                    *d = found;
                    for gradient in 0..C::GRADIENTS {
                        total[gradient] = total[gradient].add(found[gradient]);
                    }
                }
                let row_in_piece = step_in_piece * batch + first;
                for gradient in 0..C::GRADIENTS {
                    let rounded = Avx512::round_two(d[0][gradient], d[1][gradient]);
                    let column = gradient * padded(hidden) + unit;
                    rounded.store_first(self.d_rows.at(row_in_piece, column));
                    if n_rows == 2 {
                        rounded.store_second(self.d_rows.at(row_in_piece + 1, column));
                    }
                    let pair = self.d_pairs.pair(
                        block * C::GRADIENTS + gradient,
                        step_in_piece,
                        first / 2,
                    );
                    rounded.store_pairs(pair);
                }
            }
            for (gradient, total) in total.into_iter().enumerate().take(C::GRADIENTS) {
                self.gradients.add_bias(block * C::GRADIENTS + gradient, total);
            }
        }
    }

    /// d_x = or += d·W_ih, the member's share of the columns.
    #[inline(always)]
    unsafe fn input_gradient(&self, tiles: &Tiles, worker: &Worker<'_>, piece: &Steps) {
        let Some((d_x, has_part)) = &self.d_x else { return };
        let LayerShape { batch, inputs, hidden, .. } = self.shape;
        let panels = &self.weights.input;
        let own = sizes::own_blocks(worker, blocks(inputs));
        let n_rows = piece.len() * batch;
        let mut sums = Sums([0.0; _]);
        let sums = sums.0.as_mut_ptr();
        for first in (0..n_rows).step_by(2 * ROWS) {
            let n_rows = (2 * ROWS).min(n_rows - first);
            let left = self.d_rows.at(first, first_of(C::OF_INPUT) * padded(hidden));
            let next = self.d_rows.at(first + n_rows, 0);
            tiles.fetch(next, next as usize - self.d_rows.at(first, 0) as usize);
            for vector in own.clone().step_by(2) {
                let pair = vector..(vector + 2).min(own.end);
                let columns = panels.columns(pair.clone());
                // SAFETY: rows of the piece; columns of this member.
                unsafe {
                    tiles.multiply(self.d_rows, left, n_rows, columns, sums);
                    for row in 0..n_rows {
                        for (place, vector) in pair.clone().enumerate() {
                            let mut sum = Avx512::load(sums.add((row * pair.len() + place) * ROWS));
                            let n = ROWS.min(inputs - vector * ROWS);
                            let row = piece.start * batch + first + row;
                            let to = d_x.ptr(row * inputs + vector * ROWS);
                            if *has_part {
                                sum = sum.add(load(to, n));
                            }
                            store(sum, to, n);
                        }
                    }
                }
            }
        }
    }
}

/// The first of a run of gradients.
fn first_of(run: &[usize]) -> usize {
    run.iter().copied().min().unwrap_or(0)
}

/// Asks for the value that the step before will read at the same place.
#[inline(always)]
unsafe fn fetch(place: *const f32, step: usize) {
    // SAFETY: a hint; the address need not exist.
    unsafe { Avx512::prefetch(place.wrapping_sub(step)) }
}
