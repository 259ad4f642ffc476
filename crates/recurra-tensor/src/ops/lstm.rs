//! An LSTM layer over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::dropout::Mask;
use recurra_kernels::layer::CellKind;
use recurra_kernels::lstm;
use recurra_kernels::matmul::Matrix;

use super::Op;
use super::input::Input;
use super::sweep::{Piece, RecurrentWeights, States, carry};
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 4;

/// What Melis, Dyer and Blunsom (2018) add to an LSTM; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LstmForm {
    /// Whether the input gate lets in no more than 1 − f.
    pub is_coupled: bool,
    /// The rate at which a training tape drops h_{t−1} before U sees it, the same units of a stream for a whole window (Gal
    /// and Ghahramani 2016).
    pub state_dropout: f32,
}

#[derive(Debug)]
pub(crate) struct Lstm<E> {
    x: Var,
    is_coupled: bool,
    weights: RecurrentWeights,
    /// What was dropped of W_hh.
    weight_mask: Option<Mask>,
    window: Window,
    gates: Vec<E>, // (T, B, 4H), i f g o, activated
    c: Vec<E>,     // (T + 1, B, H)
    /// The mask of the state (B, H), and what the products saw through it (T + 1, B, H).
    seen: Option<[Vec<E>; 2]>,
}

impl<E: Element> Tape<'_, E> {
    /// A long short-term memory layer (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000):
    ///
    /// ```text
    /// i, f, o = σ(W·x_t + b_ih + U·h_{t−1} + b_hh)    g = tanh(likewise)
    /// c_t = f ⊙ c_{t−1} + i ⊙ g                       h_t = o ⊙ tanh(c_t)
    /// ```
    ///
    /// and with the form's additions i ≤ 1 − f, and h_{t−1} ⊙ mask in place of h_{t−1}.
    ///
    /// Starts from the state `[h, c]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), weights with G = 4 gates in the order i, f, g, o, `h` and `c` (B, H) → (T·B, H).
    #[track_caller]
    pub fn lstm<'x>(
        &mut self,
        x: impl Into<Input<'x>>,
        weights: RecurrentWeights,
        form: LstmForm,
        window: Window,
        mut state: [&mut [E]; 2],
    ) -> Var {
        let x = x.into();
        let hidden = self.checked_hidden(&x, &weights, N_GATES, window, &state);
        let LstmForm { is_coupled, state_dropout } = form;
        let kind = if is_coupled { CellKind::CoupledLstm } else { CellKind::Lstm };
        if let Some(out) = self.layer(kind, &x, weights, window, &mut state, state_dropout) {
            return out;
        }
        let x = self.read(x);
        let weight_mask = self.next_mask(weights.dropout);
        let state_mask = self.next_mask(state_dropout);
        let bias = self.joint_bias(&weights, N_GATES * hidden);
        let mut gates = self.workspace.arena.take(window.len() * N_GATES * hidden); // (T, B, 4H)
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        let mut c = self.states_from(window, state[1]);
        let mut seen = state_mask.map(|mask| {
            let factors = self.state_factors(mask, window.batch * hidden);
            [factors, self.workspace.arena.take(h.len())]
        });
        for piece in Piece::forward(window) {
            let gates = &mut gates[piece.values(N_GATES * hidden)];
            self.input_products(x, &piece, &weights, &bias, gates);
            let weight_hh = self.workspace.packed.recurrent(
                self.cpu,
                self.values,
                weights.weight_hh,
                weight_mask,
            );
            let (h, c) = (&mut h[piece.states(hidden)], &mut c[piece.states(hidden)]);
            let (state_mask, seen) = match &mut seen {
                Some([mask, seen]) => (Some(&mask[..]), Some(&mut seen[piece.states(hidden)])),
                None => (None, None),
            };
            let form = lstm::Form { is_coupled, state_mask };
            lstm::forward(self.cpu, piece.shape(hidden), form, weight_hh, gates, h, c, seen);
        }
        self.workspace.arena.give(bias);
        let [h_carried, c_carried] = state;
        carry(&h, h_carried);
        carry(&c, c_carried);
        let op = if self.is_training() {
            Op::Lstm(Lstm { x, is_coupled, weights, weight_mask, window, gates, c, seen })
        } else {
            self.give_all([gates, c]);
            Op::Constant
        };
        self.push(op, hidden, h, window.batch * hidden, true)
    }
}

impl<E: Element> Lstm<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, hidden) = tape.shape(out);
        let batch = self.window.batch;
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self.weights;
        let weight_mask = self.weight_mask;
        let state_mask = self.seen.as_ref().map(|[mask, _]| &mask[..]);
        let form = lstm::Form { is_coupled: self.is_coupled, state_mask };
        let aside = tape.set_gradient_aside(weight_hh, weight_mask);
        let d_h = tape.take_gradient(out);
        let mut d_h_last = tape.workspace.arena.take_zeros(batch * hidden);
        let mut d_c_last = tape.workspace.arena.take_zeros(batch * hidden);
        let mut d_x = tape.input_gradient_of(self.x);
        for piece in Piece::backward(self.window) {
            let gates = &mut self.gates[piece.values(N_GATES * hidden)];
            let packed =
                tape.workspace.packed.recurrent(tape.cpu, tape.values, weight_hh, weight_mask);
            lstm::backward(
                tape.cpu,
                piece.shape(hidden),
                form,
                packed,
                gates,
                &self.c[piece.states(hidden)],
                &d_h[piece.values(hidden)],
                &mut d_h_last,
                &mut d_c_last,
            );
            let d_gates = Matrix::new(gates, piece.rows().len(), N_GATES * hidden);
            tape.input_products_backward(self.x, &piece, weight_ih, gates, &mut d_x);
            let states = self.seen.as_ref().map_or(States::Of(out), |[_, seen]| States::Seen(seen));
            tape.recurrent_weight_backward(states, &piece, weight_hh, 0, d_gates);
            tape.bias_backward(&[(bias_ih, 0), (bias_hh, 0)], d_gates);
        }
        tape.forget_dropped(weight_hh, weight_mask, aside);
        if let Some(d_x) = d_x {
            tape.put_gradient(self.x, d_x.values);
        }
        tape.give_all([d_h, d_h_last, d_c_last]);
        self.recycle(&mut tape.workspace.arena);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.gates);
        arena.give(self.c);
        self.seen.into_iter().flatten().for_each(|buffer| arena.give(buffer));
    }
}
