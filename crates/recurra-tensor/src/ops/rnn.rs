//! A plain recurrent layer over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::matmul::Matrix;
pub use recurra_kernels::rnn::Activation;
use recurra_kernels::rnn::{self, Shape};

use super::Op;
use super::sweep::{RecurrentWeights, carry};
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 1;

#[derive(Debug)]
pub(crate) struct Rnn {
    x: Var,
    weights: RecurrentWeights,
    window: Window,
    activation: Activation,
}

impl<E: Element> Tape<'_, E> {
    /// A plain recurrent layer (Elman 1990): h_t = φ(W·x_t + b_ih + U·h_{t−1} + b_hh) with φ tanh or the rectifier.
    ///
    /// Starts from the state `[h]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), weights with G = 1, `h` (B, H) → (T·B, H).
    #[track_caller]
    pub fn rnn(
        &mut self,
        x: Var,
        activation: Activation,
        weights: RecurrentWeights,
        window: Window,
        state: [&mut [E]; 1],
    ) -> Var {
        let hidden = self.checked_hidden(x, &weights, N_GATES, window, &state);
        let shape = Shape { time: window.time, batch: window.batch, hidden };
        let bias = self.joint_bias(&weights, hidden);
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        self.input_products(x, &weights, bias, &mut h[window.batch * hidden..]);
        let weight_hh = self.workspace.packed.recurrent(self.cpu, self.values, weights.weight_hh);
        rnn::forward(self.cpu, shape, activation, weight_hh, &mut h);
        let [h_carried] = state;
        carry(&h, h_carried);
        self.push(
            Op::Rnn(Rnn { x, weights, window, activation }),
            hidden,
            h,
            window.batch * hidden,
            true,
        )
    }
}

impl Rnn {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (positions, hidden) = tape.shape(out);
        let Window { time, batch } = self.window;
        let mut d_h = tape.take_gradient(out);
        let mut d_h_last = tape.workspace.arena.take_zeros(batch * hidden);
        let weight_hh =
            tape.workspace.packed.recurrent(tape.cpu, tape.values, self.weights.weight_hh);
        let h = &tape.workspace.nodes[out.0].buffer;
        let shape = Shape { time, batch, hidden };
        rnn::backward(tape.cpu, shape, self.activation, weight_hh, h, &mut d_h, &mut d_h_last);
        let d_gates = Matrix::new(&d_h, positions, hidden);
        tape.product_backward(self.x, self.weights.weight_ih, &d_h);
        tape.recurrent_weight_backward(out, self.weights.weight_hh, 0, d_gates);
        tape.bias_backward(&[(self.weights.bias_ih, 0), (self.weights.bias_hh, 0)], d_gates);
        tape.give_all([d_h, d_h_last]);
    }
}
