//! A recipe: everything that decides what a run computes, and nothing else (no path, no number of threads).
//!
//! [`RecipeOptions`] is what somebody asked for, with gaps; [`Recipe`] is the same without gaps, as
//! [`crate::choose::choose`] filled them. The recipe is stored with the run, and a resumed run must agree with it.

use std::fmt;
use std::path::Path;

use recurra_data::TokenizerSpec;
use recurra_models::{CellKind, CellOptions, LanguageModelConfig, Regularization};
use serde::{Deserialize, Serialize};

use crate::averaging::Averaging;
use crate::error::{Error, check_range, out_of_range};
use crate::optimizer::OptimizerSettings;
use crate::schedule::Schedule;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Passes over the training text.
    Epochs(u64),
    /// Updates.
    Steps(u64),
    /// Seconds of wall clock, with everything that a run does.
    Budget(f64),
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Length::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Length::Steps(steps) => write!(f, "{steps} steps"),
            Length::Budget(seconds) if seconds >= 120.0 => {
                write!(f, "{:.1} minutes", seconds / 60.0)
            }
            Length::Budget(seconds) => write!(f, "{seconds:.0} seconds"),
        }
    }
}

/// What was asked for. Whatever is `None` is decided from the corpus.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecipeOptions {
    /// The recurrent cell.
    pub cell: Option<CellKind>,
    /// How text becomes tokens.
    pub tokenizer: Option<TokenizerSpec>,
    /// Width of the embedding.
    pub embed: Option<usize>,
    /// Widths of the layers; a single one is used for every layer.
    pub hidden: Option<Vec<usize>>,
    /// Number of layers.
    pub layers: Option<usize>,
    /// Whether the output layer uses the embedding's weights.
    pub tied: Option<bool>,
    /// Dropout on every link that is not recurrent.
    pub dropout: Option<f32>,
    /// Settings of the cell's family.
    pub cell_options: CellOptions,
    /// What keeps the network from learning by heart, beside `dropout`.
    pub regularization: Regularization,
    /// The optimizer and its numbers.
    pub optimizer: Option<OptimizerSettings>,
    /// The highest learning rate.
    pub learning_rate: Option<f64>,
    /// Largest global norm of the gradient; 0 never clips.
    pub clip: Option<f64>,
    /// The course of the learning rate.
    pub schedule: Option<Schedule>,
    /// Which weights are averaged; none if not given.
    pub averaging: Option<Averaging>,
    /// Streams.
    pub batch: Option<usize>,
    /// Tokens of each stream between two truncations.
    pub bptt: Option<usize>,
    /// Whether windows vary in length, and the learning rate with them.
    pub vary_windows: Option<bool>,
    /// The probability that a stream forgets what it remembers before a window.
    pub reset_state: Option<f64>,
    /// Windows whose gradients make one update.
    pub accumulate: Option<usize>,
    /// Epochs, steps or wall clock.
    pub length: Option<Length>,
    /// Updates between two validations.
    pub validate_every: Option<u64>,
    /// Validations without improvement after which the run stops; 0 never stops.
    pub patience: Option<u32>,
    /// Seed of initial weights and dropout.
    pub seed: Option<u64>,
}

/// Everything that decides what a run computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The recurrent cell.
    pub cell: CellKind,
    /// How text becomes tokens.
    #[serde(with = "tokenizer_name")]
    pub tokenizer: TokenizerSpec,
    /// Width of the embedding.
    pub embed: usize,
    /// Width of each layer.
    pub hidden: Vec<usize>,
    /// Whether the output layer uses the embedding's weights.
    pub tied: bool,
    /// Dropout on every link that is not recurrent.
    pub dropout: f32,
    /// Settings of the cell's family.
    #[serde(flatten)]
    pub cell_options: CellOptions,
    /// What keeps the network from learning by heart, beside `dropout`.
    #[serde(flatten)]
    pub regularization: Regularization,
    /// The optimizer and its numbers.
    pub optimizer: OptimizerSettings,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Largest global norm of the gradient; 0 never clips.
    pub clip: f64,
    /// The course of the learning rate.
    pub schedule: Schedule,
    /// Which weights are averaged.
    #[serde(default)]
    pub averaging: Averaging,
    /// Streams.
    pub batch: usize,
    /// Tokens of each stream between two truncations.
    pub bptt: usize,
    /// Whether windows vary in length, and the learning rate with them.
    #[serde(default)]
    pub vary_windows: bool,
    /// The probability that a stream forgets what it remembers before a window.
    #[serde(default)]
    pub reset_state: f64,
    /// Windows whose gradients make one update.
    pub accumulate: usize,
    /// Epochs, steps or wall clock.
    pub length: Length,
    /// Updates between two validations; `None` spreads them over the run.
    pub validate_every: Option<u64>,
    /// Validations without improvement after which the run stops; 0 never stops.
    pub patience: u32,
    /// Seed of initial weights and dropout.
    pub seed: u64,
}

