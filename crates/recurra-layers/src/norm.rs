//! Normalised rows.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::norm::{self, Kind};
use recurra_tensor::{Element, ParameterId, Parameters, Tape, Var};
use serde::{Deserialize, Serialize};

/// ε of every norm, as GPT-2 and LLaMA have it.
const EPSILON: f32 = 1e-5;

/// By what rows are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Their root mean square (Zhang and Sennrich 2019), with a gain.
    Rms,
    /// Their deviation from their mean (Ba, Kiros and Hinton 2016), with a gain and a bias.
    Layer,
}

/// Names of a kind in a config and on the command line.
macro_rules! names {
    ($kind:ident { $($variant:ident: $name:literal),* }) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($kind::$variant => $name,)*
                })
            }
        }

        impl FromStr for $kind {
            /// What was expected.
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($name => Ok($kind::$variant),)*
                    _ => Err(format!("`{word}` is none of {}", [$($name),*].join(", "))),
                }
            }
        }
    };
}
pub(crate) use names;

names!(NormKind { Rms: "rms", Layer: "layer" });

/// A norm of rows of C values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    kind: NormKind,
    /// (C)
    gain: ParameterId,
    /// (C), with layer norm.
    bias: Option<ParameterId>,
}

impl Norm {
    /// Declares `<name>.weight` (C) and, with layer norm, `<name>.bias` (C).
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        name: &str,
        kind: NormKind,
        width: usize,
    ) -> Self {
        let gain = parameters.declare(&format!("{name}.weight"), &[width]);
        let bias = (kind == NormKind::Layer)
            .then(|| parameters.declare(&format!("{name}.bias"), &[width]));
        Self { kind, gain, bias }
    }

    /// How many numbers it learns.
    pub fn n_parameters(kind: NormKind, width: usize) -> u128 {
        match kind {
            NormKind::Rms => width as u128,
            NormKind::Layer => 2 * width as u128,
        }
    }

    /// Sets the gain to `gain` and the bias to 0.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, gain: f64) {
        parameters.value_mut(self.gain).fill(E::from_f64(gain));
        if let Some(bias) = self.bias {
            parameters.value_mut(bias).fill(E::ZERO);
        }
    }

    /// Normalises every row.
    ///
    /// # Shapes
    /// `x` (N, C) → (N, C).
    pub fn forward<E: Element>(&self, tape: &mut Tape<'_, E>, x: Var) -> Var {
        let kind = match self.kind {
            NormKind::Rms => Kind::Rms,
            NormKind::Layer => Kind::Layer,
        };
        let norm = norm::Norm { kind, groups: 1, epsilon: EPSILON };
        tape.norm(x, norm, self.gain, self.bias)
    }
}
