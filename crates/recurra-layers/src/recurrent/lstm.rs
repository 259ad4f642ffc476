//! Long short-term memory.

use std::fmt::Display;

use recurra_tensor::{
    Element, Input, LstmForm, Parameters, Random, RecurrentWeights, Tape, Var, Window, step,
};

use super::cell::{Cell, CellSize, CellState, declare, initialize_uniform};
use crate::CellOptions;

const N_GATES: usize = 4;

/// An LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000).
///
/// Forward, with a = W·x_t + b_ih + U·h_{t−1} + b_hh cut into four blocks of H rows:
///
/// ```text
/// i = σ(a_i)    f = σ(a_f)    g = tanh(a_g)    o = σ(a_o)
/// c_t = f ⊙ c_{t−1} + i ⊙ g
/// h_t = o ⊙ tanh(c_t)
/// ```
///
/// Backward through time, from t = T to 1, with δh the gradient of h_t (from above and from t + 1) and δc that of c_t:
///
/// ```text
/// δc ← δc + δh ⊙ o ⊙ (1 − tanh²(c_t))
/// δa_i = δc ⊙ g ⊙ i ⊙ (1 − i)           δa_f = δc ⊙ c_{t−1} ⊙ f ⊙ (1 − f)
/// δa_g = δc ⊙ i ⊙ (1 − g²)              δa_o = δh ⊙ tanh(c_t) ⊙ o ⊙ (1 − o)
/// δh_{t−1} = Uᵀ·δa    δc_{t−1} = δc ⊙ f    δx_t = Wᵀ·δa
/// δW = Σ_t δa·x_tᵀ    δU = Σ_t δa·h_{t−1}ᵀ    δb = Σ_t δa
/// ```
///
/// The last line is done for all t at once after the sweep.
///
/// Melis, Dyer and Blunsom (2018) add two options. `coupled`: no more comes in than is forgotten, i = min(σ(a_i), 1 − f), where
/// the smaller one has the gradient. `state_dropout`: U sees h_{t−1} ⊙ m with one m for a whole window, and its gradient too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lstm {
    weights: RecurrentWeights,
    form: LstmForm,
    hidden_size: usize,
    /// Added to the bias of the forget gate at the start, by default 1, which helps to remember (Jozefowicz et al. 2015).
    forget_bias: f32,
}

impl Lstm {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: impl Display,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let weights = declare(parameters, layer, N_GATES, inputs, hidden_size, options);
        let forget_bias = options.forget_bias.unwrap_or(1.0);
        Self { weights, form: form_of(options), hidden_size, forget_bias }
    }

    /// The names of the layer's parameters.
    pub fn weights(&self) -> &RecurrentWeights {
        &self.weights
    }
}

/// What the options say of the equations.
pub(crate) fn form_of(options: &CellOptions) -> LstmForm {
    LstmForm {
        is_coupled: options.coupled.unwrap_or(false),
        state_dropout: options.state_dropout.unwrap_or(0.0),
    }
}

/// Adds to the biases of the forget gates.
pub(crate) fn add_forget_bias<E: Element>(
    parameters: &mut Parameters<E>,
    weights: &RecurrentWeights,
    hidden: usize,
    forget_bias: f32,
) {
    let forget_bias = E::from_f64(f64::from(forget_bias));
    for bias in &mut parameters.value_mut(weights.bias_ih)[hidden..2 * hidden] {
        *bias += forget_bias;
    }
}

impl Cell for Lstm {
    const PARTS: &'static [&'static str] = &["h", "c"];
    const OPTIONS: &'static [&'static str] =
        &["forget_bias", "weight_dropout", "coupled", "state_dropout", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, _: &CellOptions) -> CellSize {
        CellSize::of_gates(N_GATES, inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        let coupled = self.form.is_coupled;
        let kind = if coupled { step::CellKind::CoupledLstm } else { step::CellKind::Lstm };
        Some((kind, self.weights))
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        initialize_uniform(parameters, &self.weights, self.hidden_size, random);
        add_forget_bias(parameters, &self.weights, self.hidden_size, self.forget_bias);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        tape.lstm(x, self.weights, self.form, window, state.slices())
    }
}
