//! What the recurrent operations share: the input products before a sweep over time and the weight gradients after it.

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start, matmul};

use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

/// The parameters of one recurrent layer, named as PyTorch names them. G is the number of gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentWeights {
    /// Input weights (G·H, E).
    pub weight_ih: ParameterId,
    /// Recurrent weights (G·H, H).
    pub weight_hh: ParameterId,
    /// Input bias (G·H).
    pub bias_ih: ParameterId,
    /// Recurrent bias (G·H).
    pub bias_hh: ParameterId,
}

impl<E: Element> Tape<'_, E> {
    /// Checks that `x`, the window and the first state fit the weights; returns H.
    #[track_caller]
    pub(crate) fn checked_hidden(
        &self,
        x: Var,
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
        let (rows, _) = self.shape(x);
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

    /// x·W_ihᵀ + bias for all positions at once, into `out` (T·B, G·H).
    pub(crate) fn input_products(
        &mut self,
        x: Var,
        weights: &RecurrentWeights,
        bias: Vec<E>,
        out: &mut [E],
    ) {
        self.product(x, weights.weight_ih, Start::Bias(&bias), out);
        self.workspace.arena.give(bias);
    }

    /// After a backward sweep: adds d_gatesᵀ·h_{t−1} to the rows of W_hh that start at gate `first_gate`.
    pub(crate) fn recurrent_weight_backward(
        &mut self,
        out: Var,
        weight_hh: ParameterId,
        first_gate: usize,
        d_gates: Matrix<'_, E>,
    ) {
        let (_, hidden) = self.values.matrix_shape(weight_hh);
        let node = &self.workspace.nodes[out.0];
        let positions = (node.buffer.len() - node.start) / hidden; // T·B
        let h_before = Matrix::new(&node.buffer[..positions * hidden], positions, hidden);
        let gradients = self.gradients.as_mut().expect("a training tape");
        let first = first_gate * hidden * hidden;
        let rows = &mut gradients.of(weight_hh)[first..first + d_gates.cols() * hidden];
        matmul(self.cpu, d_gates.transposed(), h_before, Start::Sum, rows);
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

/// Replaces a carried state by the last of `states` (T + 1, B, H): its value goes on, its history does not.
pub(crate) fn carry<E: Element>(states: &[E], state: &mut [E]) {
    state.copy_from_slice(&states[states.len() - state.len()..]);
}
