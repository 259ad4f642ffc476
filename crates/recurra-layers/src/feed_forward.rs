//! The part of a block that looks at each position for itself.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::activation::Function;
use recurra_tensor::{Element, Parameters, Random, Role, Tape, Var};
use serde::{Deserialize, Serialize};

use crate::linear::Linear;
use crate::norm::names;

/// What stands between the two maps of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationKind {
    /// SiLU of one half times the other half (Shazeer 2020).
    Swiglu,
    /// x·Φ(x) (Hendrycks and Gimpel 2016), approximated with tanh as GPT-2 has it.
    Gelu,
}

impl ActivationKind {
    /// Values that the first map makes for one that the second reads.
    fn n_halves(self) -> usize {
        match self {
            ActivationKind::Swiglu => 2,
            ActivationKind::Gelu => 1,
        }
    }
}

names!(ActivationKind { Swiglu: "swiglu", Gelu: "gelu" });

/// y = W₂·φ(W₁·x), F values wide between, φ with or without a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedForward {
    input: Linear,
    output: Linear,
    activation: ActivationKind,
}

impl FeedForward {
    /// Declares `<name>.input` (F, C), with SwiGLU (2·F, C), what goes through SiLU first, and `<name>.output` (C, F).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: &str,
        width: usize,
        inner: usize,
        activation: ActivationKind,
        has_bias: bool,
    ) -> Self {
        let mut part = |part: &str, inputs, outputs| {
            let name = format!("{name}.{part}");
            Linear::declare(parameters, &name, inputs, outputs, has_bias)
        };
        let n_halves = activation.n_halves();
        let input = part("input", width, n_halves * inner);
        let output = part("output", inner, width);
        parameters.set_role(input.weight, Role::Matrix { parts: n_halves });
        Self { input, output, activation }
    }

    /// How many numbers it learns.
    pub fn n_parameters(
        width: usize,
        inner: usize,
        activation: ActivationKind,
        has_bias: bool,
    ) -> u128 {
        Linear::n_parameters(width, activation.n_halves() * inner, has_bias)
            + Linear::n_parameters(inner, width, has_bias)
    }

    /// Draws the weights, those that add to the residual link smaller by `factor`.
    pub(crate) fn initialize<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
        factor: f64,
    ) {
        self.input.draw_weight(parameters, random, 1.0);
        self.output.draw_weight(parameters, random, factor);
    }

    /// Maps every row.
    ///
    /// # Shapes
    /// `x` (N, C) → (N, C).
    pub fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        let inner = self.input.forward(tape, x); // (N, F or 2F)
        let inner = match self.activation {
            ActivationKind::Swiglu => tape.gated(inner, Function::Silu),
            ActivationKind::Gelu => tape.activation(inner, Function::Gelu),
        }; // (N, F)
        self.output.forward(tape, inner)
    }
}
