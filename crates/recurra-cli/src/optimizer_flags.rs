//! The flags that decide how weights follow their gradients.

use clap::{Args, ValueEnum};
use recurra::train::{
    self, Averaging, MethodSettings, MomentSettings, OptimizerSettings, Schedule,
};

use crate::failure::Failure;
use crate::values::{self, Parsed, ValueError};

/// The optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Optimizer {
    /// Stochastic gradient descent, with momentum if asked for.
    Sgd,
    /// Adam with weight decay in the gradient (Kingma and Ba, 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    #[value(name = "adamw")]
    AdamW,
    /// Muon for matrices, AdamW for the rest (Jordan and others, 2024).
    Muon,
}

impl Optimizer {
    /// Whether weight decay goes off the weights, not into the gradient.
    fn decays_weights(self) -> bool {
        matches!(self, Optimizer::AdamW | Optimizer::Muon)
    }
}

/// How weights follow their gradients, and what becomes of them.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct OptimizerFlags {
    /// Optimizer; muon is for the matrices between embedding and output, with adamw for the rest [default: sgd for words and an
    /// lstm or mogrifier and at rates of 0.3 and more, else adamw; adamw where another rate, a schedule or any of its numbers is given]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "sgd|adam|adamw|muon")]
    pub optimizer: Option<Optimizer>,
    /// Highest learning rate
    #[arg(long, value_parser = values::positive, value_name = "F")]
    pub lr: Option<f64>,
    /// Course of the learning rate: constant, step, linear, trapezoid, cosine, one-cycle, plateau or phases, with numbers after
    /// a colon; phases are START,LENGTH=END,... with ~ for half a cosine and @B for Adam's beta1: phases:0.1@0.8,1=1@0.7,9~0
    #[arg(long, value_parser = schedule, value_name = "NAME[:N,...][+warmup:F]")]
    pub schedule: Option<Schedule>,
    /// Momentum of sgd (0) or muon (0.95)
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub momentum: Option<f64>,
    /// Decay of the mean of gradients in adam, adamw and muon (0.9); 0 keeps none
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub beta1: Option<f64>,
    /// Decay of the mean of their squares (0.99)
    #[arg(long, value_parser = values::below_one, value_name = "F")]
    pub beta2: Option<f64>,
    /// Added to the root of that mean (1e-8)
    #[arg(long, value_parser = epsilon, value_name = "F")]
    pub epsilon: Option<f64>,
    /// Weight decay: added to the gradient by sgd and adam, times the learning rate off the weights by adamw and muon
    #[arg(long, value_parser = values::decay, value_name = "F")]
    pub weight_decay: Option<f64>,
    /// Leave biases and norms out of weight decay (--spare-vectors=false: do not)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub spare_vectors: Option<bool>,
    /// Largest norm of the gradient; 0 never clips
    #[arg(long, value_parser = values::clip, value_name = "F")]
    pub clip: Option<f64>,
    /// Average of the weights that becomes the model: none, exponential:DECAY, tail:FROM (a part of the run), or
    /// non-monotone:N (once a validation is worse than the best of all but the last N)
    #[arg(long, value_parser = averaging, value_name = "NAME[:N]")]
    pub averaging: Option<Averaging>,
}

impl OptimizerFlags {
    /// These flags, and where one is not given, what `recipe` says. The numbers of a recipe's optimizer, its rate among them, are
    /// not those of another one.
    pub fn over(self, recipe: OptimizerFlags) -> OptimizerFlags {
        let mut below = recipe;
        if let (Some(ours), Some(theirs)) = (self.optimizer, below.optimizer)
            && ours != theirs
        {
            let decay_is_alike = ours.decays_weights() == theirs.decays_weights();
            below = OptimizerFlags {
                schedule: below.schedule,
                clip: below.clip,
                averaging: below.averaging,
                weight_decay: below.weight_decay.filter(|_| decay_is_alike),
                spare_vectors: below.spare_vectors.filter(|_| decay_is_alike),
                ..OptimizerFlags::default()
            };
        }
        // Of no weight decay, nothing is spared.
        if self.weight_decay == Some(0.0) {
            below.spare_vectors = None;
        }
        OptimizerFlags {
            optimizer: self.optimizer.or(below.optimizer),
            lr: self.lr.or(below.lr),
            schedule: self.schedule.or(below.schedule),
            momentum: self.momentum.or(below.momentum),
            beta1: self.beta1.or(below.beta1),
            beta2: self.beta2.or(below.beta2),
            epsilon: self.epsilon.or(below.epsilon),
            weight_decay: self.weight_decay.or(below.weight_decay),
            spare_vectors: self.spare_vectors.or(below.spare_vectors),
            clip: self.clip.or(below.clip),
            averaging: self.averaging.or(below.averaging),
        }
    }

