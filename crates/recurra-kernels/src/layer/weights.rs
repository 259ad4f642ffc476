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
        let (input, recurrent) = (Panels::new(), Panels::new());
        let mut this = Self { cell, direction, inputs, hidden, input, recurrent };
        Self::repack_all(&mut [&mut this], cpu, weight_ih, weight_hh);
        this
    }

    /// Lays out other weights of the same shape in the same memory, for several directions at once: they are read once.
    ///
    /// # Panics
    /// As [`pack`](Self::pack), or when the layers are of different shapes.
    #[track_caller]
    pub fn repack_all(layers: &mut [&mut Self], cpu: &Cpu, weight_ih: &[f32], weight_hh: &[f32]) {
        assert!(cpu.isa() == Isa::Amx, "tiles on `{}`", cpu.isa());
        let Some(&&mut Self { cell, inputs, hidden, .. }) = layers.first() else { return };
        let gates = cell.sizes().gates;
        assert!(
            layers.iter().all(|of| (of.cell, of.inputs, of.hidden) == (cell, inputs, hidden)),
            "one weight for layers of different shapes"
        );
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
        let input = Weight { values: weight_ih, gates, hidden, cols: inputs, gradients: of_input };
        input.lay_out(cpu, layers.iter_mut().map(|of| (of.direction, &mut of.input)));
        let recurrent =
            Weight { values: weight_hh, gates, hidden, cols: hidden, gradients: of_recurrent };
        recurrent.lay_out(cpu, layers.iter_mut().map(|of| (of.direction, &mut of.recurrent)));
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

/// A weight (G·H, `cols`), and which gradient each gate has.
#[derive(Clone, Copy)]
struct Weight<'a> {
    values: &'a [f32],
    gates: usize,
    hidden: usize,
    cols: usize,
    gradients: &'a [usize],
}

impl Weight<'_> {
    /// Fills panels of each direction, 32 units of a gate and all columns a task.
    fn lay_out<'p>(&self, cpu: &Cpu, panels: impl Iterator<Item = (Direction, &'p mut Panels)>) {
        let Self { gates, hidden, cols, .. } = *self;
        let panels: Vec<_> = panels
            .map(|(direction, panels)| {
                let (n_vectors, n_k) = match direction {
                    Direction::Forward => (blocks(hidden) * gates, padded(cols) / DEPTH),
                    Direction::Backward => (blocks(cols), gates * padded(hidden) / DEPTH),
                };
                (direction, panels.shaped(n_vectors, n_k))
            })
            .collect();
        cpu.pool().for_each(gates * padded(hidden) / DEPTH, |task| {
            let (gate, unit) = (task % gates, task / gates * DEPTH);
            for col in (0..cols).step_by(DEPTH) {
                for (direction, panels) in &panels {
                    // SAFETY: each task has its own tiles; this runs with AMX only.
                    unsafe {
                        match direction {
                            Direction::Forward => self.forward(panels, gate, unit, col),
                            Direction::Backward => self.backward(panels, gate, unit, col),
                        }
                    }
                }
            }
        });
    }

    /// The tiles of 32 units and 32 columns for x·Wᵀ: vectors go by blocks of units, then by gates.
    ///
    /// # Safety
    /// The machine has AVX-512 with `bf16`; these tiles are the caller's.
    unsafe fn forward(&self, panels: &SharedPanels<'_>, gate: usize, unit: usize, col: usize) {
        for unit in (unit..self.hidden.min(unit + DEPTH)).step_by(ROWS) {
            let source = Source {
                first: self.first(gate, unit, col),
                across: self.cols,
                along: 1,
                n: ROWS.min(self.hidden - unit),
                depth: DEPTH.min(self.cols - col),
            };
            let to = panels.at(unit / ROWS * self.gates + gate, col / DEPTH);
            // SAFETY: by this function's contract; the source lies inside of the weight.
            unsafe { layout::tile(layout::Side::Right, &source, to) };
        }
    }

    /// The tiles of 32 units and 32 columns for d·W: the depth goes by gradients, each padded to whole tiles.
    ///
    /// # Safety
    /// As [`forward`](Self::forward).
    unsafe fn backward(&self, panels: &SharedPanels<'_>, gate: usize, unit: usize, col: usize) {
        let least = self.gradients.iter().min().expect("a cell has gates");
        let k = (self.gradients[gate] - least) * padded(self.hidden) / DEPTH + unit / DEPTH;
        for col in (col..self.cols.min(col + DEPTH)).step_by(ROWS) {
            let source = Source {
                first: self.first(gate, unit, col),
                across: 1,
                along: self.cols,
                n: ROWS.min(self.cols - col),
                depth: DEPTH.min(self.hidden - unit),
            };
            // SAFETY: by this function's contract; the source lies inside of the weight.
            unsafe { layout::tile(layout::Side::Right, &source, panels.at(col / ROWS, k)) };
        }
    }

    fn first(&self, gate: usize, unit: usize, col: usize) -> *const f32 {
        self.values[(gate * self.hidden + unit) * self.cols + col..].as_ptr()
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

/// Panels that a team fills.
struct SharedPanels<'a> {
    n_vectors: usize,
    n_k: usize,
    tiles: SharedSlice<'a, f32>,
}

