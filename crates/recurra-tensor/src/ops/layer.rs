//! A recurrent layer in the matrix unit, products included: what every cell's operation becomes where there is one.

use recurra_kernels::Element;
use recurra_kernels::layer::{self, CellKind, Direction, LayerGradients, LayerShape};

use super::Op;
use super::sweep::{RecurrentWeights, carry};
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Layer<E> {
    cell: CellKind,
    shape: LayerShape,
    x: Var,
    weights: RecurrentWeights,
    /// What the kernel keeps of the sequence.
    kept: Vec<E>,
}

impl<E: Element> Tape<'_, E> {
    /// The layer as one operation, where the numbers and the machine are made for it. Starts from the state `h` (B, H) and,
    /// for an LSTM, `c`, and leaves the last ones there.
    pub(crate) fn layer(
        &mut self,
        cell: CellKind,
        x: Var,
        weights: RecurrentWeights,
        window: Window,
        h_carried: &mut [E],
        c_carried: Option<&mut [E]>,
    ) -> Option<Var> {
        if !layer::is_available(self.cpu) || E::as_f32(&[]).is_none() {
            return None;
        }
        let (_, inputs) = self.values.matrix_shape(weights.weight_ih);
        let (_, hidden) = self.values.matrix_shape(weights.weight_hh);
        let Window { time, batch } = window;
        let shape = LayerShape { time, batch, inputs, hidden };
        let mut h = self.states_from(window, h_carried); // (T + 1, B, H)
        let mut kept = self.workspace.arena.take(layer::kept_len(cell, shape));
        let node = &self.workspace.nodes[x.0];
        layer::forward(
            self.cpu,
            cell,
            shape,
            self.workspace.packed.layer(self.cpu, self.values, cell, Direction::Forward, &weights),
            [weights.bias_ih, weights.bias_hh].map(|bias| as_f32(self.values.of(bias))),
            as_f32(&node.buffer[node.start..]),
            as_f32_mut(&mut h),
            c_carried.map(as_f32_mut),
            as_f32_mut(&mut kept),
        );
        carry(&h, h_carried);
        let op = if self.is_training() {
            Op::Layer(Layer { cell, shape, x, weights, kept })
        } else {
            self.workspace.arena.give(kept);
            Op::Constant
        };
        Some(self.push(op, hidden, h, batch * hidden, true))
    }
}

impl<E: Element> Layer<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { cell, shape, x, weights, .. } = self;
        let d_h = tape.take_gradient(out);
        let mut d_x = tape.input_gradient_of(x);
        let bias_len = tape.values.of(weights.bias_ih).len();
        let gradients = tape.gradients.as_mut().expect("a training tape");
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh } = weights;
        let (d, hold, squares) =
            gradients.of_recurrent([weight_ih, weight_hh], [bias_ih, bias_hh], bias_len);
        let [weight_ih, weight_hh, bias_ih, bias_hh] = d.map(as_f32_mut);
        let node = &tape.workspace.nodes[x.0];
        layer::backward(
            tape.cpu,
            cell,
            shape,
            tape.workspace.packed.layer(tape.cpu, tape.values, cell, Direction::Backward, &weights),
            as_f32_mut(&mut self.kept),
            as_f32(&node.buffer[node.start..]),
            as_f32(&tape.workspace.nodes[out.0].buffer),
            as_f32(&d_h),
            d_x.as_mut().map(|d_x| (as_f32_mut(&mut d_x.values), d_x.has_part)),
            LayerGradients { weight_ih, weight_hh, bias_ih, bias_hh, hold, squares },
        );
        if let Some(d_x) = d_x {
            tape.put_gradient(x, d_x.values);
        }
        tape.give_all([d_h, self.kept]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.kept);
    }
}

fn as_f32<E: Element>(values: &[E]) -> &[f32] {
    E::as_f32(values).expect("layers in the matrix unit are `f32`")
}

fn as_f32_mut<E: Element>(values: &mut [E]) -> &mut [f32] {
    E::as_f32_mut(values).expect("layers in the matrix unit are `f32`")
}
