//! Plain recurrent network.

use recurra_tensor::{Activation, Element, Input, Parameters, RecurrentWeights, Tape, Var, Window};

use super::cell::{Cell, CellState, declare};

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
    ) -> Self {
        Self {
            weights: declare(parameters, layer, Self::N_GATES, inputs, hidden_size),
            hidden_size,
            activation,
        }
    }
}

impl Cell for Rnn {
    const N_GATES: usize = 1;
    const PARTS: &'static [&'static str] = &["h"];

    fn weights(&self) -> &RecurrentWeights {
        &self.weights
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
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
