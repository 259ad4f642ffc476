//! From the gradients of the states to those of the weights and the input: the steps of a piece from the last to the first,
//! then its products.

use super::beside::{Beside, SumsInTurn};
use super::gradient::Gradients;
use super::input::{Reader, through};
use super::kept::Kept;
use super::product::{Tiles, TwoSums};
use super::room::Room;
use super::sizes::{self, CHUNK, Steps, back_and_forth, blocks, padded, pieces};
use super::weights::PackedLayer;
use super::{InputGradient, LayerShape};
use crate::dropout;
use crate::recurrent::{Cell, MOST_GATES, load, store};
use crate::simd::{Avx512, Quick, Vector};
use crate::tiles::{ROWS, Unit};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Rows whose gradients are held at a time.
pub(super) const PIECE: usize = 1024;

/// Bytes of gradients that stay in the second cache while all columns of W_ih, which may not fit it, pass by.
const ROWS_ROOM: usize = 1200 << 10;

/// Sums of a chunk of rows with two blocks.
type Sums = TwoSums<{ CHUNK * 2 * ROWS }>;

/// A sequence back through one layer.
pub(super) struct Backward<'a, C> {
    pub cell: C,
    pub unit: Unit,
    pub shape: LayerShape,
    pub weights: &'a PackedLayer,
    /// (T·B, E)
    pub x: Reader<'a>,
    /// (T + 1, B, H), through the mask of the state.
    pub h: Reader<'a>,
    /// (T·B, H)
    pub d_h: SharedSlice<'a, f32>,
    pub kept: Kept,
    pub d_x: InputGradients<'a>,
    pub room: Room<'a>,
    pub gradients: Gradients<'a>,
}

/// [`InputGradient`](super::InputGradient), for a team.
pub(super) enum InputGradients<'a> {
    Nowhere,
    Apart { to: SharedSlice<'a, f32>, adds: bool },
    InPlace,
}

impl<'a> From<InputGradient<'a>> for InputGradients<'a> {
    fn from(d_x: InputGradient<'a>) -> Self {
        let apart = |to, adds| Self::Apart { to: SharedSlice::new(to), adds };
        match d_x {
            InputGradient::Nowhere => Self::Nowhere,
            InputGradient::To(d_x) => apart(d_x, false),
            InputGradient::AddedTo(d_x) => apart(d_x, true),
            InputGradient::InPlace => Self::InPlace,
        }
    }
}

