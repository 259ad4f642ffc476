//! From inputs to states: the products with the input for some steps, then the steps.

use super::LayerShape;
use super::beside::{Beside, SumsInTurn};
use super::input::{Reader, through};
use super::kept::Kept;
use super::product::{Rows, Tiles, TwoSums};
use super::sizes::{self, CHUNK, Steps, pieces};
use super::weights::PackedLayer;
use crate::dropout;
use crate::recurrent::{Cell, MOST_GATES, load, store};
use crate::simd::{Avx512, Quick, Vector};
use crate::tiles::{DEPTH, ROWS, Unit};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Rows whose products with the input are made before their steps: their gates stay in the second cache.
pub(super) const PIECE: usize = 512;
/// Vectors of sums that a group of blocks has at most.
const MOST_VECTORS: usize = 6;

/// Sums of a chunk of rows with a group of blocks.
type Sums = TwoSums<{ CHUNK * MOST_VECTORS * ROWS }>;

/// A sequence through one layer.
pub(super) struct Forward<'a, C> {
    pub cell: C,
    pub unit: Unit,
    pub shape: LayerShape,
    pub weights: &'a PackedLayer,
    /// (G·H): what is added to W_ih·x.
    pub bias: &'a [f32],
    /// (H): what is added to the product with h in the gate that the cell names.
    pub bias_recurrent: &'a [f32],
    /// (T·B, E)
    pub x: Reader<'a>,
    /// (T + 1, B, H), the first given.
    pub h: SharedSlice<'a, f32>,
    /// (B, H): what the products see h through.
    pub state_mask: Option<dropout::Prepared>,
    /// (B, H): the first memory, and after the sequence the last; without it the memory is h.
    pub memory: Option<SharedSlice<'a, f32>>,
    /// (blocks, B, 16): the memory of every unit at the step that is being made.
    pub memory_now: SharedSlice<'a, f32>,
    pub kept: Kept,
    /// x of the steps of a piece, rounded.
    pub x_rows: Rows,
    /// h before a step and after it, rounded: they change places, because members still read one while others write the
    /// other. Zero before the sequence.
    pub h_rows: [Rows; 2],
}

