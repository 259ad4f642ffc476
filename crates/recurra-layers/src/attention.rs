//! Causal attention with several heads.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::attention::{self, Positions};
use recurra_tensor::{Element, Parameters, Random, Role, Tape, Var, Window};
use serde::{Deserialize, Serialize};

use crate::linear::Linear;
use crate::norm::names;

/// How positions are told from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionKind {
    /// Queries and keys are rotated (Su et al. 2021): only distances matter, and a position sees the `context` positions up
    /// to its own for ever.
    Rotary,
    /// A learned vector for each position is added to the embedding (as GPT-2 has it): after `context` positions the memory
    /// is emptied and they begin again at the first.
    Learned,
}

names!(PositionKind { Rotary: "rotary", Learned: "learned" });

/// softmax(q·kᵀ / √D)·v for each of A heads of D = C / A values, over the positions that a position sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// To queries, keys and values.
    qkv: Linear,
    output: Linear,
    sizes: attention::Attention,
}

impl Attention {
    /// Declares `<name>.qkv` (3·C, C), queries, keys and values below each other, and `<name>.output` (C, C).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: &str,
        width: usize,
        sizes: attention::Attention,
        has_bias: bool,
    ) -> Self {
        let mut part = |part: &str, outputs| {
            let name = format!("{name}.{part}");
            Linear::declare(parameters, &name, width, outputs, has_bias)
        };
        let (qkv, output) = (part("qkv", 3 * width), part("output", width));
        parameters.set_role(qkv.weight, Role::Matrix { parts: 3 });
        Self { qkv, output, sizes }
    }

    /// How many numbers it learns.
    pub fn n_parameters(width: usize, has_bias: bool) -> u128 {
        Linear::n_parameters(width, 3 * width, has_bias)
            + Linear::n_parameters(width, width, has_bias)
    }

    /// Draws the weights, those that add to the residual link smaller by `factor`.
    pub(crate) fn initialize<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        random: &mut Random,
        factor: f64,
    ) {
        self.qkv.draw_weight(parameters, random, 1.0);
        self.output.draw_weight(parameters, random, factor);
    }

    /// Attends; `memory` is carried on.
    ///
    /// # Shapes
    /// `x` (T·B, C); `memory`: keys and values (B, context·C), lengths (B) → (T·B, C).
    pub fn forward<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: Var,
        window: Window,
        memory: [&mut [E]; 3],
    ) -> Var {
        let qkv = self.qkv.forward(tape, x); // (T·B, 3C)
        let seen = tape.attention(qkv, self.sizes, window, memory); // (T·B, C)
        self.output.forward(tape, seen)
    }

    /// Heads and how far they see.
    pub(crate) fn sizes(&self) -> attention::Attention {
        self.sizes
    }
}

impl From<PositionKind> for Positions {
    fn from(kind: PositionKind) -> Self {
        match kind {
            PositionKind::Rotary => Positions::Rotary,
            PositionKind::Learned => Positions::Learned,
        }
    }
}
