//! Minimal gated recurrent unit.

use recurra_tensor::{
    Element, Input, Parameters, Random, ScanCell, ScanWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::scan;
use crate::CellOptions;

/// A minGRU layer (Feng et al. 2024): a GRU whose gates see only the input, so that all products are made for all t at once.
///
/// Forward, with a = W·x_t + b cut into two blocks of H rows:
///
/// ```text
/// z = σ(a_z)    g = g(a_g)
/// h_t = (1 − z) ⊙ h_{t−1} + z ⊙ g
/// ```
///
/// where g(a) = a + ½ for a ≥ 0 and σ(a) below: the form of the paper's language models, in which h stays positive. There it
/// makes logarithms possible for a parallel scan; here the scan goes step by step and takes none.
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t:
///
/// ```text
/// δa_z = δh ⊙ (g − h_{t−1}) ⊙ z ⊙ (1 − z)        δa_g = δh ⊙ z ⊙ g'(a_g)
/// δh_{t−1} = δh ⊙ (1 − z)
/// δW = Σ_t δa·x_tᵀ        δb = Σ_t δa        δx_t = Wᵀ·δa
/// ```
///
/// A language model of the paper has more around it in each layer (norms, a convolution over four steps, a feed-forward part,
/// all beside residual links); this is the cell alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinGru {
    weights: ScanWeights,
    inputs: usize,
    hidden_size: usize,
    /// Taken from the bias of z at the start, by default 0: h is kept for longer.
    forget_bias: f32,
}

const SCAN: ScanCell = ScanCell::MinGru;
const GATE_Z: usize = 0;

impl MinGru {
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

impl Cell for MinGru {
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
        let keep = -self.forget_bias;
        scan::shift_bias(parameters, &self.weights, self.hidden_size, GATE_Z, keep);
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
