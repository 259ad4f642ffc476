//! A causal convolution over time, each column for itself.

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::Matrix;
use recurra_kernels::taps::{self, Taps};

use super::Op;
use crate::arena::Arena;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Convolution<E> {
    x: Var,
    weight: ParameterId,
    bias: ParameterId,
    batch: usize,
    /// (K−1 + T, B, C): what came before the window, and x.
    padded: Vec<E>,
}

impl<E: Element> Tape<'_, E> {
    /// y_t = b + Σ_j w_j ⊙ x_{t−K+1+j}, the last of the K taps on the present step (PyTorch's `Conv1d` with as many groups as
    /// channels, nothing ahead seen).
    ///
    /// `before` holds the K−1 steps before the window, the oldest first, and afterwards the last of it, cut off from its
    /// history.
    ///
    /// # Shapes
    /// `x` (T·B, C), `weight` (C, 1, K), `bias` (C), `before` (B, (K−1)·C) → (T·B, C).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn causal_convolution(
        &mut self,
        x: Var,
        weight: ParameterId,
        bias: ParameterId,
        window: Window,
        before: &mut [E],
    ) -> Var {
        let (rows, cols) = self.shape(x);
        let batch = window.batch;
        let step = batch * cols;
        let n_taps = self.values.of(weight).len() / cols;
        let past = (n_taps - 1) * step;
        assert_eq!(rows, window.len(), "x of {rows} rows for a window of {window:?}");
        assert_eq!(before.len(), past, "steps before {window:?}, {cols} columns, {n_taps} taps");
        let mut padded = self.workspace.arena.take(past + rows * cols);
        let (first, rest) = padded.split_at_mut(past);
        rest.copy_from_slice(self.value(x));
        for (place, row) in before.chunks_exact(cols).enumerate() {
            let (stream, age) = (place / (n_taps - 1), place % (n_taps - 1));
            first[age * step + stream * cols..][..cols].copy_from_slice(row);
        }
        for (place, row) in before.chunks_exact_mut(cols).enumerate() {
            let (stream, age) = (place / (n_taps - 1), place % (n_taps - 1));
            row.copy_from_slice(&padded[rows * cols + age * step + stream * cols..][..cols]);
        }
        let coefficients = self.taps_of(weight, n_taps, cols);
        let offsets: Vec<isize> = (0..n_taps).map(|j| (j * step) as isize).collect();
        let taps = Taps { coefficients: &coefficients, offsets: &offsets, cols };
        let mut out = self.workspace.arena.take(rows * cols);
        taps::sum(self.cpu, taps, Some(self.values.of(bias)), &padded, &mut out);
        self.workspace.arena.give(coefficients);
        let op = if self.is_training() {
            Op::Convolution(Convolution { x, weight, bias, batch, padded })
        } else {
            self.workspace.arena.give(padded);
            Op::Constant
        };
        self.push(op, cols, out, 0, true)
    }

    /// `weight` (C, 1, K) as (K, C).
    fn taps_of(&mut self, weight: ParameterId, n_taps: usize, cols: usize) -> Vec<E> {
        let mut taps = self.workspace.arena.take(n_taps * cols);
        for (col, row) in self.values.of(weight).chunks_exact(n_taps).enumerate() {
            row.iter().enumerate().for_each(|(j, &w)| taps[j * cols + col] = w);
        }
        taps
    }
}

impl<E: Element> Convolution<E> {
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { x, weight, bias, batch, padded } = self;
        let (rows, cols) = tape.shape(out);
        let n_taps = tape.values.of(weight).len() / cols;
        let step = batch * cols;
        let d_y = tape.take_gradient(out);
        let offsets: Vec<isize> = (0..n_taps).map(|j| (j * step) as isize).collect();
        let mut d_taps = tape.workspace.arena.take_zeros(n_taps * cols);
        taps::gradient(tape.cpu, &offsets, cols, &padded, &d_y, &mut d_taps);
        let gradients = tape.gradients.as_mut().expect("a training tape");
        for (col, row) in gradients.of(weight).chunks_exact_mut(n_taps).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, d)| *d += d_taps[j * cols + col]);
        }
        column_sums(tape.cpu, Matrix::new(&d_y, rows, cols), gradients.of(bias));
        if tape.needs_gradient(x) {
            // x_t is read by y_t at the last tap, by y_{t+1} at the one before it, …
            let coefficients = tape.taps_of(weight, n_taps, cols);
            let offsets: Vec<isize> = (0..n_taps).rev().map(|j| (j * step) as isize).collect();
            let taps = Taps { coefficients: &coefficients, offsets: &offsets, cols };
            let mut d_x = tape.workspace.arena.take(rows * cols);
            taps::sum(tape.cpu, taps, None, &d_y, &mut d_x);
            tape.add_gradient(x, d_x);
            tape.workspace.arena.give(coefficients);
        }
        tape.give_all([d_y, d_taps, padded]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.padded);
    }
}