impl<C: Cell> Forward<'_, C> {
    /// One member's part.
    ///
    /// # Safety
    /// The machine has the unit and AVX-512 with `bf16`; every member calls it, and the fields hold what they say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn member(&self, worker: &Worker<'_>) {
        let LayerShape { time, batch, hidden, .. } = self.shape;
        let tiles = Tiles::new(self.unit);
        let mut sums = Sums::new();
        let own = sizes::own_blocks(worker, self.shape.blocks());
        // SAFETY: by this function's contract; members write apart, and read what others wrote after a barrier.
        unsafe {
            self.round_state(worker);
            for block in own.clone() {
                self.take_memory(block);
            }
            for piece in pieces(time, batch, PIECE) {
                self.round_inputs(worker, &piece);
                worker.barrier();
                self.input_products(&tiles, &mut sums, piece.clone(), own.clone());
                for step in piece.clone() {
                    self.step(&tiles, &mut sums, step, own.clone());
                    if step + 1 < time {
                        worker.barrier();
                    }
                }
            }
            if let Some(memory) = &self.memory {
                for block in own {
                    self.give_memory(memory, block);
                }
            }
            debug_assert!(self.h.len() == (time + 1) * batch * hidden);
            tiles.release();
        }
    }

    /// The member's share of the first h.
    #[inline(always)]
    unsafe fn round_state(&self, worker: &Worker<'_>) {
        let LayerShape { batch, hidden, .. } = self.shape;
        // SAFETY: nobody writes the first h; each row is one member's.
        unsafe {
            let h = std::slice::from_raw_parts(self.h.ptr(0), batch * hidden);
            let h = Reader::of_states(h, batch, hidden, self.state_mask);
            for row in worker.share(batch) {
                round_row(&h, row, self.h_rows[0].at(row, 0));
            }
        }
    }

    /// The member's share of x of a piece. Whoever is past the barrier of a piece's first step needs the rows of the piece before
    /// no more.
    #[inline(always)]
    unsafe fn round_inputs(&self, worker: &Worker<'_>, piece: &Steps) {
        let batch = self.shape.batch;
        for row in worker.share(piece.len() * batch) {
            // SAFETY: each row is one member's.
            unsafe { round_row(&self.x, piece.start * batch + row, self.x_rows.at(row, 0)) };
        }
    }

    /// The memories of a block before the sequence.
    #[inline(always)]
    unsafe fn take_memory(&self, block: usize) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let n = ROWS.min(hidden - block * ROWS);
        let given = self.memory.as_ref().unwrap_or(&self.h);
        for row in 0..batch {
            // SAFETY: the first B rows, n values of each; places of this member's block.
            unsafe {
                let memory: Avx512 = load(given.ptr(row * hidden + block * ROWS), n);
                memory.store(self.memory_now.ptr((block * batch + row) * ROWS));
                memory.within_f16().store_f16(self.kept.memory.at(0, block, row));
            }
        }
    }

    /// The memories of a block after the sequence.
    #[inline(always)]
    unsafe fn give_memory(&self, memory: &SharedSlice<'_, f32>, block: usize) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let n = ROWS.min(hidden - block * ROWS);
        for row in 0..batch {
            // SAFETY: as in `take_memory`.
            unsafe {
                let last = Avx512::load(self.memory_now.ptr((block * batch + row) * ROWS));
                store(last, memory.ptr(row * hidden + block * ROWS), n);
            }
        }
    }

    /// W_ih·x + b of some steps, for the member's units.
    #[inline(always)]
    unsafe fn input_products(
        &self,
        tiles: &Tiles,
        sums: &mut Sums,
        steps: Steps,
        own: Range<usize>,
    ) {
        let batch = self.shape.batch;
        let panels = &self.weights.input;
        let vectors = own.start * C::GATES..own.end * C::GATES;
        let rows = steps.start * batch..steps.end * batch;
        let mut before = None;
        for vector in vectors.clone().step_by(2) {
            let pair = vector..(vector + 2).min(vectors.end);
            let columns = panels.columns(pair.clone());
            if pair.end < vectors.end {
                let next = pair.end..(pair.end + 2).min(vectors.end);
                tiles.fetch(panels.vectors(next.clone()), panels.bytes_of(next.len()));
            }
            for first in rows.clone().step_by(CHUNK) {
                let n_rows = CHUNK.min(rows.end - first);
                let left = self.x_rows.at(first - rows.start, 0);
                let to = sums.next();
                // SAFETY: rows of x, whole tiles of weights, sums for the rows of two vectors; places of this member's units.
                unsafe {
                    tiles.multiply(self.x_rows, left, n_rows, columns, to, &mut before);
                    before = Some(InputPart::new(self, pair.clone(), first, n_rows, to));
                }
            }
        }
        // SAFETY: as above.
        unsafe { before.rest() };
    }

    /// One step of the member's units.
    #[inline(always)]
    unsafe fn step(&self, tiles: &Tiles, sums: &mut Sums, step: usize, own: Range<usize>) {
        let group = if C::GATES == 3 { 2 } else { 4 / C::GATES };
        let h_rows = self.h_rows[step % 2];
        let mut before = None;
        for (blocks, rows) in sizes::back_and_forth(own, group, self.shape.batch, step) {
            let vectors = blocks.start * C::GATES..blocks.end * C::GATES;
            let columns = self.weights.recurrent.columns(vectors.clone());
            let left = h_rows.at(rows.start, 0);
            let to = sums.next();
            // SAFETY: as in `input_products`.
            unsafe { tiles.multiply(h_rows, left, rows.len(), columns, to, &mut before) };
            let apart = [vectors.len() * ROWS, C::GATES * ROWS];
            let turn = SumsInTurn::new(&blocks, rows, to, apart);
            before = Some(Units { forward: self, step, turn });
        }
        // SAFETY: as above.
        unsafe { before.rest() };
    }
}

/// What follows a product with x: its sums with the bias, to the input's part of the gates.
struct InputPart<'a, C> {
    forward: &'a Forward<'a, C>,
    /// One or two vectors of columns.
    vectors: Range<usize>,
    bias: [Avx512; 2],
    /// The next row, by step and place in the batch.
    step: usize,
    row: usize,
    left: usize,
    sums: *const f32,
}

