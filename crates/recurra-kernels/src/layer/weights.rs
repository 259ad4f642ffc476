//! The weights of a layer, rounded and laid out as tiles.

use super::product::Columns;
use super::sizes::{blocks, padded};
use super::{CellKind, CellSizes, Direction, LayerShape};
use crate::matmul::buffer::Buffer;
use crate::tiles::layout::{self, Source};
use crate::tiles::{DEPTH, ROWS, TILE};
use crate::update::{Pass, Slabs, Update};
use crate::{Cpu, SharedSlice};
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
        Self::lay_out_all(layers, cpu, [weight_ih, weight_hh].map(Values::Given));
    }

    /// One step of an optimizer on both weights, and what becomes of them laid out while it is in the second cache: an update
    /// and [`repack_all`](Self::repack_all) in one pass. Bit for bit what the two leave.
    ///
    /// # Panics
    /// As they do, and when there is no layer.
    #[track_caller]
    pub fn update_all(
        layers: &mut [&mut Self],
        cpu: &Cpu,
        pass: impl Into<Pass>,
        [weight_ih, weight_hh]: [Slabs<'_, f32>; 2],
    ) {
        assert!(!layers.is_empty(), "an update for the layout of no layer");
        let pass = pass.into();
        let updates = [weight_ih, weight_hh].map(|slabs| Update::new(cpu, pass, slabs));
        Self::lay_out_all(layers, cpu, updates.map(Values::Updated));
    }

    #[track_caller]
    fn lay_out_all(layers: &mut [&mut Self], cpu: &Cpu, [weight_ih, weight_hh]: [Values<'_>; 2]) {
        assert!(super::is_available(cpu), "tiles on `{}`", cpu.isa());
        let Some(&&mut Self { cell, inputs, hidden, .. }) = layers.first() else { return };
        let CellSizes { gates, of_input, of_recurrent, .. } = cell.sizes();
        assert!(
            layers.iter().all(|of| (of.cell, of.inputs, of.hidden) == (cell, inputs, hidden)),
            "one weight for layers of different shapes"
        );
        let rows = gates * hidden;
        assert_eq!(weight_ih.len(), rows * inputs, "W_ih of ({gates}·{hidden}, {inputs})");
        assert_eq!(weight_hh.len(), rows * hidden, "W_hh of ({gates}·{hidden}, {hidden})");
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

/// The values of a weight.
#[derive(Debug)]
enum Values<'a> {
    /// As they are.
    Given(&'a [f32]),
    /// As they will be once the step of an optimizer is made for them.
    Updated(Update<'a, f32>),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Values::Given(values) => values.len(),
            Values::Updated(update) => update.len(),
        }
    }

    /// Makes them what is to be laid out.
    ///
    /// # Safety
    /// Nobody else has these values.
    unsafe fn settle(&self, range: Range<usize>) {
        if let Values::Updated(update) = self {
            // SAFETY: by this function's contract.
            unsafe { update.make(range) };
        }
    }

    /// Asks for what will be settled next.
    fn fetch(&self, range: Range<usize>) {
        if let Values::Updated(update) = self {
            update.fetch(range);
        }
    }

    fn at(&self, idx: usize) -> *const f32 {
        match self {
            Values::Given(values) => values[idx..].as_ptr(),
            Values::Updated(update) => update.value(idx),
        }
    }
}

/// A weight (G·H, `cols`), and which gradient each gate has.
#[derive(Debug)]
struct Weight<'a> {
    values: Values<'a>,
    gates: usize,
    hidden: usize,
    cols: usize,
    gradients: &'a [usize],
}

impl Weight<'_> {
    /// Fills panels of each direction, 32 units of a gate and all columns at a time: where these are updated first, that leaves
    /// them in the second cache. While a member lays them out it asks for the next.
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
        cpu.pool().run(|worker| {
            let own = worker.share(gates * padded(hidden) / DEPTH);
            for idx in own.clone() {
                let (gate, unit) = self.block(idx);
                // SAFETY: each member has its own rows.
                unsafe { self.values.settle(self.values_of(idx)) };
                let next = if idx + 1 < own.end { self.values_of(idx + 1) } else { 0..0 };
                for col in (0..cols).step_by(DEPTH) {
                    let ahead =
                        [col, col + DEPTH].map(|col| next.end.min(next.start + DEPTH * col));
                    self.values.fetch(ahead[0]..ahead[1]);
                    for (direction, panels) in &panels {
                        // SAFETY: each block of rows has its own tiles; this runs with `bf16` only.
                        unsafe {
                            match direction {
                                Direction::Forward => self.forward(panels, gate, unit, col),
                                Direction::Backward => self.backward(panels, gate, unit, col),
                            }
                        }
                    }
                }
            }
        });
    }

    /// The gate and the first unit of a block of 32 rows: all gates of some units follow each other, as their tiles do.
    fn block(&self, idx: usize) -> (usize, usize) {
        (idx % self.gates, idx / self.gates * DEPTH)
    }

    /// The values of a block.
    fn values_of(&self, idx: usize) -> Range<usize> {
        let (gate, unit) = self.block(idx);
        let row = gate * self.hidden + unit;
        row * self.cols..(row + DEPTH.min(self.hidden - unit)) * self.cols
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
            unsafe { layout::tile_alone(layout::Side::Right, &source, panels.at(col / ROWS, k)) };
        }
    }

    fn first(&self, gate: usize, unit: usize, col: usize) -> *const f32 {
        self.values.at((gate * self.hidden + unit) * self.cols + col)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{self, Adam, Dynamic, Rule, Sgd};
    use crate::{Isa, Precision};

    const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

    /// An instruction set that multiplies tiles, which lie in one way for all.
    fn isa() -> Option<Isa> {
        Isa::best(Some(Precision::Bf16))
    }

    /// The tiles of both weights.
    fn tiles(layer: &PackedLayer) -> [Vec<u32>; 2] {
        [&layer.input, &layer.recurrent].map(|panels| {
            let tiles = panels.tiles.first(panels.n_vectors * panels.n_k * TILE);
            tiles.iter().map(|unit| unit.to_bits()).collect()
        })
    }

    #[test]
    fn other_weights_laid_out_for_both_directions_at_once_are_as_for_each() {
        let Some(isa) = isa() else { return };
        let cpu = Cpu::with_isa(isa, 2);
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
            let [mut forward, mut backward] = DIRECTIONS.map(|direction| pack(&old, direction));
            PackedLayer::repack_all(&mut [&mut forward, &mut backward], &cpu, &new[0], &new[1]);
            for (layer, direction) in [forward, backward].into_iter().zip(DIRECTIONS) {
                assert!(tiles(&layer) == tiles(&pack(&new, direction)), "{cell:?} {direction:?}");
            }
        }
    }

    /// A weight with its gradient, two moments and its average.
    #[derive(Clone)]
    struct Learned([Vec<f32>; 5]);

    impl Learned {
        fn new(n: usize) -> Self {
            let values = |salt: u32| {
                let hash = |idx: u32| (idx ^ salt).wrapping_mul(2_654_435_761) >> 8;
                (0..n as u32).map(|idx| hash(idx) as f32 / 8e6 - 1.0).collect::<Vec<_>>()
            };
            Self([1, 2, 3, 4, 5].map(|salt| {
                values(salt).iter().map(|x| if salt == 4 { x.abs() } else { *x }).collect()
            }))
        }

        fn bits(&self) -> [Vec<u32>; 5] {
            self.0.each_ref().map(|slab| slab.iter().map(|x| x.to_bits()).collect())
        }

        fn slabs(&mut self, pass: Pass) -> Slabs<'_, f32> {
            let [value, gradient, m, v, average] = self.0.each_mut().map(Vec::as_mut_slice);
            let kept = |is_kept: bool, slab| if is_kept { slab } else { &mut [][..] };
            let n = pass.rule.n_moments();
            let average = kept(pass.average.is_some(), average);
            Slabs { value, gradient, moments: [kept(n > 0, m), kept(n > 1, v)], average }
        }
    }

    #[test]
    fn an_update_that_lays_out_leaves_the_bits_of_an_update_and_a_layout() {
        let Some(isa) = isa() else { return };
        let sgd = Sgd { lr: 0.3, momentum: 0.0, weight_decay: 0.0, scale: 1.0 };
        let (beta1, beta2, epsilon) = (0.9, 0.99, 1e-8);
        let (weight_decay, is_decoupled) = (0.1, true);
        let adamw = Adam {
            lr: 0.01,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            is_decoupled,
            step: 3,
            scale: 1.0,
        };
        let passes = [
            (Rule::Sgd(sgd), None),
            (Rule::Sgd(sgd), Some(0.25)),
            (Rule::Sgd(Sgd { scale: 0.125, ..sgd }), None), // a clip that bites
            (Rule::Sgd(Sgd { momentum: 0.9, weight_decay: 0.05, scale: 0.3, ..sgd }), None),
            (Rule::Adam(adamw), None),
            (Rule::Adam(Adam { scale: 0.7, ..adamw }), Some(0.1)),
            (Rule::Adam(Adam { beta1: 0.0, is_decoupled: false, ..adamw }), Some(1.0)),
            (Rule::Dynamic(Dynamic { lr: 0.01, decay: 1.5, epsilon: 0.1 }), None),
        ];
        let passes = passes.map(|(rule, average)| Pass { rule, average });
        let sizes = [(1, 1), (15, 16), (16, 15), (33, 17), (31, 32), (65, 47), (64, 64), (130, 97)];
        let cells = [CellKind::Lstm, CellKind::Gru, CellKind::Rnn(crate::rnn::Activation::Tanh)];
        for (idx, (inputs, hidden)) in sizes.into_iter().enumerate() {
            let cell = cells[idx % cells.len()];
            let rows = cell.sizes().gates * hidden;
            let old = [inputs, hidden].map(|cols| Learned::new(rows * cols));
            for pass in passes {
                let one = Cpu::with_isa(isa, 1);
                let mut expected = old.clone();
                expected.iter_mut().for_each(|weight| update::step(&one, pass, weight.slabs(pass)));
                let pack = |[ih, hh]: &[Learned; 2], direction| {
                    PackedLayer::pack(&one, cell, direction, &ih.0[0], &hh.0[0], hidden)
                };
                for threads in 1..=3 {
                    let mut found = old.clone();
                    let mut layers = DIRECTIONS.map(|direction| pack(&old, direction));
                    PackedLayer::update_all(
                        &mut layers.each_mut(),
                        &Cpu::with_isa(isa, threads),
                        pass,
                        found.each_mut().map(|weight| weight.slabs(pass)),
                    );
                    let what =
                        format!("{cell:?} ({inputs}, {hidden}), {pass:?}, {threads} threads");
                    let bits = |weights: &[Learned; 2]| weights.each_ref().map(Learned::bits);
                    assert!(bits(&found) == bits(&expected), "{what}");
                    for (layer, direction) in layers.iter().zip(DIRECTIONS) {
                        let expected = tiles(&pack(&expected, direction));
                        assert!(tiles(layer) == expected, "{what}, {direction:?}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "W_hh of (4·2, 2)")]
    fn an_update_of_another_shape_is_refused() {
        let Some(isa) = isa() else { panic!("W_hh of (4·2, 2): not on this machine") };
        let cpu = Cpu::with_isa(isa, 1);
        let mut layer =
            PackedLayer::pack(&cpu, CellKind::Lstm, Direction::Forward, &[0.0; 8], &[0.0; 16], 2);
        let sgd = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, scale: 1.0 };
        let pass = Pass::from(Rule::Sgd(sgd));
        let (mut ih, mut hh) = (Learned::new(8), Learned::new(17));
        PackedLayer::update_all(&mut [&mut layer], &cpu, pass, [ih.slabs(pass), hh.slabs(pass)]);
    }
}
