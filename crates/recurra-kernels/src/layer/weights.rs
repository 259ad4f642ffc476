//! The weights of a layer, rounded and laid out as tiles.

use super::product::Columns;
use super::sizes::{blocks, padded};
use super::{CellKind, CellSizes, Direction, LayerShape};
use crate::amx::layout::{self, Source};
use crate::amx::{DEPTH, ROWS, TILE};
use crate::matmul::buffer::Buffer;
use crate::{Cpu, Isa, SharedSlice};
use std::ops::Range;

/// W_ih and W_hh of one layer, laid out for one direction.
#[derive(Debug)]
pub struct PackedLayer {
    cell: CellKind,
    direction: Direction,
    inputs: usize,
    hidden: usize,
    pub(super) input: Panels,
    pub(super) recurrent: Panels,
}

impl PackedLayer {
    /// Lays out `weight_ih` (G·H, E) and `weight_hh` (G·H, H), the gates one after the other as PyTorch has them.
    ///
    /// # Panics
    /// When the sizes disagree or the instruction set is another than AMX.
    #[track_caller]
    pub fn pack(
        cpu: &Cpu,
        cell: CellKind,
        direction: Direction,
        weight_ih: &[f32],
        weight_hh: &[f32],
        hidden: usize,
    ) -> Self {
        let inputs = weight_ih.len() / (cell.sizes().gates * hidden);
        let empty = || Panels::new(0, 0);
        let (input, recurrent) = (empty(), empty());
        let mut this = Self { cell, direction, inputs, hidden, input, recurrent };
        this.repack(cpu, weight_ih, weight_hh);
        this
    }

    /// Lays out other weights of the same shape in the same memory.
    ///
    /// # Panics
    /// As [`pack`](Self::pack).
    #[track_caller]
    pub fn repack(&mut self, cpu: &Cpu, weight_ih: &[f32], weight_hh: &[f32]) {
        assert!(cpu.isa() == Isa::Amx, "tiles on `{}`", cpu.isa());
        let Self { cell, direction, inputs, hidden, .. } = *self;
        let gates = cell.sizes().gates;
        assert_eq!(
            weight_ih.len(),
            gates * hidden * inputs,
            "W_ih of ({gates}·{hidden}, {inputs})"
        );
        assert_eq!(
            weight_hh.len(),
            gates * hidden * hidden,
            "W_hh of ({gates}·{hidden}, {hidden})"
        );
        let CellSizes { of_input, of_recurrent, .. } = cell.sizes();
        for (panels, weight, cols, gradients) in [
            (&mut self.input, weight_ih, inputs, of_input),
            (&mut self.recurrent, weight_hh, hidden, of_recurrent),
        ] {
            let weight = Weight { values: weight, gates, hidden, cols };
            match direction {
                Direction::Forward => {
                    *panels = Panels::reuse(panels, blocks(hidden) * gates, padded(cols) / DEPTH);
                    panels.fill(cpu, |vector, k| weight.forward(vector, k));
                }
                Direction::Backward => {
                    let depth = gates * padded(hidden);
                    *panels = Panels::reuse(panels, blocks(cols), depth / DEPTH);
                    panels.fill(cpu, |vector, k| weight.backward(gradients, vector, k));
                }
            }
        }
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.input.bytes() + self.recurrent.bytes()
    }

    /// Panics unless it was laid out for this cell, shape and direction.
    #[track_caller]
    pub(super) fn check(&self, cell: CellKind, shape: LayerShape, direction: Direction) {
        assert!(
            (self.cell, self.inputs, self.hidden, self.direction)
                == (cell, shape.inputs, shape.hidden, direction),
            "weights of {:?} ({}, {}) laid out {:?} and used as {cell:?} {shape:?} {direction:?}",
            self.cell,
            self.inputs,
            self.hidden,
            self.direction
        );
    }
}

/// A weight (G·H, `cols`).
#[derive(Clone, Copy)]
struct Weight<'a> {
    values: &'a [f32],
    gates: usize,
    hidden: usize,
    cols: usize,
}

