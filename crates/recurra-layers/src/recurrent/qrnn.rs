//! Quasi-recurrent network.

use recurra_tensor::{
    Element, Input, Parameters, Random, ScanCell, ScanWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::scan;
use crate::CellOptions;

/// A QRNN layer (Bradbury et al. 2017) with fo-pooling: a convolution over the last k inputs makes the gates, and each unit
/// mixes over time by itself.
///
/// Forward, with a = W·(x_t, x_{t−1}, …, x_{t−k+1}) + b cut into three blocks of H rows:
///
/// ```text
/// z = tanh(a_z)    f = σ(a_f)    o = σ(a_o)
/// c_t = f ⊙ c_{t−1} + (1 − f) ⊙ z
/// h_t = o ⊙ c_t
/// ```
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t and δc that of c_t:
///
/// ```text
/// δc ← δc + δh ⊙ o                            δa_z = δc ⊙ (1 − f) ⊙ (1 − z²)
/// δa_f = δc ⊙ (c_{t−1} − z) ⊙ f ⊙ (1 − f)     δa_o = δh ⊙ c_t ⊙ o ⊙ (1 − o)
/// δc_{t−1} = δc ⊙ f
/// δW = Σ_t δa·(x_t, x_{t−1}, …)ᵀ        δb = Σ_t δa        δ(x_t, x_{t−1}, …) = Wᵀ·δa
/// ```
///
/// The state holds c and the last k − 1 inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Qrnn {
    weights: ScanWeights,
    inputs: usize,
    hidden_size: usize,
    /// k, by default 2.
    filter_width: usize,
    /// Added to the bias of f at the start, by default 0: c is kept for longer.
    forget_bias: f32,
}

const SCAN: ScanCell = ScanCell::Qrnn;
const GATE_F: usize = 1;

/// k
fn filter_width(options: &CellOptions) -> usize {
    options.filter_width.unwrap_or(2).max(1)
}

/// Values of c and of the inputs before.
fn widths(inputs: usize, hidden: usize, filter_width: usize) -> Vec<usize> {
    vec![hidden, (filter_width - 1) * inputs]
}

impl Qrnn {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let filter_width = filter_width(options);
        let weights = scan::declare(parameters, layer, SCAN, filter_width * inputs, hidden_size);
        let forget_bias = options.forget_bias.unwrap_or(0.0);
        Self { weights, inputs, hidden_size, filter_width, forget_bias }
    }
}

impl Cell for Qrnn {
    const PARTS: &'static [&'static str] = &["c", "x"];
    const OPTIONS: &'static [&'static str] = &["forget_bias", "filter_width", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        scan::size(SCAN, filter_width(options) * inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn state_widths(inputs: usize, hidden: usize, options: &CellOptions) -> Vec<usize> {
        widths(inputs, hidden, filter_width(options))
    }

    fn part_widths(&self) -> Vec<usize> {
        widths(self.inputs, self.hidden_size, self.filter_width)
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        scan::initialize_uniform(
            parameters,
            &self.weights,
            self.filter_width * self.inputs,
            random,
        );
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
        let [c, before] = state.slices();
        let mut x = tape.read(x.into());
        if self.filter_width > 1 {
            x = tape.unfold(x, window, before); // (T·B, k·E)
        }
        tape.scan(SCAN, x, self.weights, window, c)
    }
}
