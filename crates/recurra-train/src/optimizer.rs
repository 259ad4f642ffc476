//! Which optimizer, and its numbers. The arithmetic (norm, clip and update in one pass) is the engine's.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::{Method, Moments, Optimizer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, unknown_name};

/// An optimizer and its settings; the learning rate comes from the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OptimizerSettings {
    /// v ← μ v + g + λ θ, θ ← θ − η v (Polyak, 1964; as PyTorch writes it).
    Sgd {
        /// μ; 0 keeps no v.
        #[serde(default)]
        momentum: f64,
        /// λ.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the mean of the gradient.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the mean of its square.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// λ.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn beta1() -> f64 {
    0.9
}

/// Language models do better with a shorter memory of squares than the paper's 0.999.
fn beta2() -> f64 {
    0.99
}

fn epsilon() -> f64 {
    1e-8
}

impl OptimizerSettings {
    /// Plain gradient descent.
    pub fn sgd() -> OptimizerSettings {
        OptimizerSettings::Sgd { momentum: 0.0, weight_decay: 0.0 }
    }

    /// AdamW with β = (0.9, 0.99) and no decay.
    pub fn adamw() -> OptimizerSettings {
        OptimizerSettings::AdamW {
            beta1: beta1(),
            beta2: beta2(),
            epsilon: epsilon(),
            weight_decay: 0.0,
        }
    }

    /// How many numbers it keeps of each parameter.
    pub fn n_moments(&self) -> usize {
        Optimizer::from(*self).n_moments()
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first number that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        let below_one = |name: &str, value: f64| check_range(name, value, 0.0, 0.999_999);
        match *self {
            OptimizerSettings::Sgd { momentum, weight_decay } => below_one("momentum", momentum)
                .and(check_range("weight_decay", weight_decay, 0.0, 1e3)),
            OptimizerSettings::AdamW { beta1, beta2, epsilon, weight_decay } => {
                below_one("beta1", beta1)
                    .and(below_one("beta2", beta2))
                    .and(check_range("epsilon", epsilon, 1e-30, 1.0))
                    .and(check_range("weight_decay", weight_decay, 0.0, 1e3))
            }
        }
    }
}

fn check_range(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    match value >= low && value <= high {
        true => Ok(()),
        false => Err(Error::OutOfRange {
            name: name.to_owned(),
            value: value.to_string(),
            expected: format!("a number from {low} to {high}"),
        }),
    }
}

impl From<OptimizerSettings> for Optimizer {
    fn from(settings: OptimizerSettings) -> Optimizer {
        let (method, weight_decay) = match settings {
            OptimizerSettings::Sgd { momentum, weight_decay } => {
                (Method::Sgd { momentum }, weight_decay)
            }
            OptimizerSettings::AdamW { beta1, beta2, epsilon, weight_decay } => {
                (Method::AdamW(Moments { beta1, beta2, epsilon }), weight_decay)
            }
        };
        Optimizer { weight_decay, ..Optimizer::new(method) }
    }
}

impl fmt::Display for OptimizerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptimizerSettings::Sgd { momentum, weight_decay } => {
                write!(f, "sgd (momentum {momentum}, weight decay {weight_decay})")
            }
            OptimizerSettings::AdamW { beta1, beta2, weight_decay, .. } => {
                write!(f, "adamw (β {beta1} and {beta2}, weight decay {weight_decay})")
            }
        }
    }
}

/// `sgd` or `adamw`, with default numbers.
impl FromStr for OptimizerSettings {
    type Err = Error;

    fn from_str(name: &str) -> Result<OptimizerSettings, Error> {
        match name {
            "sgd" => Ok(OptimizerSettings::sgd()),
            "adamw" => Ok(OptimizerSettings::adamw()),
            _ => Err(unknown_name("optimizer", name, &["sgd", "adamw"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_forms_read_back() {
        assert_eq!("sgd".parse::<OptimizerSettings>().unwrap(), OptimizerSettings::sgd());
        assert_eq!(
            "adam".parse::<OptimizerSettings>().unwrap_err().hint().unwrap(),
            "did you mean `adamw`? known: sgd, adamw"
        );
        for settings in [OptimizerSettings::sgd(), OptimizerSettings::adamw()] {
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(
                serde_json::from_str::<OptimizerSettings>(&json).unwrap(),
                settings,
                "{json}"
            );
        }
        assert_eq!(
            serde_json::from_str::<OptimizerSettings>(r#"{"kind":"adamw"}"#).unwrap(),
            OptimizerSettings::adamw()
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        OptimizerSettings::adamw().check().unwrap();
        let settings = OptimizerSettings::Sgd { momentum: 1.0, weight_decay: 0.0 };
        assert_eq!(
            settings.check().unwrap_err().to_string(),
            "`momentum` is 1, expected a number from 0 to 0.999999"
        );
        assert!(OptimizerSettings::Sgd { momentum: f64::NAN, weight_decay: 0.0 }.check().is_err());
    }
}
