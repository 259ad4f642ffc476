//! An LSTM layer over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::lstm::{self, Shape};
use recurra_kernels::matmul::Matrix;

use super::Op;
use super::sweep::{RecurrentWeights, carry};
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 4;

#[derive(Debug)]
pub(crate) struct Lstm<E> {
    x: Var,
    weights: RecurrentWeights,
    window: Window,
    gates: Vec<E>, // (T, B, 4H), i f g o, activated
    c: Vec<E>,     // (T + 1, B, H)
}

impl<E: Element> Tape<'_, E> {
    /// A long short-term memory layer (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000):
    ///
    /// ```text
    /// i, f, o = σ(W·x_t + b_ih + U·h_{t−1} + b_hh)    g = tanh(likewise)
    /// c_t = f ⊙ c_{t−1} + i ⊙ g                       h_t = o ⊙ tanh(c_t)
    /// ```
    ///
    /// Starts from the state `[h, c]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), weights with G = 4 gates in the order i, f, g, o, `h` and `c` (B, H) → (T·B, H).
    #[track_caller]
    pub fn lstm(
        &mut self,
        x: Var,
        weights: RecurrentWeights,
        window: Window,
        state: [&mut [E]; 2],
    ) -> Var {
        let hidden = self.checked_hidden(x, &weights, N_GATES, window, &state);
        let shape = Shape { time: window.time, batch: window.batch, hidden };
        let bias = self.joint_bias(&weights, N_GATES * hidden);
        let mut gates = self.workspace.arena.take(window.len() * N_GATES * hidden); // (T, B, 4H)
        self.input_products(x, &weights, bias, &mut gates);
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        let mut c = self.states_from(window, state[1]);
        let weight_hh = self.workspace.packed.recurrent(self.cpu, self.values, weights.weight_hh);
        lstm::forward(self.cpu, shape, weight_hh, &mut gates, &mut h, &mut c);
        let [h_carried, c_carried] = state;
        carry(&h, h_carried);
        carry(&c, c_carried);
        let op = if self.is_training() {
            Op::Lstm(Lstm { x, weights, window, gates, c })
        } else {
            self.give_all([gates, c]);
            Op::Constant
        };
        self.push(op, hidden, h, window.batch * hidden, true)
    }
}

impl<E: Element> Lstm<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let (positions, hidden) = tape.shape(out);
        let Window { time, batch } = self.window;
        let d_h = tape.take_gradient(out);
        let mut d_h_last = tape.workspace.arena.take_zeros(batch * hidden);
        let mut d_c_last = tape.workspace.arena.take_zeros(batch * hidden);
        let weight_hh =
            tape.workspace.packed.recurrent(tape.cpu, tape.values, self.weights.weight_hh);
        lstm::backward(
            tape.cpu,
            Shape { time, batch, hidden },
            weight_hh,
            &mut self.gates,
            &self.c,
            &d_h,
            &mut d_h_last,
            &mut d_c_last,
        );
        let d_gates = Matrix::new(&self.gates, positions, N_GATES * hidden);
        tape.product_backward(self.x, self.weights.weight_ih, &self.gates);
        tape.recurrent_weight_backward(out, self.weights.weight_hh, 0, d_gates);
        tape.bias_backward(&[(self.weights.bias_ih, 0), (self.weights.bias_hh, 0)], d_gates);
        tape.give_all([d_h, d_h_last, d_c_last, self.gates, self.c]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.gates);
        arena.give(self.c);
    }
}
