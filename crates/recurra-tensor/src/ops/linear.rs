//! An affine map of every row.

use std::ops::Range;

use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start, matmul, matmul_packed};
use recurra_kernels::{Cpu, Element};

use super::Op;
use crate::parameters::{ParameterId, Parameters};
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Linear {
    x: Var,
    weight: ParameterId,
    bias: Option<ParameterId>,
}

impl<E: Element> Tape<'_, E> {
    /// y = x·Wᵀ + b.
    ///
    /// # Shapes
    /// `x` (N, I), `weight` (O, I), `bias` (O) → (N, O).
    #[track_caller]
    pub fn linear(&mut self, x: Var, weight: ParameterId, bias: Option<ParameterId>) -> Var {
        let (outputs, _) = self.values.matrix_shape(weight);
        let (rows, _) = self.shape(x);
        let values = self.values;
        let start = bias.map_or(Start::Zero, |bias| Start::Bias(values.of(bias)));
        let mut out = self.workspace.arena.take(rows * outputs); // (N, O)
        self.product(x, 0..rows, weight, start, &mut out);
        self.push(Op::Linear(Linear { x, weight, bias }), outputs, out, 0, true)
    }

    /// out = start + x·Wᵀ for some rows of x; a weight that is used again before it changes is packed once.
    #[track_caller]
    pub(crate) fn product(
        &mut self,
        x: Var,
        rows: Range<usize>,
        weight: ParameterId,
        start: Start<'_, E>,
        out: &mut [E],
    ) {
        let (outputs, inputs) = self.values.matrix_shape(weight);
        let (all_rows, cols) = self.shape(x);
        assert_eq!(
            cols, inputs,
            "x ({all_rows}, {cols}) times a weight of shape ({outputs}, {inputs})"
        );
        let is_used_again = self.gradients.is_none() || rows.len() < all_rows;
        let a = rows_of(self.workspace.nodes[x.0].value(), &rows, cols);
        if is_used_again {
            let packed = self.workspace.packed.matrix(self.cpu, self.values, weight, true);
            matmul_packed(self.cpu, a, packed, start, out);
        } else {
            let weight = Matrix::new(self.values.of(weight), outputs, inputs);
            matmul(self.cpu, a, weight.transposed(), start, out);
        }
    }

    /// The backward pass of [`product`](Tape::product) for the weight: dW += d_outᵀ·x.
    pub(crate) fn weight_gradient(
        &mut self,
        x: Var,
        rows: Range<usize>,
        weight: ParameterId,
        d_out: &[E],
    ) {
        let (outputs, inputs) = self.values.matrix_shape(weight);
        let d = Matrix::new(d_out, rows.len(), outputs);
        let gradients = self.gradients.as_mut().expect("a training tape");
        let x = rows_of(self.workspace.nodes[x.0].value(), &rows, inputs);
        matmul(self.cpu, d.transposed(), x, Start::Sum, gradients.of(weight));
    }

    /// The backward pass of [`product`](Tape::product) for its input: d_x += d_out·W, or = where nothing is there yet.
    pub(crate) fn input_gradient(
        &mut self,
        rows: Range<usize>,
        weight: ParameterId,
        d_out: &[E],
        d_x: &mut InputGradient<E>,
    ) {
        let (outputs, inputs) = self.values.matrix_shape(weight);
        let d = Matrix::new(d_out, rows.len(), outputs);
        let start = if d_x.adds { Start::Sum } else { Start::Zero };
        let is_used_again = rows.len() * inputs < d_x.values.len();
        let d_x = &mut d_x.values[rows.start * inputs..rows.end * inputs];
        if is_used_again {
            let packed = self.workspace.packed.matrix(self.cpu, self.values, weight, false);
            matmul_packed(self.cpu, d, packed, start, d_x);
        } else {
            let weight = Matrix::new(self.values.of(weight), outputs, inputs);
            matmul(self.cpu, d, weight, start, d_x);
        }
    }

    /// The gradient that arrives at `x`, taken from the tape until [`put_gradient`](Tape::put_gradient); none where nobody
    /// asks for it.
    pub(crate) fn input_gradient_of(&mut self, x: Var) -> Option<InputGradient<E>> {
        self.needs_gradient(x).then(|| {
            let (values, adds) = self.gradient_to_add(x);
            InputGradient { values, adds }
        })
    }
}

impl<E: Element> Parameters<E> {
    /// A·B of two weights.
    ///
    /// # Shapes
    /// `a` (M, K), `b` (K, N) → (M, N).
    ///
    /// # Panics
    /// When they do not fit each other.
    #[track_caller]
    pub fn product(&self, cpu: &Cpu, a: ParameterId, b: ParameterId) -> Vec<E> {
        let [a, b] = [a, b].map(|id| {
            let (rows, cols) = self.values.matrix_shape(id);
            Matrix::new(self.values.of(id), rows, cols)
        });
        let mut product = vec![E::ZERO; a.rows() * b.cols()];
        matmul(cpu, a, b, Start::Zero, &mut product);
        product
    }
}

/// The gradient of an input while products are added to it.
#[derive(Debug)]
pub(crate) struct InputGradient<E> {
    pub values: Vec<E>,
    /// Whether something has arrived there before.
    pub adds: bool,
}

/// Some rows of a matrix of `cols` columns.
fn rows_of<'a, E: Element>(values: &'a [E], rows: &Range<usize>, cols: usize) -> Matrix<'a, E> {
    Matrix::new(&values[rows.start * cols..rows.end * cols], rows.len(), cols)
}

impl Linear {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (rows, cols) = tape.shape(out);
        let d_out = tape.take_gradient(out);
        tape.weight_gradient(self.x, 0..rows, self.weight, &d_out);
        if let Some(mut d_x) = tape.input_gradient_of(self.x) {
            tape.input_gradient(0..rows, self.weight, &d_out, &mut d_x);
            tape.put_gradient(self.x, d_x.values);
        }
        if let Some(bias) = self.bias {
            let gradients = tape.gradients.as_mut().expect("a training tape");
            column_sums(tape.cpu, Matrix::new(&d_out, rows, cols), gradients.of(bias));
        }
        tape.workspace.arena.give(d_out);
    }
}
