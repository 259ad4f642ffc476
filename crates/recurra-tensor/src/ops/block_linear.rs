//! A product with a matrix of blocks on its diagonal.

use recurra_kernels::Element;
use recurra_kernels::matmul::{Matrix, Start, matmul};
use recurra_kernels::taps::{self, Taps};

use super::Op;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

/// Blocks up to this size are sums of shifted copies of x; larger ones are products.
const SMALL: usize = 8;

#[derive(Debug)]
pub(crate) struct BlockLinear {
    x: Var,
    weight: ParameterId,
    blocks: Blocks,
}

/// How many blocks, and their sizes.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    count: usize,
    outputs: usize,
    inputs: usize,
}

impl Blocks {
    /// Whether they are sums of shifted copies of x.
    fn are_small(self) -> bool {
        self.outputs == self.inputs && self.inputs <= SMALL
    }

    /// Values that the product with `rows` rows works in: the coefficients of all copies, or what one block makes.
    fn scratch_len(self, rows: usize, is_turned: bool) -> usize {
        match () {
            () if self.are_small() => (2 * self.inputs - 1) * self.count * self.inputs,
            () if is_turned => rows * self.inputs,
            () => rows * self.outputs,
        }
    }

    /// How far each copy is shifted: what a row of a block reads lies at most so far before or behind it.
    fn offsets(self) -> Vec<isize> {
        (1 - self.inputs as isize..self.inputs as isize).collect()
    }

    /// For each weight, where it stands among the coefficients of all copies (2·I − 1, C): (weight, coefficient).
    ///
    /// `is_turned`: for the products with the transpose of each block.
    fn places(self, is_turned: bool) -> impl Iterator<Item = (usize, usize)> {
        let (size, cols) = (self.inputs, self.count * self.inputs);
        (0..cols * size).map(move |weight| {
            let (block, row, col) = (weight / (size * size), weight / size % size, weight % size);
            let (to, from) = if is_turned { (col, row) } else { (row, col) };
            (weight, (from + size - 1 - to) * cols + block * size + to)
        })
    }
}

impl<E: Element> Tape<'_, E> {
    /// y = x·Wᵀ for each block of columns of x and a block of W: what one block of x says, the others do not hear. With blocks
    /// of one value a gain.
    ///
    /// # Shapes
    /// `x` (N, G·I), `weight` (G, O, I) → (N, G·O).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn block_linear(&mut self, x: Var, weight: ParameterId) -> Var {
        let (rows, cols) = self.shape(x);
        let &[count, outputs, inputs] = self.values.shape(weight) else {
            panic!("a weight of shape {:?}; (G, O, I) expected", self.values.shape(weight));
        };
        assert_eq!(cols, count * inputs, "x of {cols} columns for {count} blocks of {inputs}");
        let blocks = Blocks { count, outputs, inputs };
        let mut out = self.workspace.arena.take(rows * count * outputs);
        let mut scratch = self.workspace.arena.take(blocks.scratch_len(rows, false));
        self.block_products(blocks, weight, false, self.value(x), &mut scratch, &mut out);
        self.workspace.arena.give(scratch);
        let op = Op::BlockLinear(BlockLinear { x, weight, blocks });
        self.push(op, count * outputs, out, 0, true)
    }

    /// out = x·Wᵀ, or x·W where `is_turned`.
    fn block_products(
        &self,
        blocks: Blocks,
        weight: ParameterId,
        is_turned: bool,
        x: &[E],
        scratch: &mut [E],
        out: &mut [E],
    ) {
        if blocks.are_small() {
            self.small_blocks(blocks, weight, is_turned, x, scratch, out);
        } else {
            self.large_blocks(blocks, weight, is_turned, x, scratch, out);
        }
    }

    /// By sums of shifted copies of x.
    fn small_blocks(
        &self,
        blocks: Blocks,
        weight: ParameterId,
        is_turned: bool,
        x: &[E],
        coefficients: &mut [E],
        out: &mut [E],
    ) {
        let cols = blocks.count * blocks.inputs;
        let offsets = blocks.offsets();
        coefficients.fill(E::ZERO);
        for (place, coefficient) in blocks.places(is_turned) {
            coefficients[coefficient] = self.values.of(weight)[place];
        }
        let taps = Taps { coefficients, offsets: &offsets, cols };
        taps::sum(self.cpu, taps, None, x, out);
    }

    /// By a product for each block.
    fn large_blocks(
        &self,
        blocks: Blocks,
        weight: ParameterId,
        is_turned: bool,
        x: &[E],
        part: &mut [E],
        out: &mut [E],
    ) {
        let Blocks { count, outputs, inputs } = blocks;
        let (from, to) = if is_turned { (outputs, inputs) } else { (inputs, outputs) };
        let rows = x.len() / (count * from);
        let weights = self.values.of(weight).chunks_exact(outputs * inputs);
        for (block, weight) in weights.enumerate() {
            let x = Matrix::with_strides(&x[block * from..], rows, from, count * from);
            let weight = Matrix::new(weight, outputs, inputs);
            let weight = if is_turned { weight } else { weight.transposed() };
            if count == 1 {
                return matmul(self.cpu, x, weight, Start::Zero, out);
            }
            matmul(self.cpu, x, weight, Start::Zero, part);
            for (out, part) in out.chunks_exact_mut(count * to).zip(part.chunks_exact(to)) {
                out[block * to..][..to].copy_from_slice(part);
            }
        }
    }
}

impl BlockLinear {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { x, weight, blocks } = self;
        let Blocks { count, outputs, inputs } = blocks;
        let (rows, _) = tape.shape(out);
        let d_y = tape.take_gradient(out);
        let value = tape.workspace.nodes[x.0].value();
        let gradients = tape.gradients.as_mut().expect("a training tape").of(weight);
        if blocks.are_small() {
            let (offsets, cols) = (blocks.offsets(), count * inputs);
            let mut d = tape.workspace.arena.take_zeros(offsets.len() * cols);
            taps::gradient(tape.cpu, &offsets, cols, value, &d_y, &mut d);
            blocks.places(false).for_each(|(place, from)| gradients[place] += d[from]);
            tape.workspace.arena.give(d);
        } else {
            for (block, d_weight) in gradients.chunks_exact_mut(outputs * inputs).enumerate() {
                let d = &d_y[(block * outputs).min(d_y.len())..];
                let d = Matrix::with_strides(d, rows, outputs, count * outputs);
                let x = &value[(block * inputs).min(value.len())..];
                let x = Matrix::with_strides(x, rows, inputs, count * inputs);
                matmul(tape.cpu, d.transposed(), x, Start::Sum, d_weight);
            }
        }
        if tape.needs_gradient(x) {
            let mut d_x = tape.workspace.arena.take(rows * count * inputs);
            let mut scratch = tape.workspace.arena.take(blocks.scratch_len(rows, true));
            tape.block_products(blocks, weight, true, &d_y, &mut scratch, &mut d_x);
            tape.add_gradient(x, d_x);
            tape.workspace.arena.give(scratch);
        }
        tape.workspace.arena.give(d_y);
    }
}
