//! An sLSTM over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start, matmul};
use recurra_kernels::slstm::{self, Shape, States};

use super::Op;
use super::sweep::carry;
use crate::arena::Arena;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

/// The recurrent parameters of an sLSTM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlstmWeights {
    /// R (A, 4·D, D): in each head the gates i, f, z, o.
    pub recurrent: ParameterId,
    /// b (A, 4·D).
    pub bias: ParameterId,
}

#[derive(Debug)]
pub(crate) struct Slstm<E> {
    inputs: [Var; 2],
    weights: SlstmWeights,
    shape: Shape,
    gates: [Vec<E>; 2],  // (T, B, A, 2, D) each
    states: [Vec<E>; 3], // c, n, m (T+1, B, H); h is the result
}

impl<E: Element> Tape<'_, E> {
    /// An sLSTM (Beck et al. 2024, "xLSTM"): see [`recurra_kernels::slstm`] for its equations.
    ///
    /// Starts from the state `[h, c, n, m]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `inputs`: W·x of the gates i and f, then of z and o, each (T·B, A·2·D); parts of the state (B, A·D) → (T·B, A·D).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn slstm(
        &mut self,
        inputs: [Var; 2],
        weights: SlstmWeights,
        window: Window,
        state: [&mut [E]; 4],
    ) -> Var {
        let &[heads, _, units] = self.values.shape(weights.recurrent) else {
            panic!("R of shape {:?}", self.values.shape(weights.recurrent));
        };
        let shape = Shape { time: window.time, batch: window.batch, heads, units };
        let hidden = shape.hidden();
        let [mut h, mut c, mut n, mut m] =
            state.each_ref().map(|part| self.states_from(window, part));
        let len = 2 * shape.sequence();
        let mut gates = [(); 2].map(|()| self.workspace.arena.take(len));
        let packed = self.workspace.packed.heads(self.cpu, self.values, weights.recurrent);
        let bias = self.values.of(weights.bias);
        let values = inputs.map(|input| self.workspace.nodes[input.0].value());
        let states = States { h: &mut h[..], c: &mut c, n: &mut n, m: &mut m };
        let places = gates.each_mut().map(Vec::as_mut_slice);
        slstm::forward(self.cpu, shape, packed, bias, values, places, states);
        for (states, state) in [&h, &c, &n, &m].into_iter().zip(state) {
            carry(states, state);
        }
        let states = [c, n, m];
        let op = if self.is_training() {
            Op::Slstm(Slstm { inputs, weights, shape, gates, states })
        } else {
            self.give_all(gates);
            self.give_all(states);
            Op::Constant
        };
        self.push(op, hidden, h, shape.state(), true)
    }
}

impl<E: Element> Slstm<E> {
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { inputs, weights, shape, mut gates, states: [c, n, m] } = self;
        let Shape { time, batch, units, .. } = shape;
        let (rows, hidden) = (time * batch, shape.hidden());
        let d_h = tape.take_gradient(out);
        let mut d_last = [(); 3].map(|()| tape.workspace.arena.take_zeros(shape.state()));
        let packed = tape.workspace.packed.heads(tape.cpu, tape.values, weights.recurrent);
        let h = &tape.workspace.nodes[out.0].buffer;
        let places = gates.each_mut().map(Vec::as_mut_slice);
        let states = States { h: &h[..], c: &c, n: &n, m: &m };
        let d_places = d_last.each_mut().map(Vec::as_mut_slice);
        slstm::backward(tape.cpu, shape, packed, places, states, &d_h, d_places);
        // d_R = Σ_t d_a·h₋ᵀ of each head; d_b = Σ_t d_a.
        let gradients = tape.gradients.as_mut().expect("a training tape");
        let d_recurrent = gradients.of(weights.recurrent).chunks_exact_mut(2 * units * units);
        for (place, d_recurrent) in d_recurrent.enumerate() {
            let (head, half) = (place / 2, place % 2);
            let d_a = &gates[half][head * 2 * units..];
            let d_a = Matrix::with_strides(d_a, rows, 2 * units, 2 * hidden);
            let h = Matrix::with_strides(&h[head * units..], rows, units, hidden);
            matmul(tape.cpu, d_a.transposed(), h, Start::Sum, d_recurrent);
        }
        let d_bias = gradients.of(weights.bias).chunks_exact_mut(2 * units);
        for (place, d_bias) in d_bias.enumerate() {
            let d_a = &gates[place % 2][place / 2 * 2 * units..];
            column_sums(tape.cpu, Matrix::with_strides(d_a, rows, 2 * units, 2 * hidden), d_bias);
        }
        for (input, d_input) in inputs.into_iter().zip(gates) {
            if tape.needs_gradient(input) {
                tape.add_gradient(input, d_input);
            } else {
                tape.workspace.arena.give(d_input);
            }
        }
        tape.give_all(d_last);
        tape.give_all([d_h, c, n, m]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        self.gates.into_iter().chain(self.states).for_each(|buffer| arena.give(buffer));
    }
}
