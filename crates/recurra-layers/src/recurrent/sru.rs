//! Simple recurrent unit.

use recurra_tensor::{
    Element, Input, Parameters, Random, ScanCell, ScanWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::scan;
use crate::CellOptions;

/// An SRU layer (Lei et al. 2018): gates from the input and from each unit's own memory, and a highway past it.
///
/// Forward, with a = W·x_t cut into blocks of H rows:
///
/// ```text
/// f = σ(a_f + v_f ⊙ c_{t−1} + b_f)    r = σ(a_r + v_r ⊙ c_{t−1} + b_r)
/// c_t = f ⊙ c_{t−1} + (1 − f) ⊙ a_u
/// h_t = r ⊙ c_t + (1 − r) ⊙ α·x_t
/// ```
///
/// where E ≠ H, x_t in the last line is a fourth block of products. α = √(1 + 2·e^(b_r at the start)) lets values pass as large
/// as they came.
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t and δc that of c_t:
///
/// ```text
/// δc ← δc + δh ⊙ r                                  δa_u = δc ⊙ (1 − f)
/// δa_f = δc ⊙ (c_{t−1} − a_u) ⊙ f ⊙ (1 − f)         δa_r = δh ⊙ (c_t − α·x_t) ⊙ r ⊙ (1 − r)
/// δc_{t−1} = δc ⊙ f + δa_f ⊙ v_f + δa_r ⊙ v_r       δx_t = Wᵀ·δa + δh ⊙ (1 − r)·α
/// δW = Σ_t δa·x_tᵀ        δb = Σ_t δa               δv = Σ_t δa ⊙ c_{t−1}
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sru {
    scan: ScanCell,
    weights: ScanWeights,
    inputs: usize,
    hidden_size: usize,
    /// b_f at the start, by default 0.
    forget_bias: f32,
    /// b_r at the start, by default 0; below it, more of x passes.
    highway_bias: f32,
}

/// Places of f and r among the gates that have a bias.
const BIAS_F: usize = 0;
const BIAS_R: usize = 1;

fn scan_of(inputs: usize, hidden: usize, options: &CellOptions) -> ScanCell {
    let scale = (1.0 + 2.0 * options.highway_bias.unwrap_or(0.0).exp()).sqrt();
    ScanCell::Sru { scale, is_projected: inputs != hidden }
}

impl Sru {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let scan = scan_of(inputs, hidden_size, options);
        Self {
            scan,
            weights: scan::declare(parameters, layer, scan, inputs, hidden_size),
            inputs,
            hidden_size,
            forget_bias: options.forget_bias.unwrap_or(0.0),
            highway_bias: options.highway_bias.unwrap_or(0.0),
        }
    }
}

impl Cell for Sru {
    const PARTS: &'static [&'static str] = &["c"];
    const OPTIONS: &'static [&'static str] = &["forget_bias", "highway_bias", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        scan::size(scan_of(inputs, hidden, options), inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// W from U(−√(3/E), √(3/E)), so that values keep their variance, and v from U(−√3, √3); those of f and r times √½, because
    /// their sums have two parts. Biases are what they are said to be.
    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        let Self { weights, hidden_size: hidden, .. } = *self;
        let half = E::from_f64(0.5_f64.sqrt());
        random
            .fill_uniform(parameters.value_mut(weights.weight), (3.0 / self.inputs as f64).sqrt());
        let of_gates = hidden * self.inputs..3 * hidden * self.inputs;
        parameters.value_mut(weights.weight)[of_gates].iter_mut().for_each(|w| *w *= half);
        if let Some(vectors) = weights.vectors {
            random.fill_uniform(parameters.value_mut(vectors), 1.5_f64.sqrt());
        }
        parameters.value_mut(weights.bias).fill(E::ZERO);
        scan::shift_bias(parameters, &weights, hidden, BIAS_F, self.forget_bias);
        scan::shift_bias(parameters, &weights, hidden, BIAS_R, self.highway_bias);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let [c] = state.slices();
        tape.scan(self.scan, x, self.weights, window, c)
    }
}
