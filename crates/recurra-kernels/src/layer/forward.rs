//! From inputs to states: the products with the input for some steps, then the steps.

use super::LayerShape;
use super::kept::Kept;
use super::product::{Rows, Tiles};
use super::sizes::{self, Steps, pieces};
use super::weights::PackedLayer;
use crate::amx::{self, DEPTH, ROWS};
use crate::recurrent::{Cell, MOST_GATES, load, store};
use crate::simd::{Avx512, Quick, Vector};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Rows whose products with the input are made before their steps: their gates stay in the second cache.
const PIECE: usize = 512;
/// Vectors of sums that a group of blocks has at most.
const MOST_VECTORS: usize = 6;
/// Rows whose sums are held at a time: 24 KiB with the widest group, half of the first cache.
const CHUNK: usize = 64;

/// Sums of some rows with a group of blocks.
#[repr(align(64))]
struct Sums([f32; CHUNK * MOST_VECTORS * ROWS]);

/// A sequence through one layer.
pub(super) struct Forward<'a, C> {
    pub cell: C,
    pub shape: LayerShape,
    pub weights: &'a PackedLayer,
    /// (G·H): what is added to W_ih·x.
    pub bias: &'a [f32],
    /// (H): what is added to the product with h in the gate that the cell names.
    pub bias_recurrent: &'a [f32],
    /// (T·B, E)
    pub x: &'a [f32],
    /// (T + 1, B, H), the first given.
    pub h: SharedSlice<'a, f32>,
    /// (B, H): the first memory, and after the sequence the last; without it the memory is h.
    pub memory: Option<SharedSlice<'a, f32>>,
    pub kept: Kept,
    /// x, rounded.
    pub x_rows: Rows,
    /// h before a step and after it, rounded: they change places, because members still read one while others write the
    /// other. Zero before the sequence.
    pub h_rows: [Rows; 2],
}