impl SharedPanels<'_> {
    fn at(&self, vector: usize, k: usize) -> *mut f32 {
        let pair = vector / 2 * 2;
        let width = 2.min(self.n_vectors - pair);
        self.tiles.ptr((pair * self.n_k + k * width + vector % 2) * TILE)
    }
}

impl Panels {
    fn new() -> Self {
        Self { n_vectors: 0, n_k: 0, tiles: Buffer::new() }
    }

    fn shaped(&mut self, n_vectors: usize, n_k: usize) -> SharedPanels<'_> {
        (self.n_vectors, self.n_k) = (n_vectors, n_k);
        let tiles = SharedSlice::new(self.tiles.take(n_vectors * n_k * TILE));
        SharedPanels { n_vectors, n_k, tiles }
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
    }}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_laid_out_for_both_directions_at_once_are_as_for_each() {
        if !Isa::available().contains(&Isa::Amx) {
            return;
        }
        let cpu = Cpu::with_isa(Isa::Amx, 2);
        for (cell, inputs, hidden) in
            [(CellKind::Lstm, 1, 1), (CellKind::Gru, 33, 17), (CellKind::Lstm, 65, 47)]
        {
            let rows = cell.sizes().gates * hidden;
            let values = |n: usize, by: f32| (0..n).map(|idx| idx as f32 * by).collect::<Vec<_>>();
            let weights = |by| [values(rows * inputs, by), values(rows * hidden, -by)];
            let pack = |[ih, hh]: &[Vec<f32>; 2], direction| {
                PackedLayer::pack(&cpu, cell, direction, ih, hh, hidden)
            };
            let (old, new) = (weights(0.5), weights(0.25));
            let directions = [Direction::Forward, Direction::Backward];
            let [mut forward, mut backward] = directions.map(|direction| pack(&old, direction));
            PackedLayer::repack_all(&mut [&mut forward, &mut backward], &cpu, &new[0], &new[1]);
            for (layer, direction) in [forward, backward].into_iter().zip(directions) {
                let expected = pack(&new, direction);
                let tiles = |panels: &Panels| {
                    let tiles = panels.tiles.first(panels.n_vectors * panels.n_k * TILE);
                    tiles.iter().map(|unit| unit.to_bits()).collect::<Vec<_>>()
                };
                assert!(tiles(&layer.input) == tiles(&expected.input), "{cell:?} {direction:?}");
                assert!(tiles(&layer.recurrent) == tiles(&expected.recurrent), "{cell:?}");
            }
        }
    }
}