impl<C: Cell> Backward<'_, C> {
    /// One member's part.
    ///
    /// # Safety
    /// The machine has the unit and AVX-512 with `bf16`; every member calls it, and the fields hold what they say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn member(&self, worker: &Worker<'_>) {
        let LayerShape { time, batch, .. } = self.shape;
        let tiles = Tiles::new(self.unit);
        let mut sums = Sums::new();
        let own = sizes::own_blocks(worker, self.shape.blocks());
        // SAFETY: by this function's contract; members write apart, and read what others wrote after a barrier.
        unsafe {
            for piece in pieces(time, batch, PIECE).rev() {
                let is_last = piece.end == time;
                self.prepare(worker, &piece, own.clone());
                for step in piece.clone().rev() {
                    self.step(&tiles, &mut sums, step, &piece, own.clone());
                    worker.barrier();
                }
                if piece.start > 0 {
                    self.carry(&tiles, &mut sums, own.clone());
                }
                tiles.shape(ROWS);
                let n_k = self.room.d_pairs.n_k(piece.len());
                self.gradients.add::<C>(
                    &tiles,
                    &self.room.d_pairs,
                    [&self.room.x_tiles, &self.room.h_tiles],
                    n_k,
                    own.clone(),
                    is_last,
                );
                self.input_gradient(&tiles, &mut sums, worker, &piece);
                if piece.start > 0 {
                    worker.barrier();
                }
            }
            self.gradients.finish::<C>(worker, own);
            tiles.release();
        }
    }

    /// The member's share of the left operands of a piece, and zeros where its own right operands have no values.
    #[inline(always)]
    unsafe fn prepare(&self, worker: &Worker<'_>, piece: &Steps, own: Range<usize>) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let n_k = self.room.d_pairs.n_k(piece.len());
        // SAFETY: rows of x and h; each tile of k is one member's, and so are the vectors of its blocks.
        unsafe {
            for k in worker.share(n_k) {
                self.room.x_tiles.fill(&self.x, k, piece, batch);
                self.room.h_tiles.fill(&self.h, k, piece, batch);
            }
            self.room
                .d_pairs
                .clear_last(own.start * C::GRADIENTS..own.end * C::GRADIENTS, piece.len());
            // The second half of a last tile that no block fills.
            if !self.shape.blocks().is_multiple_of(2) {
                let column = self.shape.blocks() * ROWS;
                for row in worker.share(piece.len() * batch) {
                    for gradient in 0..C::GRADIENTS {
                        let to = self.room.d_rows.at(row, gradient * padded(hidden) + column);
                        Avx512::splat(0.0).store_bf16(to, ROWS);
                    }
                }
            }
        }
    }

    /// One step of the member's units. The first of a piece takes over what was carried.
    #[inline(always)]
    unsafe fn step(
        &self,
        tiles: &Tiles,
        sums: &mut Sums,
        step: usize,
        piece: &Steps,
        own: Range<usize>,
    ) {
        let batch = self.shape.batch;
        let is_new = step + 1 == piece.end;
        let mut before = None;
        for (pair, rows) in back_and_forth(own, 2, batch, step) {
            // SAFETY: as in `prepare`; `sums` has room for the rows of two blocks.
            unsafe {
                let (first, apart) = if is_new {
                    before.rest();
                    let carried =
                        self.room.d_h_carried.ptr((pair.start * batch + rows.start) * ROWS);
                    (carried, [ROWS, batch * ROWS])
                } else {
                    let places = rows.len() * ROWS * size_of::<u16>() * C::KEPT * pair.len();
                    tiles.fetch(self.kept.gates.at(step, pair.start, rows.start), places);
                    let to = sums.next();
                    let after = (step + 1 - piece.start) * batch + rows.start;
                    self.recurrent_products(tiles, after, rows.len(), &pair, to, &mut before);
                    (to, [pair.len() * ROWS, ROWS])
                };
                let turn = SumsInTurn::new(&pair, rows, first, apart);
                before =
                    Some(Units { backward: self, step, step_in_piece: step - piece.start, turn });
            }
        }
        // SAFETY: as above.
        unsafe { before.rest() };
    }

    /// d·W_hh for two blocks of units, of `n_rows` rows from row `first` of the piece on.
    #[inline(always)]
    unsafe fn recurrent_products(
        &self,
        tiles: &Tiles,
        first: usize,
        n_rows: usize,
        pair: &Range<usize>,
        sums: *mut f32,
        beside: &mut impl Beside,
    ) {
        let columns = self.weights.recurrent.columns(pair.clone());
        let left =
            self.room.d_rows.at(first, first_of(C::OF_RECURRENT) * padded(self.shape.hidden));
        // SAFETY: by the caller's contract.
        unsafe { tiles.multiply(self.room.d_rows, left, n_rows, columns, sums, beside) };
    }

    /// What the first step of a piece sends back to h, kept for the piece before.
    #[inline(always)]
    unsafe fn carry(&self, tiles: &Tiles, sums: &mut Sums, own: Range<usize>) {
        let batch = self.shape.batch;
        for (pair, rows) in back_and_forth(own, 2, batch, 0) {
            let sums = sums.next();
            // SAFETY: as in `step`.
            unsafe {
                self.recurrent_products(
                    tiles,
                    rows.start,
                    rows.len(),
                    &pair,
                    sums,
                    &mut None::<Units<'_, C>>,
                );
                for (idx, row) in rows.enumerate() {
                    for (place, block) in pair.clone().enumerate() {
                        let sum = Avx512::load(sums.add((idx * pair.len() + place) * ROWS));
                        sum.store(self.room.d_h_carried.ptr((block * batch + row) * ROWS));
                    }
                }
            }
        }
    }

    /// d_x = or += d·W_ih, the member's share of the columns.
    #[inline(always)]
    unsafe fn input_gradient(
        &self,
        tiles: &Tiles,
        sums: &mut Sums,
        worker: &Worker<'_>,
        piece: &Steps,
    ) {
        let (d_x, adds) = match &self.d_x {
            InputGradients::Nowhere => return,
            InputGradients::Apart { to, adds } => (to, *adds),
            // The rows of a piece, all of whose steps are made.
            InputGradients::InPlace => (&self.d_h, false),
        };
        let LayerShape { batch, inputs, hidden, .. } = self.shape;
        let panels = &self.weights.input;
        let own = sizes::own_blocks(worker, blocks(inputs));
        let n_rows = piece.len() * batch;
        let row = |row: usize| self.room.d_rows.at(row, 0).cast_const();
        let row_bytes = row(1) as usize - row(0) as usize;
        let by = (ROWS_ROOM / row_bytes / CHUNK * CHUNK).max(CHUNK);
        let mut before = None;
        for start in (0..n_rows).step_by(by) {
            let end = (start + by).min(n_rows);
            for vector in own.clone().step_by(2) {
                let vectors = vector..(vector + 2).min(own.end);
                let columns = panels.columns(vectors.clone());
                let next = vectors.end..(vectors.end + 2).min(own.end);
                if next.is_empty() {
                    tiles.fetch(row(end), row_bytes * by.min(n_rows - end));
                } else {
                    tiles.fetch(panels.vectors(next.clone()), panels.bytes_of(next.len()));
                }
                for first in (start..end).step_by(CHUNK) {
                    let n_rows = CHUNK.min(end - first);
                    let left = self.room.d_rows.at(first, first_of(C::OF_INPUT) * padded(hidden));
                    let to = sums.next();
                    // SAFETY: rows of the piece; columns of this member.
                    unsafe {
                        tiles.multiply(self.room.d_rows, left, n_rows, columns, to, &mut before);
                    }
                    let row = piece.start * batch + first;
                    before = Some(InputPart {
                        d_x,
                        adds,
                        mask: self.x.mask,
                        inputs,
                        vectors: vectors.clone(),
                        rows: row..row + n_rows,
                        sums: to,
                    });
                }
            }
        }
        // SAFETY: as above.
        unsafe { before.rest() };
    }
}