impl<'a, C: Cell> InputPart<'a, C> {
    /// `n_rows` of `sums`, from row `first` on.
    #[inline(always)]
    unsafe fn new(
        forward: &'a Forward<'a, C>,
        vectors: Range<usize>,
        first: usize,
        n_rows: usize,
        sums: *const f32,
    ) -> Self {
        let LayerShape { batch, hidden, .. } = forward.shape;
        let bias_of = |vector: usize| {
            let (block, gate) = (vector / C::GATES, vector % C::GATES);
            let unit = block * ROWS;
            // SAFETY: the bias of a gate has H values.
            unsafe { load(forward.bias[gate * hidden + unit..].as_ptr(), ROWS.min(hidden - unit)) }
        };
        let bias = [bias_of(vectors.start), bias_of(vectors.end - 1)];
        let (step, row) = (first / batch, first % batch);
        Self { forward, vectors, bias, step, row, left: n_rows, sums }
    }
}

impl<C: Cell> Beside for InputPart<'_, C> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.left
    }

    #[inline(always)]
    unsafe fn part(&mut self) {
        for (place, vector) in self.vectors.clone().enumerate() {
            let (block, gate) = (vector / C::GATES, vector % C::GATES);
            // SAFETY: `sums` holds the rows; places of this member's units.
            unsafe {
                let to = self.forward.kept.gates.at(self.step, block, self.row).add(gate * ROWS);
                let part = Avx512::load(self.sums.add(place * ROWS)).add(self.bias[place]);
                part.within_f16().store_f16(to);
            }
        }
        self.sums = self.sums.wrapping_add(self.vectors.len() * ROWS);
        self.left -= 1;
        self.row += 1;
        if self.row == self.forward.shape.batch {
            (self.step, self.row) = (self.step + 1, 0);
        }
    }
}

/// What follows a product with h: the pointwise part of a step, for some rows of some blocks.
struct Units<'a, C> {
    forward: &'a Forward<'a, C>,
    step: usize,
    turn: SumsInTurn<1>,
}

impl<C: Cell> Beside for Units<'_, C> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.turn.left()
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // gates, counted alike in registers and in memory
    unsafe fn part(&mut self) {
        let Forward { cell, shape, h_rows, kept, .. } = self.forward;
        let (step, &SumsInTurn { row, block, sums, .. }) = (self.step, &self.turn);
        let unit = block * ROWS;
        let n = ROWS.min(shape.hidden - unit);
        // SAFETY: places of this member's units; `sums` holds the row.
        unsafe {
            let zero = Avx512::splat(0.0);
            let (mut a, mut u) = ([zero; MOST_GATES], [zero; MOST_GATES]);
            let gates = kept.gates.at(step, block, row);
            for gate in 0..C::GATES {
                a[gate] = Avx512::load_f16(gates.add(gate * ROWS));
                u[gate] = Avx512::load(sums.add(gate * ROWS));
            }
            if let Some(gate) = C::BIASED {
                u[gate] = u[gate].add(load(self.forward.bias_recurrent[unit..].as_ptr(), n));
            }
            let memory = self.forward.memory_now.ptr((block * shape.batch + row) * ROWS);
            let (found, now, h) = cell.forward::<Avx512, Quick>(a, u, Avx512::load(memory));
            now.store(memory);
            now.within_f16().store_f16(kept.memory.at(step + 1, block, row));
            for idx in 0..C::KEPT {
                found[idx].store_f16(gates.add(idx * ROWS));
            }
            let to = self.forward.h.ptr(((step + 1) * shape.batch + row) * shape.hidden + unit);
            store(h, to, n);
            // The next block's, in a row that lies too far from the others for the hardware to see it coming.
            Avx512::prefetch(to.wrapping_add(ROWS));
            let seen = through(self.forward.state_mask, h, row * shape.hidden + unit);
            seen.store_bf16(h_rows[(step + 1) % 2].at(row, unit), ROWS);
        }
        self.turn.advance();
    }
}

/// Row `n` as `bf16`, zero to the end of its last tile.
#[inline(always)]
unsafe fn round_row(values: &Reader<'_>, n: usize, to: *mut u16) {
    let row = values.row(n);
    for column in (0..values.width().next_multiple_of(DEPTH)).step_by(ROWS) {
        // SAFETY: a row of `bf16` has whole tiles.
        unsafe { values.vector(row, n, column).store_bf16(to.add(column), ROWS) };
    }
}
