//! Gated recurrent unit.

use std::fmt::Display;

use recurra_tensor::{
    Element, Input, Parameters, Random, RecurrentWeights, Tape, Var, Window, step,
};

use super::cell::{Cell, CellSize, CellState, declare, initialize_uniform};
use crate::CellOptions;

const N_GATES: usize = 3;

/// A GRU layer (Cho et al. 2014), with the reset gate applied after the recurrent product as in cuDNN and PyTorch, so that
/// weights can be exchanged.
///
/// Forward:
///
/// ```text
/// r = σ(W_r·x_t + b_ir + U_r·h_{t−1} + b_hr)
/// z = σ(W_z·x_t + b_iz + U_z·h_{t−1} + b_hz)
/// m = U_n·h_{t−1} + b_hn
/// n = tanh(W_n·x_t + b_in + r ⊙ m)
/// h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}
/// ```
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t:
///
/// ```text
/// δa_n = δh ⊙ (1 − z) ⊙ (1 − n²)        δm = δa_n ⊙ r
/// δa_r = δa_n ⊙ m ⊙ r ⊙ (1 − r)         δa_z = δh ⊙ (h_{t−1} − n) ⊙ z ⊙ (1 − z)
/// δh_{t−1} = δh ⊙ z + U_rᵀ·δa_r + U_zᵀ·δa_z + U_nᵀ·δm
/// ```
///
/// Weight gradients are Σ_t δa·x_tᵀ and Σ_t (δa_r, δa_z, δm)·h_{t−1}ᵀ, done for all t at once after the sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gru {
    weights: RecurrentWeights,
    hidden_size: usize,
}

impl Gru {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: impl Display,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        Self {
            weights: declare(parameters, layer, N_GATES, inputs, hidden_size, options),
            hidden_size,
        }
    }
}

impl Cell for Gru {
    const PARTS: &'static [&'static str] = &["h"];
    const OPTIONS: &'static [&'static str] = &["weight_dropout", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, _: &CellOptions) -> CellSize {
        CellSize::of_gates(N_GATES, inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        Some((step::CellKind::Gru, self.weights))
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
        tape.gru(x, self.weights, window, state.slices())
    }
}