impl Recipe {
    /// The network, for a vocabulary of V = `vocab_size`.
    pub fn network(&self, vocab_size: usize) -> LanguageModelConfig {
        LanguageModelConfig {
            cell: self.cell,
            vocab_size,
            embed_size: self.embed,
            hidden_sizes: self.hidden.clone(),
            tied: self.tied,
            dropout: self.dropout,
            options: self.cell_options,
            regularization: self.regularization,
        }
    }

    /// The name and value of every setting, for people: in the model card, and where a resumed run differs.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let hidden = self.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let clip = if self.clip > 0.0 { self.clip.to_string() } else { "none".to_owned() };
        vec![
            ("cell", self.cell.to_string()),
            ("tokenizer", self.tokenizer.to_string()),
            ("embed", self.embed.to_string()),
            ("hidden", hidden),
            ("tied", self.tied.to_string()),
            ("dropout", self.dropout.to_string()),
            ("cell options", listed(self.cell_options.given())),
            ("regularization", listed(self.regularization.given())),
            ("optimizer", self.optimizer.to_string()),
            ("learning rate", self.learning_rate.to_string()),
            ("clip", clip),
            ("schedule", self.schedule.to_string()),
            ("averaging", self.averaging.to_string()),
            ("batch", self.batch.to_string()),
            ("bptt", self.bptt.to_string()),
            ("vary windows", self.vary_windows.to_string()),
            ("reset state", self.reset_state.to_string()),
            ("accumulate", self.accumulate.to_string()),
            ("length", self.length.to_string()),
            (
                "validate every",
                self.validate_every.map_or("chosen".to_owned(), |steps| format!("{steps} steps")),
            ),
            ("patience", self.patience.to_string()),
            ("seed", self.seed.to_string()),
        ]
    }

    /// Whether something follows validation, which then has to happen once an epoch.
    pub(crate) fn follows_validation(&self) -> bool {
        self.schedule.follows_validation() || self.averaging.follows_validation()
    }

    /// Slabs of numbers of each parameter that the run keeps beside values and gradients.
    pub(crate) fn n_moments(&self) -> usize {
        self.optimizer.n_moments() + usize::from(self.averaging != Averaging::None)
    }

    /// The stored recipe with what a resumed run may change: length, patience, learning rate and clip norm.
    ///
    /// # Errors
    /// [`Error::Changed`] where `options` asks for anything else that the run does not have, [`Error::OutOfRange`] where what it
    /// asks for makes no sense.
    pub fn resumed_with(&self, options: &RecipeOptions, out: &Path) -> Result<Recipe, Error> {
        options.check()?;
        let mut asked = self.clone();
        options.lay_over(&mut asked);
        let mut allowed = self.clone();
        allowed.length = asked.length;
        allowed.patience = asked.patience;
        allowed.learning_rate = asked.learning_rate;
        allowed.clip = asked.clip;
        if asked == allowed {
            return Ok(allowed);
        }
        let differs = allowed
            .settings()
            .into_iter()
            .zip(asked.settings())
            .find(|(stored, given)| stored.1 != given.1);
        let ((name, stored), (_, given)) = differs
            .unwrap_or((("settings", "as stored".to_owned()), ("settings", "others".to_owned())));
        Err(Error::Changed { out: out.to_owned(), name: name.to_owned(), stored, given })
    }
}

/// The largest size of anything: far above use, far below overflow.
const LARGEST: usize = 65_536;

