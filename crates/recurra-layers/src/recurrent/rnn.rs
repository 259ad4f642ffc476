//! Plain recurrent network.

use recurra_tensor::{
    Activation, Element, Input, Parameters, Random, RecurrentWeights, Tape, Var, Window, step,
};

use super::cell::{Cell, CellSize, CellState, declare, initialize_uniform};
use crate::CellOptions;

const N_GATES: usize = 1;

/// A plain recurrent layer (Elman 1990).
///
/// ```text
/// h_t = φ(W·x_t + b_ih + U·h_{t−1} + b_hh)    φ = tanh or x ↦ max(x, 0)
/// ```
///
/// Backward through time, from t = T to 1 (Werbos 1990): δa = δh ⊙ φ′, δh_{t−1} = Uᵀ·δa, where φ′ is 1 − h_t² for tanh and
/// 1 where h_t > 0, else 0, for the rectifier; δW = Σ_t δa·x_tᵀ, δU = Σ_t δa·h_{t−1}ᵀ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rnn {
    weights: RecurrentWeights,
    hidden_size: usize,
    activation: Activation,
}

impl Rnn {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        activation: Activation,
        options: &CellOptions,
    ) -> Self {
        Self {
            weights: declare(parameters, layer, N_GATES, inputs, hidden_size, options),
            hidden_size,
            activation,
        }
    }
}

impl Cell for Rnn {
    const PARTS: &'static [&'static str] = &["h"];
    const OPTIONS: &'static [&'static str] = &["weight_dropout", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, _: &CellOptions) -> CellSize {
        CellSize::of_gates(N_GATES, inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        Some((step::CellKind::Rnn(self.activation), self.weights))
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        initialize_uniform(parameters, &self.weights, self.hidden_size, random);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        tape.rnn(x, self.activation, self.weights, window, state.slices())
    }
}
