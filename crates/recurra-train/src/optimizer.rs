//! Which optimizer, and its numbers. The arithmetic (norm, clip, update and average in one pass) is the engine's.

use std::fmt;

use recurra_tensor::{Method, Moments, Optimizer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, check_range, out_of_range};
use crate::schedule::Schedule;

/// An optimizer and its settings; the learning rate comes from the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimizerSettings {
    /// The formula, and the numbers that no other has.
    #[serde(flatten)]
    pub method: MethodSettings,
    /// λ, how much weights are pulled to zero.
    #[serde(default)]
    pub weight_decay: f64,
    /// Whether weight decay leaves biases, norms and other vectors alone.
    #[serde(default)]
    pub spare_vectors: bool,
}

/// The formula of an optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MethodSettings {
    /// v ← μ v + g + λ θ, θ ← θ − η v (Polyak, 1964; as PyTorch writes it).
    Sgd {
        /// μ; 0 keeps no v.
        #[serde(default)]
        momentum: f64,
    },
    /// Adam, with λ θ added to the gradient (Kingma and Ba, 2015; as PyTorch writes it).
    Adam(MomentSettings),
    /// Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019).
    #[serde(rename = "adamw")]
    AdamW(MomentSettings),
    /// Muon for the matrices of the layers between, gate by gate, and AdamW for embedding, output and vectors (Jordan and
    /// others, 2024). Both follow one learning rate (Liu and others, 2025).
    Muon {
        /// μ of the matrices.
        #[serde(default = "muon_momentum")]
        momentum: f64,
        /// The numbers of AdamW.
        #[serde(flatten)]
        others: MomentSettings,
    },
}

/// The numbers of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MomentSettings {
    /// Decay of the mean of the gradient; 0 keeps none.
    #[serde(default = "beta1")]
    pub beta1: f64,
    /// Decay of the mean of its square.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// Added to the root.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
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

fn muon_momentum() -> f64 {
    0.95
}

impl Default for MomentSettings {
    /// β = (0.9, 0.99).
    fn default() -> MomentSettings {
        MomentSettings { beta1: beta1(), beta2: beta2(), epsilon: epsilon() }
    }
}

impl OptimizerSettings {
    /// A formula without weight decay.
    pub fn new(method: MethodSettings) -> OptimizerSettings {
        OptimizerSettings { method, weight_decay: 0.0, spare_vectors: false }
    }

    /// Plain gradient descent.
    pub fn sgd() -> OptimizerSettings {
        OptimizerSettings::new(MethodSettings::Sgd { momentum: 0.0 })
    }

    /// Adam with β = (0.9, 0.99) and no decay.
    pub fn adam() -> OptimizerSettings {
        OptimizerSettings::new(MethodSettings::Adam(MomentSettings::default()))
    }

    /// AdamW with β = (0.9, 0.99) and no decay.
    pub fn adamw() -> OptimizerSettings {
        OptimizerSettings::new(MethodSettings::AdamW(MomentSettings::default()))
    }

    /// Muon with μ = 0.95, and AdamW as above.
    pub fn muon() -> OptimizerSettings {
        let others = MomentSettings::default();
        OptimizerSettings::new(MethodSettings::Muon { momentum: muon_momentum(), others })
    }

    /// How many numbers it keeps of each parameter.
    pub fn n_moments(&self) -> usize {
        Optimizer::from(*self).n_moments()
    }

    /// Whether it is stochastic gradient descent, which takes other rates than those that divide by the size of gradients.
    pub fn is_sgd(&self) -> bool {
        matches!(self.method, MethodSettings::Sgd { .. })
    }

    /// Refuses a schedule of β₁ unless a first moment is kept of all parameters.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the schedule.
    pub fn expect_to_follow(&self, schedule: &Schedule) -> Result<(), Error> {
        let has_beta1 = match self.method {
            MethodSettings::Adam(moments) | MethodSettings::AdamW(moments) => moments.beta1 > 0.0,
            MethodSettings::Sgd { .. } | MethodSettings::Muon { .. } => false,
        };
        if has_beta1 || !schedule.has_beta1() {
            return Ok(());
        }
        Err(out_of_range(
            "schedule",
            schedule,
            format!(
                "one without β₁ (`@`): only adam and adamw with a β₁ above 0 follow it, not {self}"
            ),
        ))
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first number that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        let below_one = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(out_of_range(name, value, "a number from 0 up to, but not including, 1")),
        };
        let check_moments = |moments: MomentSettings| {
            below_one("beta1", moments.beta1)
                .and(below_one("beta2", moments.beta2))
                .and(check_range("epsilon", moments.epsilon, 1e-30, 1.0))
        };
        match self.method {
            MethodSettings::Sgd { momentum } => below_one("momentum", momentum)?,
            MethodSettings::Adam(moments) | MethodSettings::AdamW(moments) => {
                check_moments(moments)?;
            }
            MethodSettings::Muon { momentum, others } => {
                below_one("momentum", momentum).and(check_moments(others))?;
            }
        }
        check_range("weight_decay", self.weight_decay, 0.0, 1e3)
    }
}