impl RecipeOptions {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a setting that was given and makes no sense.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let size = |name: &str, value: Option<usize>| within(name, value, 1, LARGEST);
        size("embed", self.embed)?;
        size("batch", self.batch)?;
        size("bptt", self.bptt)?;
        size("accumulate", self.accumulate)?;
        within("layers", self.layers, 1, 64)?;
        let hidden = self.hidden.as_deref();
        hidden.unwrap_or(&[]).iter().try_for_each(|&each| size("hidden", Some(each)))?;
        match (hidden.map(<[usize]>::len), self.layers) {
            (Some(sizes), _) if !(1..=64).contains(&sizes) => {
                return Err(out_of_range("hidden", format!("a list of {sizes}"), "1 to 64 sizes"));
            }
            (Some(sizes), Some(layers)) if sizes > 1 && sizes != layers => {
                return Err(out_of_range(
                    "layers",
                    layers,
                    format!("{sizes}, as many as `hidden` has sizes"),
                ));
            }
            _ => {}
        }
        within("dropout", self.dropout, 0.0, 0.99)?;
        within("reset state", self.reset_state, 0.0, 0.99)?;
        within("learning rate", self.learning_rate, 0.0, 1e6)?;
        within("clip", self.clip, 0.0, 1e9)?;
        within("validate every", self.validate_every, 1, u64::MAX)?;
        match self.length {
            Some(Length::Epochs(n)) => within("epochs", Some(n), 1, 1_000_000_000)?,
            Some(Length::Steps(n)) => within("steps", Some(n), 1, 1_000_000_000_000)?,
            Some(Length::Budget(seconds)) => within("budget", Some(seconds), 1.0, 1e9)?,
            None => {}
        }
        self.schedule.as_ref().map_or(Ok(()), Schedule::check)?;
        self.averaging.map_or(Ok(()), |averaging| averaging.check())?;
        self.optimizer.map_or(Ok(()), |optimizer| optimizer.check())
    }

    /// Puts everything that was asked for in place of what `recipe` has.
    pub(crate) fn lay_over(&self, recipe: &mut Recipe) {
        let lay = self.clone();
        put(lay.cell, &mut recipe.cell);
        put(lay.tokenizer, &mut recipe.tokenizer);
        put(lay.embed, &mut recipe.embed);
        match (lay.hidden, lay.layers) {
            (Some(hidden), layers) if hidden.len() == 1 => {
                recipe.hidden = vec![hidden[0]; layers.unwrap_or(recipe.hidden.len())];
            }
            (Some(hidden), _) => recipe.hidden = hidden,
            (None, Some(layers)) => {
                recipe.hidden.resize(layers, recipe.hidden.first().copied().unwrap_or(0))
            }
            (None, None) => {}
        }
        put(lay.tied, &mut recipe.tied);
        put(lay.dropout, &mut recipe.dropout);
        recipe.cell_options = lay.cell_options.or(recipe.cell_options);
        recipe.regularization = lay.regularization.or(recipe.regularization);
        put(lay.optimizer, &mut recipe.optimizer);
        put(lay.learning_rate, &mut recipe.learning_rate);
        put(lay.clip, &mut recipe.clip);
        put(lay.schedule, &mut recipe.schedule);
        put(lay.averaging, &mut recipe.averaging);
        put(lay.batch, &mut recipe.batch);
        put(lay.bptt, &mut recipe.bptt);
        put(lay.vary_windows, &mut recipe.vary_windows);
        put(lay.reset_state, &mut recipe.reset_state);
        put(lay.accumulate, &mut recipe.accumulate);
        put(lay.length, &mut recipe.length);
        recipe.validate_every = lay.validate_every.or(recipe.validate_every);
        put(lay.patience, &mut recipe.patience);
        put(lay.seed, &mut recipe.seed);
    }
}

/// `name value, name value`, with the names as people write them.
fn listed(given: Vec<(&'static str, String)>) -> String {
    let each = given.iter().map(|(name, value)| format!("{} {value}", name.replace('_', " ")));
    let list = each.collect::<Vec<_>>().join(", ");
    if list.is_empty() { "as the family has them".to_owned() } else { list }
}

fn put<T>(asked: Option<T>, setting: &mut T) {
    if let Some(value) = asked {
        *setting = value;
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: Option<T>,
    low: T,
    high: T,
) -> Result<(), Error> {
    value.map_or(Ok(()), |value| check_range(name, value, low, high))
}

/// A tokenizer in a recipe is written as on the command line: `char`, `bpe:8000`.
mod tokenizer_name {
    use super::TokenizerSpec;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        spec: &TokenizerSpec,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(spec)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenizerSpec, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
