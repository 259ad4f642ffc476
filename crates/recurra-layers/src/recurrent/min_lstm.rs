//! Minimal long short-term memory.

use recurra_tensor::{
    Element, Input, Parameters, Random, ScanCell, ScanWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::scan;
use crate::CellOptions;

/// A minLSTM layer (Feng et al. 2024): an LSTM whose gates see only the input and share one unit between old and new, so that
/// all products are made for all t at once and nothing grows with t.
///
/// Forward, with a = W·x_t + b cut into three blocks of H rows:
///
/// ```text
/// f = σ(a_f)    i = σ(a_i)    g = g(a_g)
/// f' = f / (f + i)    i' = i / (f + i)
/// h_t = f' ⊙ h_{t−1} + i' ⊙ g
/// ```
///
/// where g(a) = a + ½ for a ≥ 0 and σ(a) below, as in the paper's language models; [`MinGru`](super::MinGru) says why, and what
/// those have beside the cell.
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t:
///
/// ```text
/// δa_f = δh ⊙ (h_{t−1} − g) ⊙ f' ⊙ i' ⊙ (1 − f)        δa_g = δh ⊙ i' ⊙ g'(a_g)
/// δa_i = δh ⊙ (g − h_{t−1}) ⊙ f' ⊙ i' ⊙ (1 − i)        δh_{t−1} = δh ⊙ f'
/// δW = Σ_t δa·x_tᵀ        δb = Σ_t δa        δx_t = Wᵀ·δa
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinLstm {
    weights: ScanWeights,
    inputs: usize,
    hidden_size: usize,
    /// Added to the bias of f at the start, by default 0: h is kept for longer.
    forget_bias: f32,
}

const SCAN: ScanCell = ScanCell::MinLstm;
const GATE_F: usize = 0;

impl MinLstm {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let weights = scan::declare(parameters, layer, SCAN, inputs, hidden_size);
        Self { weights, inputs, hidden_size, forget_bias: options.forget_bias.unwrap_or(0.0) }
    }
}

impl Cell for MinLstm {
    const PARTS: &'static [&'static str] = &["h"];
    const OPTIONS: &'static [&'static str] = &["forget_bias", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, _: &CellOptions) -> CellSize {
        scan::size(SCAN, inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        scan::initialize_uniform(parameters, &self.weights, self.inputs, random);
        let keep = self.forget_bias;
        scan::shift_bias(parameters, &self.weights, self.hidden_size, GATE_F, keep);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let [h] = state.slices();
        tape.scan(SCAN, x, self.weights, window, h)
    }
}
