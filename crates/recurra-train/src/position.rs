//! Where a run stands: with the weights and the carried state, all that it needs to go on as if it had never stopped.

use std::fmt;
use std::path::Path;

use recurra_tensor::Isa;
use serde::{Deserialize, Serialize};

use crate::averaging::AverageMemory;
use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::forecast::Forecast;

use crate::recipe::Recipe;
use crate::schedule::PlateauMemory;

/// Which layout of [`Position`] this version writes and reads.
const FORMAT: u32 = 1;

/// The position of a run, stored as JSON beside its weights. Every number comes back to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    format: u32,
    /// The recipe that the run follows.
    pub recipe: Recipe,
    /// SHA-256 of the training text.
    pub train_sha256: String,
    /// SHA-256 of the validation text.
    pub valid_sha256: String,
    /// The training text, for people.
    pub train_text: String,
    /// What its last step was computed with; not known of a run from before this was stored.
    #[serde(default)]
    pub arithmetic: Option<Arithmetic>,
    /// What the run is expected to come to.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// Updates made.
    pub step: u64,
    /// Passes over the text completed.
    pub epoch: u64,
    /// The next window of this pass.
    pub window: usize,
    /// Windows in all; the key of dropout.
    pub windows_seen: u64,
    /// Tokens in all.
    pub tokens_seen: u64,
    /// Part of the run that is done.
    pub fraction: f64,
    /// Wall clock so far.
    pub elapsed_seconds: f64,
    /// Wall clock at which the first update began: the schedule of a budget counts from there.
    pub begun_seconds: f64,
    /// Wall clock of the updates alone.
    pub update_seconds: f64,
    /// What the plateau schedule remembers.
    pub plateau: PlateauMemory,
    /// What is known of the average of the weights.
    #[serde(default)]
    pub average: AverageMemory,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Validations since the best.
    pub validations_since_best: u32,
    /// The step of the last validation.
    pub validated_step: Option<u64>,
    /// How many windows of the validation text are scored on the way; fixed by the first validation.
    pub valid_windows: Option<usize>,
    /// Loss since the last line of the record.
    pub since_record: LossMean,
    /// Loss since the last validation.
    pub since_validation: LossMean,
    /// Loss of the last whole interval between validations.
    pub train_loss_nats: Option<f64>,
    /// A running mean of the loss, for the progress shown to people.
    pub smooth_loss_nats: Option<f64>,
}

/// Which texts a run is of.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextNames {
    pub train_sha256: String,
    pub valid_sha256: String,
    pub train_text: String,
}

/// What decides, beside texts and recipe, over the bits of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arithmetic {
    /// The instruction set of the kernels.
    pub isa: String,
    /// How numbers go into products.
    pub precision: String,
}

impl From<Isa> for Arithmetic {
    fn from(isa: Isa) -> Arithmetic {
        Arithmetic { isa: isa.to_string(), precision: isa.precision().to_string() }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in {}", self.isa, self.precision)
    }
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub step: u64,
    pub loss_nats: f64,
}

/// A mean in the making, with the time and the tokens that it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossMean {
    pub total_nats: f64,
    pub tokens: u64,
    pub seconds: f64,
}

impl LossMean {
    pub fn add(&mut self, loss_nats: f64, tokens: u64, seconds: f64) {
        self.total_nats += loss_nats * tokens as f64;
        self.tokens += tokens;
        self.seconds += seconds;
    }

    pub fn loss_nats(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.total_nats / self.tokens as f64)
    }

    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds.max(1e-9)
    }
}

impl Position {
    /// What a run was expected to come to, where it is still the same.
    pub fn forecast_for(&self, recipe: &Recipe) -> Option<Forecast> {
        self.forecast.filter(|_| self.recipe == *recipe)
    }

    /// The position before the first step.
    pub fn start(recipe: Recipe, texts: TextNames) -> Position {
        Position {
            format: FORMAT,
            recipe,
            train_sha256: texts.train_sha256,
            valid_sha256: texts.valid_sha256,
            train_text: texts.train_text,
            arithmetic: None,
            forecast: None,
            step: 0,
            epoch: 0,
            window: 0,
            windows_seen: 0,
            tokens_seen: 0,
            fraction: 0.0,
            elapsed_seconds: 0.0,
            begun_seconds: 0.0,
            update_seconds: 0.0,
            plateau: PlateauMemory::default(),
            average: AverageMemory::default(),
            best: None,
            validations_since_best: 0,
            validated_step: None,
            valid_windows: None,
            since_record: LossMean::default(),
            since_validation: LossMean::default(),
            train_loss_nats: None,
            smooth_loss_nats: None,
        }
    }

