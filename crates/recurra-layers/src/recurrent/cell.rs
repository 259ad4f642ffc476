//! What every recurrent cell can do.

use std::fmt::Display;

use recurra_tensor::{
    Element, Input, Parameters, Random, RecurrentWeights, Role, Tape, Var, Window, step,
};

use crate::{CellOptions, Dropout};

/// The memory of one layer for B streams: each part is a matrix (B, width). An LSTM has two parts, h and c, both H wide.
#[derive(Clone, Debug, PartialEq)]
pub struct CellState<E> {
    /// The parts, in the order of [`Cell::PARTS`].
    pub parts: Vec<Vec<E>>,
}

/// What a layer costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellSize {
    /// Numbers that it learns.
    pub parameters: u128,
    /// Multiplications with weights, and with what it remembers, for one token forward.
    pub multiplications: u64,
}

impl CellSize {
    /// That of G gates with weights for the input and for the state, and two biases: G·H·(E + H + 2) numbers.
    pub(crate) fn of_gates(n_gates: usize, inputs: usize, hidden: usize) -> Self {
        let (rows, inputs, hidden) =
            (n_gates as u128 * hidden as u128, inputs as u128, hidden as u128);
        let weights = rows * (inputs + hidden);
        Self { parameters: weights + 2 * rows, multiplications: weights as u64 }
    }
}

/// A recurrent layer: x_1 … x_T and a state in, h_1 … h_T and the state after them out.
///
/// One generic test runs over all cells: a sequence equals repeated steps, a zero state is the default, shapes and sizes are
/// as stated, and gradients equal finite differences.
pub trait Cell: Sized {
    /// The names of the parts of the state, which together are all that the layer knows of the past.
    const PARTS: &'static [&'static str];
    /// The options that it knows, by their names in [`CellOptions`].
    const OPTIONS: &'static [&'static str] = &[];

    /// What a layer with E = `inputs` and H = `hidden` costs, before there is one.
    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize;

    /// The values that a stream has in each part of the state of a layer with E = `inputs` and H = `hidden`, before there is one.
    fn state_widths(_inputs: usize, hidden: usize, _: &CellOptions) -> Vec<usize> {
        vec![hidden; Self::PARTS.len()]
    }

    /// H: the width of what the layer hands up.
    fn hidden_size(&self) -> usize;

    /// The values that a stream has in each part of the state.
    fn part_widths(&self) -> Vec<usize> {
        vec![self.hidden_size(); Self::PARTS.len()]
    }

    /// The cell and the weights for steps one token at a time by kernels of their own, where the family has them.
    fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        None
    }

    /// The same with dropout on the branches of a residual link, and whether there is one.
    #[must_use]
    fn with_branch_dropout(self, _: Dropout) -> (Self, bool) {
        (self, false)
    }

    /// Draws the parameters.
    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random);

    /// The state before the first token: zeros.
    fn zero_state<E: Element>(&self, batch: usize) -> CellState<E> {
        let part = |width| vec![E::ZERO; batch * width];
        CellState { parts: self.part_widths().into_iter().map(part).collect() }
    }

    /// Runs over a window; `state` is what came before and becomes what comes after, without its history (truncated
    /// backpropagation through time, Williams and Peng 1990).
    ///
    /// # Shapes
    /// `x` (T·B, E), parts of `state` (B, width) → (T·B, H).
    ///
    /// # Panics
    /// When the shapes do not fit.
    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var;
}

impl<E> CellState<E> {
    /// The parts as an array.
    ///
    /// # Panics
    /// When there are not N parts.
    #[track_caller]
    pub(crate) fn slices<const N: usize>(&mut self) -> [&mut [E]; N] {
        let n_parts = self.parts.len();
        let parts: &mut [Vec<E>; N] = (self.parts.as_mut_slice())
            .try_into()
            .unwrap_or_else(|_| panic!("a state of {n_parts} parts for a cell of {N}"));
        parts.each_mut().map(Vec::as_mut_slice)
    }
}

/// Declares the parameters of layer `layer` with the names, shapes and gate order of PyTorch's recurrent modules.
pub(crate) fn declare<E: Element>(
    parameters: &mut Parameters<E>,
    layer: impl Display,
    n_gates: usize,
    inputs: usize,
    hidden: usize,
    options: &CellOptions,
) -> RecurrentWeights {
    let rows = n_gates * hidden;
    let [weight_ih, weight_hh] = [("ih", inputs), ("hh", hidden)].map(|(of, cols)| {
        let weight = parameters.declare(&format!("rnn.weight_{of}_l{layer}"), &[rows, cols]);
        parameters.set_role(weight, Role::Matrix { parts: n_gates });
        weight
    });
    RecurrentWeights {
        dropout: options.weight_dropout.unwrap_or(0.0),
        weight_ih,
        weight_hh,
        bias_ih: parameters.declare(&format!("rnn.bias_ih_l{layer}"), &[rows]),
        bias_hh: parameters.declare(&format!("rnn.bias_hh_l{layer}"), &[rows]),
    }
}

/// Draws all weights and biases from U(−1/√H, 1/√H).
pub fn initialize_uniform<E: Element>(
    parameters: &mut Parameters<E>,
    weights: &RecurrentWeights,
    hidden: usize,
    random: &mut Random,
) {
    let bound = 1.0 / (hidden as f64).sqrt();
    for id in [weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh] {
        random.fill_uniform(parameters.value_mut(id), bound);
    }
}
