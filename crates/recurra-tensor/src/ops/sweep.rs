//! What the recurrent operations share: the input products before a sweep over time and the weight gradients after it.

use std::ops::Range;

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::dropout::{self, Mask};
use recurra_kernels::matmul::{Matrix, Start, matmul};
use recurra_kernels::recurrent::Shape;

use super::input::Input;
use super::linear::InputGradient;

use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

/// The parameters of one recurrent layer, named as PyTorch names them. G is the number of gates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentWeights {
    /// Input weights (G·H, E).
    pub weight_ih: ParameterId,
    /// Recurrent weights (G·H, H).
    pub weight_hh: ParameterId,
    /// Input bias (G·H).
    pub bias_ih: ParameterId,
    /// Recurrent bias (G·H).
    pub bias_hh: ParameterId,
    /// The rate at which a training tape drops recurrent weights, the same ones for a whole window (weight-drop, Merity et
    /// al. 2018).
    pub dropout: f32,
}

impl<E: Element> Tape<'_, E> {
    /// Checks that `x`, the window and the first state fit the weights; returns H.
    #[track_caller]
    pub(crate) fn checked_hidden(
        &self,
        x: &Input<'_>,
        weights: &RecurrentWeights,
        n_gates: usize,
        window: Window,
        state: &[&mut [E]],
    ) -> usize {
        let (gate_rows, hidden) = self.values.matrix_shape(weights.weight_hh);
        assert_eq!(
            gate_rows,
            n_gates * hidden,
            "recurrent weight ({gate_rows}, {hidden}) of {n_gates} gates"
        );
        let rows = self.rows_of(x);
        assert_eq!(rows, window.len(), "x of {rows} rows for a window of {window:?}");
        for part in state {
            assert_eq!(
                part.len(),
                window.batch * hidden,
                "state of {} values for {window:?}, H {hidden}",
                part.len()
            );
        }
        hidden
    }

    /// The sum of both biases, over the first `n` values; the input bias alone after them.
    pub(crate) fn joint_bias(&mut self, weights: &RecurrentWeights, n: usize) -> Vec<E> {
        let mut bias = self.workspace.arena.take_copy(self.values.of(weights.bias_ih));
        bias.iter_mut()
            .zip(&self.values.of(weights.bias_hh)[..n])
            .for_each(|(sum, &part)| *sum += part);
        bias
    }

    /// A buffer (T + 1, B, H) for states over time, the first one given.
    pub(crate) fn states_from(&mut self, window: Window, first: &[E]) -> Vec<E> {
        let mut states = self.workspace.arena.take((window.time + 1) * first.len());
        states[..first.len()].copy_from_slice(first);
        states
    }

    /// The factors of a state (B, H) that a mask leaves, the same for a whole window: 0, or one over the rate that is kept.
    pub(crate) fn state_factors(&mut self, mask: Mask, state_len: usize) -> Vec<E> {
        let mut factors = self.workspace.arena.take(state_len);
        factors.fill(E::ONE);
        dropout::apply(self.cpu, mask, 0, &mut factors);
        factors
    }

    /// x·W_ihᵀ + bias for some steps of a window, into `out` (steps·B, G·H).
    pub(crate) fn input_products(
        &mut self,
        x: Var,
        piece: &Piece,
        weights: &RecurrentWeights,
        bias: &[E],
        out: &mut [E],
    ) {
        self.product(x, piece.rows(), weights.weight_ih, Start::Bias(bias), out);
    }

    /// After the backward sweep over a piece: adds what `d_gates` (steps·B, G·H) brings to W_ih and to the input.
    pub(crate) fn input_products_backward(
        &mut self,
        x: Var,
        piece: &Piece,
        weight_ih: ParameterId,
        d_gates: &[E],
        d_x: &mut Option<InputGradient<E>>,
    ) {
        self.weight_gradient(x, piece.rows(), weight_ih, d_gates);
        if let Some(d_x) = d_x {
            self.input_gradient(piece.rows(), weight_ih, d_gates, d_x);
        }
    }

    /// After the backward sweep over a piece: adds d_gatesᵀ·h_{t−1} to the rows of W_hh that start at gate `first_gate`.
    pub(crate) fn recurrent_weight_backward<'s>(
        &mut self,
        states: impl Into<States<'s, E>>,
        piece: &Piece,
        weight_hh: ParameterId,
        first_gate: usize,
        d_gates: Matrix<'_, E>,
    ) {
        let (_, hidden) = self.values.matrix_shape(weight_hh);
        let rows = piece.rows();
        let states = match states.into() {
            States::Of(out) => &self.workspace.nodes[out.0].buffer,
            States::Seen(seen) => seen,
        };
        let before = &states[rows.start * hidden..rows.end * hidden];
        let h_before = Matrix::new(before, rows.len(), hidden);
        let gradients = self.gradients.as_mut().expect("a training tape");
        let first = first_gate * hidden * hidden;
        let rows = &mut gradients.of(weight_hh)[first..first + d_gates.cols() * hidden];
        matmul(self.cpu, d_gates.transposed(), h_before, Start::Sum, rows);
    }

    /// Where weights of W_hh were dropped: takes what its gradient holds already out of it, so that it holds nothing else than what
    /// the way back adds, until [`forget_dropped`](Tape::forget_dropped).
    pub(crate) fn set_gradient_aside(
        &mut self,
        weight_hh: ParameterId,
        mask: Option<Mask>,
    ) -> Option<Vec<E>> {
        let gradients = self.gradients.as_mut().expect("a training tape");
        mask.filter(|_| gradients.is_written(weight_hh)).map(|_| {
            let gradient = gradients.of(weight_hh);
            let aside = self.workspace.arena.take_copy(gradient);
            gradient.fill(E::ZERO);
            aside
        })
    }

    /// A dropped weight has no part in the loss: the gradient that has come back goes through the mask, and what was set aside
    /// is added again.
    pub(crate) fn forget_dropped(
        &mut self,
        weight_hh: ParameterId,
        mask: Option<Mask>,
        aside: Option<Vec<E>>,
    ) {
        let Some(mask) = mask else { return };
        let gradient = self.gradients.as_mut().expect("a training tape").of(weight_hh);
        dropout::apply(self.cpu, mask, 0, gradient);
        if let Some(aside) = aside {
            gradient.iter_mut().zip(&aside).for_each(|(sum, &part)| *sum += part);
            self.workspace.arena.give(aside);
        }
    }

    /// Adds the column sums of `d_gates` to a part of each bias: (bias, where the part starts).
    pub(crate) fn bias_backward(
        &mut self,
        biases: &[(ParameterId, usize)],
        d_gates: Matrix<'_, E>,
    ) {
        let mut sums = self.workspace.arena.take_zeros(d_gates.cols());
        column_sums(self.cpu, d_gates, &mut sums);
        let gradients = self.gradients.as_mut().expect("a training tape");
        for &(bias, start) in biases {
            let part = &mut gradients.of(bias)[start..];
            part.iter_mut().zip(&sums).for_each(|(gradient, &sum)| *gradient += sum);
        }
        self.workspace.arena.give(sums);
    }

    pub(crate) fn give_all<const N: usize>(&mut self, buffers: [Vec<E>; N]) {
        buffers.into_iter().for_each(|buffer| self.workspace.arena.give(buffer));
    }
}