impl Weight<'_> {
    /// Sixteen units' columns of one gate, 32 values from 32·`k` on: columns go by blocks of units, then by gates.
    fn forward(&self, vector: usize, k: usize) -> Source {
        let (unit, gate) = (vector / self.gates * ROWS, vector % self.gates);
        let first = k * DEPTH;
        Source {
            first: self.values[(gate * self.hidden + unit) * self.cols + first..].as_ptr(),
            across: self.cols,
            along: 1,
            n: ROWS.min(self.hidden - unit),
            depth: DEPTH.min(self.cols - first),
        }
    }

    /// Sixteen columns, and 32 units of one gate: the depth goes by gradients, each padded to whole tiles.
    fn backward(&self, gradients: &[usize], vector: usize, k: usize) -> Source {
        let per_gradient = padded(self.hidden) / DEPTH;
        let least = gradients.iter().min().expect("a cell has gates");
        let gradient = least + k / per_gradient;
        let gate = gradients.iter().position(|&of| of == gradient).expect("a run of neighbours");
        let (col, unit) = (vector * ROWS, k % per_gradient * DEPTH);
        Source {
            first: self.values[(gate * self.hidden + unit) * self.cols + col..].as_ptr(),
            across: 1,
            along: self.cols,
            n: ROWS.min(self.cols - col),
            depth: DEPTH.min(self.hidden - unit),
        }
    }
}

/// The columns of a right operand, sixteen a *vector*: for two vectors at a time their tiles of each 32 k in turn; one that
/// is left over stands alone.
#[derive(Debug)]
pub(super) struct Panels {
    n_vectors: usize,
    n_k: usize,
    tiles: Buffer<f32>,
}

impl Panels {
    fn new(n_vectors: usize, n_k: usize) -> Self {
        Self { n_vectors, n_k, tiles: Buffer::new() }
    }

    fn reuse(old: &mut Self, n_vectors: usize, n_k: usize) -> Self {
        Self { n_vectors, n_k, tiles: std::mem::replace(&mut old.tiles, Buffer::new()) }
    }

    /// Lays out the tile of each vector and step of k.
    fn fill(&mut self, cpu: &Cpu, source: impl Fn(usize, usize) -> Source + Sync) {
        let Self { n_vectors, n_k, .. } = *self;
        let tiles = SharedSlice::new(self.tiles.take(n_vectors * n_k * TILE));
        cpu.pool().for_each(n_vectors.div_ceil(2), |pair| {
            let vectors = 2 * pair..(2 * pair + 2).min(n_vectors);
            for vector in vectors.clone() {
                for k in 0..n_k {
                    let place = vectors.start * n_k + k * vectors.len() + vector % 2;
                    // SAFETY: one pair a task; `ptr` checks that the tile begins inside, and tiles are whole. The sources lie
                    // inside of a weight by their own slicing, and this runs with AMX only.
                    unsafe {
                        let to = tiles.ptr(place * TILE);
                        layout::tile(layout::Side::Right, &source(vector, k), to);
                    }
                }
            }
        });
    }

    /// Some vectors as columns of a product, the first of them even.
    pub(super) fn columns(&self, vectors: Range<usize>) -> Columns {
        Columns { n_vectors: vectors.len(), n_k: self.n_k, tiles: self.vectors(vectors) }
    }

    /// The tiles of some vectors, the first of them even.
    pub(super) fn vectors(&self, vectors: Range<usize>) -> *const f32 {
        debug_assert!(vectors.start.is_multiple_of(2) && vectors.end <= self.n_vectors);
        self.tiles.first(self.n_vectors * self.n_k * TILE)[vectors.start * self.n_k * TILE..]
            .as_ptr()
    }

    /// Bytes of so many vectors.
    pub(super) fn bytes_of(&self, n_vectors: usize) -> usize {
        n_vectors * self.n_k * TILE * size_of::<f32>()
    }

    fn bytes(&self) -> usize {
        self.bytes_of(self.n_vectors)
    }
}