    /// Slabs of numbers that the run will keep of each parameter, as far as the flags say.
    pub fn n_moments(&self) -> Result<usize, Failure> {
        let of_average = usize::from(self.averaging.is_some_and(|of| of != Averaging::None));
        // What is left to a recipe may be plain gradient descent.
        Ok(of_average + self.settings()?.map_or(0, |settings| settings.n_moments()))
    }

    /// The optimizer; `None` where no flag is about it.
    ///
    /// # Errors
    /// Numbers that the optimizer does not have.
    pub fn settings(&self) -> Result<Option<OptimizerSettings>, Failure> {
        let is_asked_for = self.weight_decay.is_some()
            || self.spare_vectors.is_some()
            || self.beta1.or(self.beta2).or(self.epsilon).is_some();
        let mut settings = match self.optimizer {
            None if self.momentum.is_some() => return Err(no_momentum("adamw has its own")),
            None if !is_asked_for => {
                return self.expect_to_follow(OptimizerSettings::adamw()).map(|()| None);
            }
            // Numbers alone ask for the optimizer that is the default.
            None | Some(Optimizer::AdamW) => OptimizerSettings::adamw(),
            Some(Optimizer::Adam) => OptimizerSettings::adam(),
            Some(Optimizer::Muon) => OptimizerSettings::muon(),
            Some(Optimizer::Sgd) => OptimizerSettings::sgd(),
        };
        match &mut settings.method {
            MethodSettings::Sgd { momentum } => {
                for (flag, is_given) in [
                    ("beta1", self.beta1.is_some()),
                    ("beta2", self.beta2.is_some()),
                    ("epsilon", self.epsilon.is_some()),
                ] {
                    if is_given {
                        return Err(Failure::of_arguments(
                            format!(
                                "`--{flag}` is for adam, adamw and muon: sgd has no such number"
                            ),
                            format!("leave `--{flag}` out, or give `--optimizer adam`"),
                        ));
                    }
                }
                *momentum = self.momentum.unwrap_or(*momentum);
            }
            MethodSettings::Adam(moments) | MethodSettings::AdamW(moments) => {
                if self.momentum.is_some() {
                    return Err(no_momentum("adam and adamw have `--beta1`"));
                }
                self.put(moments);
            }
            MethodSettings::Muon { momentum, others } => {
                *momentum = self.momentum.unwrap_or(*momentum);
                self.put(others);
            }
        }
        settings.weight_decay = self.weight_decay.unwrap_or(settings.weight_decay);
        settings.spare_vectors = self.spare_vectors.unwrap_or(settings.spare_vectors);
        if settings.spare_vectors && settings.weight_decay == 0.0 {
            return Err(Failure::of_arguments(
                "`--spare-vectors` leaves biases and norms out of weight decay, and there is none",
                "add `--weight-decay`, or leave `--spare-vectors` out",
            ));
        }
        self.expect_to_follow(settings).map(|()| Some(settings))
    }

    fn put(&self, moments: &mut MomentSettings) {
        let MomentSettings { beta1, beta2, epsilon } = *moments;
        *moments = MomentSettings {
            beta1: self.beta1.unwrap_or(beta1),
            beta2: self.beta2.unwrap_or(beta2),
            epsilon: self.epsilon.unwrap_or(epsilon),
        };
    }

    /// Refuses a schedule that the optimizer cannot follow.
    fn expect_to_follow(&self, settings: OptimizerSettings) -> Result<(), Failure> {
        let hint = "leave `@` and what follows it out, or give `--optimizer adam` or `adamw` with a `--beta1` above 0";
        let refused = |error: train::Error| Failure::of_arguments(error.to_string(), hint);
        self.schedule.iter().try_for_each(|of| settings.expect_to_follow(of)).map_err(refused)
    }
}

fn no_momentum(why: &str) -> Failure {
    Failure::of_arguments(
        format!("`--momentum` is for `--optimizer sgd` and `muon`: {why}"),
        "add `--optimizer sgd`, or leave `--momentum` out",
    )
}

fn schedule(text: &str) -> Parsed<Schedule> {
    text.parse().map_err(|error: train::Error| ValueError {
        expected: "constant, step, linear, trapezoid, cosine, one-cycle, plateau or phases, as in `cosine:0.1+warmup:0.05`"
            .to_owned(),
        hint: error.hint(),
    })
}

fn averaging(text: &str) -> Parsed<Averaging> {
    text.parse().map_err(|error: train::Error| ValueError {
        expected: "none, exponential, tail or non-monotone, as in `exponential:0.999`".to_owned(),
        hint: error.hint(),
    })
}

/// What is added to the root of a mean of squares.
fn epsilon(text: &str) -> Parsed<f64> {
    match text.trim().parse::<f64>() {
        Ok(number) if (1e-30..=1.0).contains(&number) => Ok(number),
        _ => Err(ValueError { expected: "a number from 1e-30 to 1".to_owned(), hint: None }),
    }
}