/// The states (T + 1, B, H) that the recurrent products saw.
pub(crate) enum States<'a, E> {
    /// Those of a layer.
    Of(Var),
    /// These.
    Seen(&'a [E]),
}

impl<E> From<Var> for States<'_, E> {
    fn from(out: Var) -> Self {
        Self::Of(out)
    }
}

/// Some steps of a window that are computed from input to state, or from state to gradients, before the next: what one
/// product writes is still in a cache when the sweep reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    first: usize,
    time: usize,
    batch: usize,
}

impl Piece {
    /// Rows of a piece on the way forward: their gates stay in the second cache.
    const ROWS_FORWARD: usize = 256;
    /// Rows of a piece on the way back: each piece reads and writes all gradients of the weights, so they are few.
    const ROWS_BACKWARD: usize = 1024;

    /// The pieces of a window, the first first.
    pub(crate) fn forward(window: Window) -> impl DoubleEndedIterator<Item = Piece> {
        Self::pieces(window, Self::ROWS_FORWARD)
    }

    /// The pieces of a window, the last first.
    pub(crate) fn backward(window: Window) -> impl Iterator<Item = Piece> {
        Self::pieces(window, Self::ROWS_BACKWARD).rev()
    }

    /// As equal as can be: how a window is cut depends on nothing else.
    fn pieces(window: Window, rows: usize) -> impl DoubleEndedIterator<Item = Piece> {
        let Window { time, batch } = window;
        let count = time.div_ceil((rows / batch).max(1));
        (0..count).map(move |idx| {
            let first = time * idx / count;
            Piece { first, time: time * (idx + 1) / count - first, batch }
        })
    }

    /// Its sizes, as kernels want them.
    pub(crate) fn shape(&self, hidden: usize) -> Shape {
        Shape { time: self.time, batch: self.batch, hidden }
    }

    /// Its rows in a sequence (T·B, ·).
    pub(crate) fn rows(&self) -> Range<usize> {
        self.first * self.batch..(self.first + self.time) * self.batch
    }

    /// Where its values are in a sequence (T·B, `width`).
    pub(crate) fn values(&self, width: usize) -> Range<usize> {
        self.rows().start * width..self.rows().end * width
    }

    /// Where its states are among all states (T + 1, B, H), the one before it included.
    pub(crate) fn states(&self, hidden: usize) -> Range<usize> {
        self.rows().start * hidden..(self.rows().end + self.batch) * hidden
    }
}

/// Replaces a carried state by the last of `states` (T + 1, B, H): its value goes on, its history does not.
pub(crate) fn carry<E: Element>(states: &[E], state: &mut [E]) {
    state.copy_from_slice(&states[states.len() - state.len()..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_window_in_order_and_are_not_too_long() {
        for (time, batch) in [(1, 1), (35, 20), (128, 64), (7, 5000), (1000, 1), (33, 255)] {
            let window = Window { time, batch };
            let pieces: Vec<Piece> = Piece::forward(window).collect();
            let mut next = 0;
            for piece in &pieces {
                assert_eq!(piece.rows().start, next, "{window:?}");
                assert!(!piece.rows().is_empty() && piece.rows().len() <= batch.max(256));
                next = piece.rows().end;
            }
            assert_eq!(next, window.len());
            let back: Vec<Piece> = Piece::backward(window).collect();
            assert_eq!(back.last().unwrap().rows().start, 0);
            assert_eq!(back[0].rows().end, window.len());
        }
        let piece = Piece { first: 3, time: 2, batch: 5 };
        assert_eq!((piece.values(4), piece.states(4)), (60..100, 60..120));
    }
}
