//! A GRU layer over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::dropout::Mask;
use recurra_kernels::gru;
use recurra_kernels::layer::CellKind;
use recurra_kernels::matmul::Matrix;

use super::Op;
use super::input::Input;
use super::sweep::{Piece, RecurrentWeights, carry};
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 3;

#[derive(Debug)]
pub(crate) struct Gru<E> {
    x: Var,
    weights: RecurrentWeights,
    /// What was dropped of W_hh.
    weight_mask: Option<Mask>,
    window: Window,
    gates: Vec<E>, // (T, B, 3H), r z n, activated
    hn: Vec<E>,    // (T, B, H), U_n·h_{t−1} + b_hn
}

impl<E: Element> Tape<'_, E> {
    /// A gated recurrent unit layer (Cho et al. 2014, with the reset gate after the product, as cuDNN and PyTorch have it):
    ///
    /// ```text
    /// r, z = σ(W·x_t + b_ih + U·h_{t−1} + b_hh)
    /// n = tanh(W_n·x_t + b_in + r ⊙ (U_n·h_{t−1} + b_hn))
    /// h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}
    /// ```
    ///
    /// Starts from the state `[h]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), weights with G = 3 gates in the order r, z, n, `h` (B, H) → (T·B, H).
    #[track_caller]
    pub fn gru<'x>(
        &mut self,
        x: impl Into<Input<'x>>,
        weights: RecurrentWeights,
        window: Window,
        mut state: [&mut [E]; 1],
    ) -> Var {
        let x = x.into();
        let hidden = self.checked_hidden(&x, &weights, N_GATES, window, &state);
        if let Some(out) = self.layer(CellKind::Gru, &x, weights, window, &mut state, 0.0) {
            return out;
        }
        let x = self.read(x);
        let weight_mask = self.next_mask(weights.dropout);
        let bias = self.joint_bias(&weights, 2 * hidden);
        let mut gates = self.workspace.arena.take(window.len() * N_GATES * hidden); // (T, B, 3H)
        let mut hn = self.workspace.arena.take(window.len() * hidden); // (T, B, H)
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        let bias_hn = &self.values.of(weights.bias_hh)[2 * hidden..];
        for piece in Piece::forward(window) {
            let gates = &mut gates[piece.values(N_GATES * hidden)];
            self.input_products(x, &piece, &weights, &bias, gates);
            let weight_hh = self.workspace.packed.recurrent(
                self.cpu,
                self.values,
                weights.weight_hh,
                weight_mask,
            );
            let (hn, h) = (&mut hn[piece.values(hidden)], &mut h[piece.states(hidden)]);
            gru::forward(self.cpu, piece.shape(hidden), weight_hh, bias_hn, gates, hn, h);
        }
        self.workspace.arena.give(bias);
        let [h_carried] = state;
        carry(&h, h_carried);
        let op = if self.is_training() {
            Op::Gru(Gru { x, weights, weight_mask, window, gates, hn })
        } else {
            self.give_all([gates, hn]);
            Op::Constant
        };
        self.push(op, hidden, h, window.batch * hidden, true)
    }
}

impl<E: Element> Gru<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, hidden) = tape.shape(out);
        let d_h = tape.take_gradient(out);
        let mut d_h_last = tape.workspace.arena.take_zeros(self.window.batch * hidden);
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self.weights;
        let weight_mask = self.weight_mask;
        let aside = tape.set_gradient_aside(weight_hh, weight_mask);
        let mut d_x = tape.input_gradient_of(self.x);
        for piece in Piece::backward(self.window) {
            let gates = &mut self.gates[piece.values(N_GATES * hidden)];
            let hn = &mut self.hn[piece.values(hidden)];
            let packed =
                tape.workspace.packed.recurrent(tape.cpu, tape.values, weight_hh, weight_mask);
            let h = &tape.workspace.nodes[out.0].buffer[piece.states(hidden)];
            let d_h = &d_h[piece.values(hidden)];
            let shape = piece.shape(hidden);
            gru::backward(tape.cpu, shape, packed, gates, hn, h, d_h, &mut d_h_last);
            let rows = piece.rows().len();
            let d_gates = Matrix::new(gates, rows, N_GATES * hidden);
            let d_reset_update = Matrix::with_strides(gates, rows, 2 * hidden, N_GATES * hidden);
            let d_hn = Matrix::new(hn, rows, hidden);
            tape.input_products_backward(self.x, &piece, weight_ih, gates, &mut d_x);
            tape.recurrent_weight_backward(out, &piece, weight_hh, 0, d_reset_update);
            tape.recurrent_weight_backward(out, &piece, weight_hh, 2, d_hn);
            tape.bias_backward(&[(bias_ih, 0)], d_gates);
            tape.bias_backward(&[(bias_hh, 0)], d_reset_update);
            tape.bias_backward(&[(bias_hh, 2 * hidden)], d_hn);
        }
        tape.forget_dropped(weight_hh, weight_mask, aside);
        if let Some(d_x) = d_x {
            tape.put_gradient(self.x, d_x.values);
        }
        tape.give_all([d_h, d_h_last, self.gates, self.hn]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.gates);
        arena.give(self.hn);
    }
}
