//! A layer whose recurrence is a scan: all products before it, every unit alone over the steps.

use recurra_kernels::Element;
use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start};
use recurra_kernels::scan::{self, Given, ScanCell};

use super::Op;
use super::input::Input;
use super::sweep::{Piece, carry};
use crate::arena::Arena;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

/// The parameters of a layer that is a scan. G is the number of its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanWeights {
    /// Input weights (G·H, I).
    pub weight: ParameterId,
    /// Biases (n·H) of the gates that have one ([`ScanCell::biased_gates`]).
    pub bias: ParameterId,
    /// The vectors (N·H) that multiply the memory, where the cell has such.
    pub vectors: Option<ParameterId>,
}

#[derive(Debug)]
pub(crate) struct Scan<E> {
    cell: ScanCell,
    x: Var,
    weights: ScanWeights,
    window: Window,
    gates: Vec<E>,  // (T, B, G·H), as the scan keeps them
    memory: Vec<E>, // (T + 1, B, H); empty where the result is the memory
}

impl<E: Element> Tape<'_, E> {
    /// A layer that is a scan: a_t = W·x_t + b, then the recurrence of `cell` ([`recurra_kernels::scan`] has the equations).
    ///
    /// Starts from `memory` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, I), `memory` (B, H) → (T·B, H). An SRU that is not projected wants I = H.
    #[track_caller]
    pub fn scan<'x>(
        &mut self,
        cell: ScanCell,
        x: impl Into<Input<'x>>,
        weights: ScanWeights,
        window: Window,
        memory: &mut [E],
    ) -> Var {
        let x = self.read(x.into());
        let (gate_rows, inputs) = self.values.matrix_shape(weights.weight);
        let hidden = gate_rows / cell.n_gates();
        let rows = self.shape(x).0;
        assert_eq!(rows, window.len(), "x of {rows} rows for a window of {window:?}");
        assert_eq!(
            memory.len(),
            window.batch * hidden,
            "a memory of {} values for {window:?}, H {hidden}",
            memory.len()
        );
        assert!(!cell.reads_x() || inputs == hidden, "{cell:?} adds x of {inputs} to H {hidden}");
        let bias = self.bias_of_gates(cell, &weights, gate_rows);
        let mut gates = self.workspace.arena.take(window.len() * gate_rows); // (T, B, G·H)
        let mut states = self.states_from(window, memory); // (T + 1, B, H)
        let out_width = if cell.hands_up_memory() { 0 } else { hidden };
        let mut out = self.workspace.arena.take(window.len() * out_width); // (T, B, H)
        for piece in Piece::forward(window) {
            let gates = &mut gates[piece.values(gate_rows)];
            self.product(x, piece.rows(), weights.weight, Start::Bias(&bias), gates);
            let given = self.given(cell, x, &weights, &piece);
            let states = &mut states[piece.states(hidden)];
            let out = &mut out[piece.values(out_width)];
            scan::forward(self.cpu, cell, piece.shape(hidden), given, gates, states, out);
        }
        self.workspace.arena.give(bias);
        carry(&states, memory);
        let (result, start, memory) = if cell.hands_up_memory() {
            self.workspace.arena.give(out);
            (states, memory.len(), Vec::new())
        } else {
            (out, 0, states)
        };
        let op = if self.is_training() {
            Op::Scan(Scan { cell, x, weights, window, gates, memory })
        } else {
            self.give_all([gates, memory]);
            Op::Constant
        };
        self.push(op, hidden, result, start, true)
    }

    /// The bias of every gate, zeros where one has none.
    fn bias_of_gates(&mut self, cell: ScanCell, weights: &ScanWeights, gate_rows: usize) -> Vec<E> {
        let hidden = gate_rows / cell.n_gates();
        let mut bias = self.workspace.arena.take_zeros(gate_rows);
        let biased = cell.biased_gates();
        bias[biased.start * hidden..biased.end * hidden]
            .copy_from_slice(self.values.of(weights.bias));
        bias
    }

    /// What the scan over a piece reads beside its gates.
    fn given(&self, cell: ScanCell, x: Var, weights: &ScanWeights, piece: &Piece) -> Given<'_, E> {
        let vectors = weights.vectors.map_or(&[][..], |vectors| self.values.of(vectors));
        let (_, width) = self.shape(x);
        let x = if cell.reads_x() { &self.value(x)[piece.values(width)] } else { &[] };
        Given { vectors, x }
    }
}

impl<E: Element> Scan<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { cell, x, weights, window, .. } = self;
        let (_, hidden) = tape.shape(out);
        let gate_rows = cell.n_gates() * hidden;
        let biased = cell.biased_gates();
        let d_out = tape.take_gradient(out);
        let mut d_memory = tape.workspace.arena.take_zeros(window.batch * hidden); // (B, H)
        let vector_len = window.batch * cell.n_vectors() * hidden;
        let mut d_vectors = tape.workspace.arena.take_zeros(vector_len); // (B, N·H)
        let beside_width = if cell.reads_x() { hidden } else { 0 };
        let most_rows = Piece::backward(window).map(|piece| piece.rows().len()).max().unwrap_or(0);
        let mut d_beside = tape.workspace.arena.take(most_rows * beside_width); // (rows of a piece, H)
        let mut d_x = tape.input_gradient_of(x);
        for piece in Piece::backward(window) {
            let gates = &mut self.gates[piece.values(gate_rows)];
            let all_states = if cell.hands_up_memory() {
                &tape.workspace.nodes[out.0].buffer
            } else {
                &self.memory
            };
            let given = tape.given(cell, x, &weights, &piece);
            let d_beside = &mut d_beside[..given.x.len()];
            scan::backward(
                tape.cpu,
                cell,
                piece.shape(hidden),
                given,
                gates,
                &all_states[piece.states(hidden)],
                &d_out[piece.values(hidden)],
                &mut d_memory,
                d_beside,
                &mut d_vectors,
            );
            tape.weight_gradient(x, piece.rows(), weights.weight, gates);
            if let Some(d_x) = &mut d_x {
                tape.input_gradient(piece.rows(), weights.weight, gates, d_x);
                if cell.reads_x() {
                    let d_x = &mut d_x.values[piece.values(hidden)];
                    d_x.iter_mut().zip(&*d_beside).for_each(|(sum, &part)| *sum += part);
                }
            }
            let d_biased = Matrix::with_strides(
                &gates[biased.start * hidden..],
                piece.rows().len(),
                biased.len() * hidden,
                gate_rows,
            );
            tape.bias_backward(&[(weights.bias, 0)], d_biased);
        }
        if let Some(vectors) = weights.vectors {
            let gradients = tape.gradients.as_mut().expect("a training tape");
            let d_vectors = Matrix::new(&d_vectors, window.batch, cell.n_vectors() * hidden);
            column_sums(tape.cpu, d_vectors, gradients.of(vectors));
        }
        if let Some(d_x) = d_x {
            tape.put_gradient(x, d_x.values);
        }
        tape.give_all([d_out, d_memory, d_vectors, d_beside, self.gates, self.memory]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.gates);
        arena.give(self.memory);
    }
}