    /// As JSON, for the checkpoint.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a position has names and finite numbers only")
    }

    /// From a checkpoint; the reason where it does not fit.
    pub fn from_json(json: serde_json::Value) -> Result<Position, String> {
        match json.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {
                serde_json::from_value(json).map_err(|error| error.to_string())
            }
            Some(format) => Err(format!("its format is {format}, expected {FORMAT}")),
            None => Err("it names no format".to_owned()),
        }
    }

    /// Checks that the run goes on with the texts that it began with.
    ///
    /// # Errors
    /// [`Error::Changed`] where it does not.
    pub fn expect_texts(&self, out: &Path, corpus: &TokenizedCorpus) -> Result<(), Error> {
        let texts = [
            ("training text", &self.train_sha256, &corpus.train),
            ("validation text", &self.valid_sha256, &corpus.valid),
        ];
        for (name, stored, given) in texts {
            if stored != given.tokens.text_sha256() {
                let digits =
                    |sha256: &str| format!("of sha256 {}…", sha256.get(..16).unwrap_or(sha256));
                return Err(Error::Changed {
                    out: out.to_owned(),
                    name: name.to_owned(),
                    stored: digits(stored),
                    given: format!(
                        "{} {}",
                        given.text.describe(),
                        digits(given.tokens.text_sha256())
                    ),
                });
            }
        }
        Ok(())
    }

    /// Takes note of an update.
    pub fn add_loss(&mut self, loss_nats: f64, tokens: u64, seconds: f64) {
        self.since_record.add(loss_nats, tokens, seconds);
        self.since_validation.add(loss_nats, tokens, seconds);
        self.update_seconds += seconds;
        self.tokens_seen += tokens;
        let smooth = self.smooth_loss_nats.unwrap_or(loss_nats);
        // A plain mean at first, and then one that forgets over about a hundred steps.
        let weight = (1.0 / self.step.max(1) as f64).max(0.02);
        self.smooth_loss_nats = Some(smooth + weight * (loss_nats - smooth));
    }

    /// Takes note of a validation; returns whether it is the best so far.
    pub fn add_validation(&mut self, loss_nats: f64) -> bool {
        let is_best = self.best.is_none_or(|best| loss_nats < best.loss_nats);
        if is_best {
            self.best = Some(Best { step: self.step, loss_nats });
            self.validations_since_best = 0;
        } else {
            self.validations_since_best += 1;
        }
        self.plateau.observe(loss_nats);
        self.recipe.averaging.observe(loss_nats, &mut self.average);
        self.validated_step = Some(self.step);
        self.train_loss_nats = self.since_validation.loss_nats().or(self.train_loss_nats);
        self.since_validation = LossMean::default();
        is_best
    }

    /// Takes note of what the best weights so far come to on another part of the validation text.
    pub fn measure_the_best_anew(&mut self, loss_nats: f64) {
        self.best = self.best.map(|best| Best { loss_nats, ..best });
        self.plateau.best = self.plateau.best.map(|_| loss_nats);
        self.average.losses.clear();
    }

    /// Takes note that the weights of the best validation are lost: the next one is the best.
    pub fn forget_the_best(&mut self) {
        self.best = None;
        self.validated_step = None;
    }

    /// Passes over the text, with the fraction of the present one.
    pub fn epochs(&self, windows_per_epoch: usize) -> f64 {
        self.epoch as f64 + self.window as f64 / windows_per_epoch.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_and_one_from_before_arithmetic_was_stored_still_loads() {
        let mut position = Position::start(Recipe::example(), TextNames::default());
        position.arithmetic = Some(Arithmetic::from(Isa::Plain));
        let mut json = position.to_json();
        assert_eq!(Position::from_json(json.clone()), Ok(position.clone()));

        json.as_object_mut().unwrap().remove("arithmetic").unwrap();
        position.arithmetic = None;
        assert_eq!(Position::from_json(json), Ok(position));
    }
}
