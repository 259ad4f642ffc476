//! A plain recurrent layer over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::dropout::Mask;
use recurra_kernels::layer::CellKind;
use recurra_kernels::matmul::Matrix;
use recurra_kernels::rnn;
pub use recurra_kernels::rnn::Activation;

use super::Op;
use super::input::Input;
use super::sweep::{Piece, RecurrentWeights, carry};
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 1;

#[derive(Debug)]
pub(crate) struct Rnn {
    x: Var,
    weights: RecurrentWeights,
    /// What was dropped of W_hh.
    weight_mask: Option<Mask>,
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
    pub fn rnn<'x>(
        &mut self,
        x: impl Into<Input<'x>>,
        activation: Activation,
        weights: RecurrentWeights,
        window: Window,
        mut state: [&mut [E]; 1],
    ) -> Var {
        let x = x.into();
        let hidden = self.checked_hidden(&x, &weights, N_GATES, window, &state);
        if let Some(out) =
            self.layer(CellKind::Rnn(activation), &x, weights, window, &mut state, 0.0)
        {
            return out;
        }
        let x = self.read(x);
        let weight_mask = self.next_mask(weights.dropout);
        let bias = self.joint_bias(&weights, hidden);
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        for piece in Piece::forward(window) {
            let h = &mut h[piece.states(hidden)];
            self.input_products(x, &piece, &weights, &bias, &mut h[window.batch * hidden..]);
            let weight_hh = self.workspace.packed.recurrent(
                self.cpu,
                self.values,
                weights.weight_hh,
                weight_mask,
            );
            rnn::forward(self.cpu, piece.shape(hidden), activation, weight_hh, h);
        }
        self.workspace.arena.give(bias);
        let [h_carried] = state;
        carry(&h, h_carried);
        self.push(
            Op::Rnn(Rnn { x, weights, weight_mask, window, activation }),
            hidden,
            h,
            window.batch * hidden,
            true,
        )
    }
}

impl Rnn {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, hidden) = tape.shape(out);
        let mut d_h = tape.take_gradient(out);
        let mut d_h_last = tape.workspace.arena.take_zeros(self.window.batch * hidden);
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self.weights;
        let weight_mask = self.weight_mask;
        let aside = tape.set_gradient_aside(weight_hh, weight_mask);
        let mut d_x = tape.input_gradient_of(self.x);
        for piece in Piece::backward(self.window) {
            let packed =
                tape.workspace.packed.recurrent(tape.cpu, tape.values, weight_hh, weight_mask);
            let h = &tape.workspace.nodes[out.0].buffer[piece.states(hidden)];
            let d_h = &mut d_h[piece.values(hidden)];
            let shape = piece.shape(hidden);
            rnn::backward(tape.cpu, shape, self.activation, packed, h, d_h, &mut d_h_last);
            let d_gates = Matrix::new(d_h, piece.rows().len(), N_GATES * hidden);
            tape.input_products_backward(self.x, &piece, weight_ih, d_h, &mut d_x);
            tape.recurrent_weight_backward(out, &piece, weight_hh, 0, d_gates);
            tape.bias_backward(&[(bias_ih, 0), (bias_hh, 0)], d_gates);
        }
        tape.forget_dropped(weight_hh, weight_mask, aside);
        if let Some(d_x) = d_x {
            tape.put_gradient(self.x, d_x.values);
        }
        tape.give_all([d_h, d_h_last]);
    }
}