/// What follows a product with W_ih: its sums, to d_x.
struct InputPart<'a> {
    d_x: &'a SharedSlice<'a, f32>,
    adds: bool,
    /// What stands before x.
    mask: Option<dropout::Prepared>,
    inputs: usize,
    /// One or two vectors of columns.
    vectors: Range<usize>,
    rows: Range<usize>,
    sums: *const f32,
}

impl Beside for InputPart<'_> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.rows.len()
    }

    #[inline(always)]
    unsafe fn part(&mut self) {
        for (place, vector) in self.vectors.clone().enumerate() {
            let position = self.rows.start * self.inputs + vector * ROWS;
            let to = self.d_x.ptr(position);
            let n = ROWS.min(self.inputs - vector * ROWS);
            // SAFETY: n columns of a row of d_x that is this member's; `sums` holds the row.
            unsafe {
                let sum = Avx512::load(self.sums.add(place * ROWS));
                let mut sum = through(self.mask, sum, position);
                if self.adds {
                    sum = sum.add(load(to, n));
                }
                store(sum, to, n);
            }
        }
        self.sums = self.sums.wrapping_add(self.vectors.len() * ROWS);
        self.rows.start += 1;
    }
}

/// What follows a product with W_hh: the pointwise part of a step, for some rows of some blocks, two rows at a time, as a right
/// operand has them.
struct Units<'a, C> {
    backward: &'a Backward<'a, C>,
    step: usize,
    step_in_piece: usize,
    turn: SumsInTurn<2>,
}

impl<C: Cell> Beside for Units<'_, C> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.turn.left()
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // gates, counted alike in registers and in memory
    unsafe fn part(&mut self) {
        let Backward { cell, shape, kept, room, .. } = self.backward;
        let LayerShape { time, batch, hidden, .. } = *shape;
        let Self { step, step_in_piece, .. } = *self;
        let SumsInTurn { row: first, block, .. } = self.turn;
        let unit = block * ROWS;
        let n = ROWS.min(hidden - unit);
        let n_rows = self.turn.n_rows();
        // SAFETY: places of this member's units; `sums` holds the rows.
        unsafe {
            let zero = Avx512::splat(0.0);
            let mut d = [[zero; MOST_GATES]; 2];
            for (idx, d) in d[..n_rows].iter_mut().enumerate() {
                let row = first + idx;
                let gates = kept.gates.at(step, block, row);
                let mut found = [zero; MOST_GATES];
                for idx in 0..C::KEPT {
                    found[idx] = Avx512::load_f16(gates.add(idx * ROWS));
                }
                let before = Avx512::load_f16(kept.memory.at(step, block, row));
                let now = Avx512::load_f16(kept.memory.at(step + 1, block, row));
                let d_memory = room.d_memory.ptr((block * batch + row) * ROWS);
                let place = self.backward.d_h.ptr((step * batch + row) * hidden + unit);
                // The value that the step before will read at the same place.
                Avx512::prefetch(place.wrapping_sub(batch * hidden));
                let (mut d_h, mut d_m): (Avx512, Avx512) = (load(place, n), zero);
                if step + 1 < time {
                    let sum = Avx512::load(self.turn.of_row(idx));
                    d_h = d_h.add(through(self.backward.h.mask, sum, row * hidden + unit));
                    d_m = Avx512::load(d_memory);
                }
                let (gradients, d_before) =
                    cell.backward::<Avx512, Quick>(found, before, now, d_h, d_m);
                d_before.store(d_memory);
                *d = gradients;
            }
            let row = step_in_piece * batch + first;
            for gradient in 0..C::GRADIENTS {
                let vector = block * C::GRADIENTS + gradient;
                let rounded = Avx512::round_two(d[0][gradient], d[1][gradient]);
                let column = gradient * padded(hidden) + unit;
                rounded.store_first(room.d_rows.at(row, column));
                if n_rows == 2 {
                    rounded.store_second(room.d_rows.at(row + 1, column));
                }
                rounded.store_pairs(room.d_pairs.pair(vector, step_in_piece, first / 2));
                self.backward.gradients.add_bias(vector, d[0][gradient].add(d[1][gradient]));
            }
        }
        self.turn.advance();
    }
}

/// The first of a run of gradients.
fn first_of(run: &[usize]) -> usize {
    run.iter().copied().min().unwrap_or(0)
}
