//! What both blocks of xLSTM are made of (Beck et al. 2024), and how their weights begin.

use recurra_tensor::activation::Function;
use recurra_tensor::norm::{Kind, Norm};
use recurra_tensor::{Element, ParameterId, Parameters, Random, Tape, Var, Window};

use crate::CellOptions;

/// K: steps that the convolution sees.
pub(super) const TAPS: usize = 4;
/// ε of the norms.
const EPSILON: f32 = 1e-5;

/// The parameters of a causal convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Convolution {
    /// (C, 1, K)
    pub weight: ParameterId,
    /// (C)
    pub bias: ParameterId,
}

impl Convolution {
    pub(super) fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: impl Fn(&str) -> String,
        cols: usize,
    ) -> Self {
        Self {
            weight: parameters.declare(&name("conv.weight"), &[cols, 1, TAPS]),
            bias: parameters.declare(&name("conv.bias"), &[cols]),
        }
    }

    /// As PyTorch's `Conv1d` begins: U(±1/√K).
    pub(super) fn initialize<E: Element>(
        self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
    ) {
        for id in [self.weight, self.bias] {
            random.fill_uniform(parameters.value_mut(id), 1.0 / (TAPS as f64).sqrt());
        }
    }

    /// silu(conv(x)); `before` as [`Tape::causal_convolution`] has it.
    pub(super) fn forward<E: Element>(
        self,
        tape: &mut Tape<'_, E>,
        x: Var,
        window: Window,
        before: &mut [E],
    ) -> Var {
        let c = tape.causal_convolution(x, self.weight, self.bias, window, before);
        tape.activation(c, Function::Silu)
    }
}

/// A: the heads that were asked for, which a network has only if they divide H; by default four where they do, else one.
pub(super) fn heads_of(hidden: usize, options: &CellOptions) -> usize {
    options.heads.unwrap_or(if hidden.is_multiple_of(4) { 4 } else { 1 }).max(1)
}

/// Layer norm of a row, or of each of its groups.
pub(super) fn layer_norm(groups: usize) -> Norm {
    Norm { kind: Kind::Layer, groups, epsilon: EPSILON }
}

/// Draws a weight uniformly with the given standard deviation.
pub(super) fn draw<E: Element>(
    parameters: &mut Parameters<E>,
    random: &mut Random,
    id: ParameterId,
    deviation: f64,
) {
    random.fill_uniform(parameters.value_mut(id), deviation * 3.0_f64.sqrt());
}

/// Sets all of a parameter to one number.
pub(super) fn fill<E: Element>(parameters: &mut Parameters<E>, id: ParameterId, value: f64) {
    parameters.value_mut(id).fill(E::from_f64(value));
}

/// √(2 / 5n): the deviation of weights that read n numbers (Nguyen and Salazar 2019).
pub(super) fn small(inputs: usize) -> f64 {
    (2.0 / (5.0 * inputs as f64)).sqrt()
}

/// 2 / (L·√n): the deviation of weights that lead back to the residual stream (Wang and Komatsuzaki 2021), for L = 6 blocks,
/// because a block does not know how many there are.
pub(super) fn small_on_the_way_back(inputs: usize) -> f64 {
    2.0 / (6.0 * (inputs as f64).sqrt())
}

/// n values from `first` to `last`.
pub(super) fn evenly<E: Element>(values: &mut [E], first: f64, last: f64) {
    let steps = values.len().max(2) - 1;
    for (idx, value) in values.iter_mut().enumerate() {
        *value = E::from_f64(first + (last - first) * idx as f64 / steps as f64);
    }
}