impl<C: Cell> Forward<'_, C> {
    /// One member's part.
    ///
    /// # Safety
    /// The machine has AMX and AVX-512 with `bf16`; every member calls it, and the fields hold what they say.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn member(&self, worker: &Worker<'_>) {
        let LayerShape { time, batch, hidden, .. } = self.shape;
        let tiles = Tiles::new();
        let own = sizes::own_blocks(worker, self.shape.blocks());
        // SAFETY: by this function's contract; members write apart, and read what others wrote after a barrier.
        unsafe {
            self.round_inputs(worker);
            for block in own.clone() {
                self.copy_memory(block, 0, true);
            }
            worker.barrier();
            for piece in pieces(time, batch, PIECE) {
                self.input_products(&tiles, piece.clone(), own.clone());
                for step in piece {
                    self.step(&tiles, step, own.clone());
                    if step + 1 < time {
                        worker.barrier();
                    }
                }
            }
            if self.memory.is_some() {
                for block in own {
                    self.copy_memory(block, time, false);
                }
            }
            debug_assert!(self.h.len() == (time + 1) * batch * hidden);
            amx::release();
        }
    }

    /// The member's share of x, and of the first h.
    #[inline(always)]
    unsafe fn round_inputs(&self, worker: &Worker<'_>) {
        let LayerShape { batch, inputs, hidden, .. } = self.shape;
        // SAFETY: rows inside of x and h; each is one member's.
        unsafe {
            for row in worker.share(self.shape.rows()) {
                round_row(self.x.as_ptr().add(row * inputs), inputs, self.x_rows.at(row, 0));
            }
            for row in worker.share(batch) {
                round_row(self.h.ptr(row * hidden), hidden, self.h_rows[0].at(row, 0));
            }
        }
    }

    /// The memories of a block before `step`: from where they are given (`is_given`), or to there.
    #[inline(always)]
    unsafe fn copy_memory(&self, block: usize, step: usize, is_given: bool) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let n = ROWS.min(hidden - block * ROWS);
        for row in 0..batch {
            let values = self.memory.as_ref().unwrap_or(&self.h);
            // SAFETY: the first B rows, n values of each; places of this member's block.
            unsafe {
                let outside = values.ptr(row * hidden + block * ROWS);
                let inside = self.kept.memory(step, block, row);
                if is_given {
                    load::<Avx512>(outside, n).store(inside);
                } else {
                    store(Avx512::load(inside), outside, n);
                }
            }
        }
    }

    /// W_ih·x + b of some steps, for the member's units.
    #[inline(always)]
    unsafe fn input_products(&self, tiles: &Tiles, steps: Steps, own: Range<usize>) {
        let batch = self.shape.batch;
        let panels = &self.weights.input;
        let vectors = own.start * C::GATES..own.end * C::GATES;
        let rows = steps.start * batch..steps.end * batch;
        let mut sums = Sums([0.0; _]);
        let sums = sums.0.as_mut_ptr();
        for vector in vectors.clone().step_by(2) {
            let pair = vector..(vector + 2).min(vectors.end);
            let columns = panels.columns(pair.clone());
            if pair.end < vectors.end {
                let next = pair.end..(pair.end + 2).min(vectors.end);
                tiles.fetch(panels.vectors(next.clone()), panels.bytes_of(next.len()));
            }
            for first in rows.clone().step_by(2 * ROWS) {
                let n_rows = (2 * ROWS).min(rows.end - first);
                let left = self.x_rows.at(first, 0);
                // SAFETY: rows of x, whole tiles of weights, sums for 32 rows of two vectors; places of this member's units.
                unsafe {
                    tiles.multiply(self.x_rows, left, n_rows, columns, sums);
                    for (place, vector) in pair.clone().enumerate() {
                        let (block, gate) = (vector / C::GATES, vector % C::GATES);
                        let unit = block * ROWS;
                        let n = ROWS.min(self.shape.hidden - unit);
                        let bias = self.bias[gate * self.shape.hidden + unit..].as_ptr();
                        let bias: Avx512 = load(bias, n);
                        let (mut step, mut row) = (first / batch, first % batch);
                        for idx in 0..n_rows {
                            let sum = Avx512::load(sums.add((idx * pair.len() + place) * ROWS));
                            let to = self.kept.gates(step, block, row).add(gate * ROWS);
                            sum.add(bias).store_f16(to);
                            row += 1;
                            if row == batch {
                                (step, row) = (step + 1, 0);
                            }
                        }
                    }
                }
            }
        }
    }

    /// One step of the member's units.
    #[inline(always)]
    unsafe fn step(&self, tiles: &Tiles, step: usize, own: Range<usize>) {
        let group = if C::GATES == 3 { 2 } else { 4 / C::GATES };
        let h_rows = self.h_rows[step % 2];
        let mut sums = Sums([0.0; _]);
        let sums = sums.0.as_mut_ptr();
        for blocks in sizes::back_and_forth(own, group, step) {
            let vectors = blocks.start * C::GATES..blocks.end * C::GATES;
            let columns = self.weights.recurrent.columns(vectors.clone());
            let width = vectors.len() * ROWS;
            for first in (0..self.shape.batch).step_by(CHUNK) {
                let rows = first..(first + CHUNK).min(self.shape.batch);
                let left = h_rows.at(first, 0);
                // SAFETY: as in `input_products`.
                unsafe {
                    tiles.multiply(h_rows, left, rows.len(), columns, sums);
                    for (place, block) in blocks.clone().enumerate() {
                        let sums = sums.add(place * C::GATES * ROWS);
                        self.finish(step, block, rows.clone(), sums, width);
                    }
                }
            }
        }
    }

    /// The pointwise part of a step, for some rows of a block.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // gates, counted alike in registers and in memory
    unsafe fn finish(
        &self,
        step: usize,
        block: usize,
        rows: Range<usize>,
        mut sums: *const f32,
        width: usize,
    ) {
        let LayerShape { batch, hidden, .. } = self.shape;
        let unit = block * ROWS;
        let n = ROWS.min(hidden - unit);
        let after = self.h_rows[(step + 1) % 2];
        // SAFETY: places of this member's units; `sums` holds the rows.
        unsafe {
            let zero = Avx512::splat(0.0);
            let bias: Avx512 = match C::BIASED {
                Some(_) => load(self.bias_recurrent[unit..].as_ptr(), n),
                None => zero,
            };
            for row in rows {
                let gates = self.kept.gates(step, block, row);
                let (mut a, mut u) = ([zero; MOST_GATES], [zero; MOST_GATES]);
                for gate in 0..C::GATES {
                    a[gate] = Avx512::load_f16(gates.add(gate * ROWS));
                    u[gate] = Avx512::load(sums.add(gate * ROWS));
                }
                if let Some(gate) = C::BIASED {
                    u[gate] = u[gate].add(bias);
                }
                let before = Avx512::load(self.kept.memory(step, block, row));
                let (kept, memory, h) = self.cell.forward::<Avx512, Quick>(a, u, before);
                for idx in 0..C::KEPT {
                    kept[idx].store_f16(gates.add(idx * ROWS));
                }
                memory.store(self.kept.memory(step + 1, block, row));
                let to = self.h.ptr(((step + 1) * batch + row) * hidden + unit);
                store(h, to, n);
                // The next block's, in a row that lies too far from the others for the hardware to see it coming.
                Avx512::prefetch(to.wrapping_add(ROWS));
                h.store_bf16(after.at(row, unit), ROWS);
                sums = sums.add(width);
            }
        }
    }
}

/// `n` values as a row of `bf16`, zero to the end of its last tile.
#[inline(always)]
unsafe fn round_row(from: *const f32, n: usize, to: *mut u16) {
    for k in (0..n.next_multiple_of(DEPTH)).step_by(ROWS) {
        let rest = n.saturating_sub(k).min(ROWS);
        // SAFETY: n values are there, and a row has whole tiles.
        unsafe { load::<Avx512>(from.wrapping_add(k), rest).store_bf16(to.add(k), ROWS) };
    }
}