impl From<MomentSettings> for Moments {
    fn from(MomentSettings { beta1, beta2, epsilon }: MomentSettings) -> Moments {
        Moments { beta1, beta2, epsilon }
    }
}

impl From<OptimizerSettings> for Optimizer {
    fn from(settings: OptimizerSettings) -> Optimizer {
        let OptimizerSettings { method, weight_decay, spare_vectors } = settings;
        let method = match method {
            MethodSettings::Sgd { momentum } => Method::Sgd { momentum },
            MethodSettings::Adam(moments) => Method::Adam(moments.into()),
            MethodSettings::AdamW(moments) => Method::AdamW(moments.into()),
            MethodSettings::Muon { momentum, others } => {
                Method::Muon { momentum, others: others.into() }
            }
        };
        Optimizer { method, weight_decay, spares_vectors: spare_vectors }
    }
}

impl fmt::Display for OptimizerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let betas = |moments: &MomentSettings| {
            let MomentSettings { beta1, beta2, epsilon } = moments;
            let epsilon =
                if *epsilon == self::epsilon() { "".to_owned() } else { format!(", ε {epsilon}") };
            format!("β {beta1} and {beta2}{epsilon}")
        };
        match &self.method {
            MethodSettings::Sgd { momentum } => write!(f, "sgd (momentum {momentum}")?,
            MethodSettings::Adam(moments) => write!(f, "adam ({}", betas(moments))?,
            MethodSettings::AdamW(moments) => write!(f, "adamw ({}", betas(moments))?,
            MethodSettings::Muon { momentum, others } => {
                write!(f, "muon (momentum {momentum}, {}", betas(others))?;
            }
        }
        let spared = if self.spare_vectors { " of matrices" } else { "" };
        write!(f, ", weight decay {}{spared})", self.weight_decay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every formula, with the name that it is stored by.
    fn all() -> [(&'static str, OptimizerSettings); 4] {
        [
            ("sgd", OptimizerSettings::sgd()),
            ("adam", OptimizerSettings::adam()),
            ("adamw", OptimizerSettings::adamw()),
            ("muon", OptimizerSettings::muon()),
        ]
    }

    #[test]
    fn stored_forms_read_back() {
        for (name, settings) in all() {
            assert!(settings.to_string().starts_with(&format!("{name} (")), "{settings}");
            let decayed = OptimizerSettings { weight_decay: 0.1, spare_vectors: true, ..settings };
            for settings in [settings, decayed] {
                let json = serde_json::to_string(&settings).unwrap();
                assert_eq!(
                    serde_json::from_str::<OptimizerSettings>(&json).unwrap(),
                    settings,
                    "{json}"
                );
            }
            let json = format!(r#"{{"kind":"{name}"}}"#);
            assert_eq!(serde_json::from_str::<OptimizerSettings>(&json).unwrap(), settings);
        }
    }

    #[test]
    fn settings_of_a_run_from_before_vectors_could_be_spared_still_load() {
        let json = r#"{"kind":"adamw","beta1":0.8,"beta2":0.95,"epsilon":1e-6,"weight_decay":0.1}"#;
        let moments = MomentSettings { beta1: 0.8, beta2: 0.95, epsilon: 1e-6 };
        let expected = OptimizerSettings {
            weight_decay: 0.1,
            ..OptimizerSettings::new(MethodSettings::AdamW(moments))
        };
        assert_eq!(serde_json::from_str::<OptimizerSettings>(json).unwrap(), expected);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        all().into_iter().for_each(|(_, settings)| settings.check().unwrap());
        let sgd = |momentum| OptimizerSettings::new(MethodSettings::Sgd { momentum });
        assert_eq!(
            sgd(1.0).check().unwrap_err().to_string(),
            "`momentum` is 1, expected a number from 0 up to, but not including, 1"
        );
        assert!(sgd(f64::NAN).check().is_err());
        let moments = MomentSettings { beta1: 1.0, ..MomentSettings::default() };
        for method in [
            MethodSettings::Adam(moments),
            MethodSettings::AdamW(moments),
            MethodSettings::Muon { momentum: 0.9, others: moments },
        ] {
            assert!(OptimizerSettings::new(method).check().is_err());
        }
        assert!(
            OptimizerSettings { weight_decay: -1.0, ..OptimizerSettings::muon() }.check().is_err()
        );
    }
}
