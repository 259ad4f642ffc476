//! An affine map of every row.

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start, matmul, matmul_packed};

use super::Op;
use crate::parameters::ParameterId;
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
        self.product(x, weight, start, &mut out);
        self.push(Op::Linear(Linear { x, weight, bias }), outputs, out, 0, true)
    }

    /// out = start + x·Wᵀ; weights that do not change are packed once.
    #[track_caller]
    pub(crate) fn product(
        &mut self,
        x: Var,
        weight: ParameterId,
        start: Start<'_, E>,
        out: &mut [E],
    ) {
        let (outputs, inputs) = self.values.matrix_shape(weight);
        let (rows, cols) = self.shape(x);
        assert_eq!(
            cols, inputs,
            "x ({rows}, {cols}) times a weight of shape ({outputs}, {inputs})"
        );
        let node = &self.workspace.nodes[x.0];
        let a = Matrix::new(&node.buffer[node.start..], rows, cols);
        if self.gradients.is_some() {
            let weight = Matrix::new(self.values.of(weight), outputs, inputs);
            matmul(self.cpu, a, weight.transposed(), start, out);
        } else {
            let packed = self.workspace.packed.matrix(self.cpu, self.values, weight);
            matmul_packed(self.cpu, a, packed, start, out);
        }
    }

    /// The backward pass of [`product`](Tape::product): dW += d_outᵀ·x, and d_x += d_out·W where it is asked for.
    pub(crate) fn product_backward(&mut self, x: Var, weight: ParameterId, d_out: &[E]) {
        let (outputs, inputs) = self.values.matrix_shape(weight);
        let (rows, cols) = self.shape(x);
        let d = Matrix::new(d_out, rows, outputs);
        let gradients = self.gradients.as_mut().expect("a training tape");
        let node = &self.workspace.nodes[x.0];
        let inputs_matrix = Matrix::new(&node.buffer[node.start..], rows, cols);
        matmul(self.cpu, d.transposed(), inputs_matrix, Start::Sum, gradients.of(weight));
        if self.needs_gradient(x) {
            let (mut d_x, has_part) = self.gradient_to_add(x);
            let start = if has_part { Start::Sum } else { Start::Zero };
            matmul(
                self.cpu,
                d,
                Matrix::new(self.values.of(weight), outputs, inputs),
                start,
                &mut d_x,
            );
            self.put_gradient(x, d_x);
        }
    }
}

impl Linear {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (rows, cols) = tape.shape(out);
        let d_out = tape.take_gradient(out);
        tape.product_backward(self.x, self.weight, &d_out);
        if let Some(bias) = self.bias {
            let gradients = tape.gradients.as_mut().expect("a training tape");
            column_sums(tape.cpu, Matrix::new(&d_out, rows, cols), gradients.of(bias));
        }
        tape.workspace.arena.give(d_out);
    }
}
