//! The flags that decide what a run computes; a recipe file holds the same names.

use std::time::Duration;

use clap::Args;
use recurra::data::TokenizerSpec;
use recurra::models::{CellKind, LanguageModelConfig};
use recurra::tensor::Window;
use recurra::train::{Length, Purpose, RecipeOptions};

use crate::failure::Failure;
use crate::memory;
use crate::network_flags::{self, NetworkFlags};
use crate::optimizer_flags::OptimizerFlags;
use crate::values;

/// What a run computes. Whatever is not given is chosen from the text, and told.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct RecipeFlags {
    #[arg(long, help = network_flags::model_help("lstm; of words in a budget mogrifier"), value_parser = network_flags::cell, value_name = "KIND")]
    pub model: Option<CellKind>,
    /// How text becomes tokens: byte, char, word, bpe:N or a tokenizer.json file
    #[arg(long, value_parser = values::tokenizer, value_name = "byte|char|word|bpe:N|FILE")]
    pub tokenizer: Option<TokenizerSpec>,
    /// Width of the embedding
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub embed: Option<usize>,
    /// Width of the layers, one for all or one each
    #[arg(long, value_parser = values::size::<1, 65536>, value_delimiter = ',', value_name = "N[,N...]")]
    pub hidden: Option<Vec<usize>>,
    /// Number of layers
    #[arg(long, value_parser = values::size::<1, 64>, value_name = "N")]
    pub layers: Option<usize>,
    /// Use the embedding as output layer too (--tied=false: do not)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub tied: Option<bool>,
    /// Share of values dropped on links that are not recurrent
    #[arg(long, value_parser = values::rate, value_name = "F")]
    pub dropout: Option<f64>,
    /// What single families know, and kinds of dropout.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// How weights follow their gradients
    #[command(flatten)]
    pub optimizer: OptimizerFlags,
    /// Streams read side by side
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub batch: Option<usize>,
    /// Tokens of each stream that gradients reach back
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub bptt: Option<usize>,
    /// Let windows vary in length, and the learning rate with them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub vary_windows: Option<bool>,
    /// Probability that a stream forgets what it remembers before a window
    #[arg(long, value_parser = values::rate, value_name = "F")]
    pub reset_state: Option<f64>,
    /// Windows whose gradients make one step [default: 1]
    #[arg(long, value_parser = values::size::<1, 65536>, value_name = "N")]
    pub accumulate: Option<usize>,
    /// Length of the run in passes over the text
    #[arg(long, group = "length", value_parser = values::whole::<1, 1_000_000_000>, value_name = "N")]
    pub epochs: Option<u64>,
    /// Length of the run in steps
    #[arg(long, group = "length", value_parser = values::whole::<1, 1_000_000_000_000>, value_name = "N")]
    pub steps: Option<u64>,
    /// Length of the run in time, evaluation and saving included [default: 10m, of the storybook 90s]
    #[arg(long, group = "length", value_parser = values::duration, value_name = "90s|10m|2h")]
    pub budget: Option<Duration>,
    /// Steps between two validations
    #[arg(long, value_parser = values::whole::<1, 1_000_000_000_000>, value_name = "N")]
    pub valid_every: Option<u64>,
    /// Stop after so many validations without improvement; 0 never does [default: 0]
    #[arg(long, value_parser = values::whole::<0, 1_000_000>, value_name = "N")]
    pub patience: Option<u64>,
    /// Seed of everything random [default: 1]
    #[arg(long, value_parser = values::whole::<0, { u64::MAX }>, value_name = "N")]
    pub seed: Option<u64>,
}

impl RecipeFlags {
    /// These flags, and where one is not given, what `recipe` says.
    pub fn over(self, recipe: RecipeFlags) -> RecipeFlags {
        let length_given = self.epochs.is_some() || self.steps.is_some() || self.budget.is_some();
        // One of the three, never two, whoever said which.
        let below = if length_given {
            RecipeFlags { epochs: None, steps: None, budget: None, ..recipe }
        } else {
            recipe
        };
        // Several widths say how many layers there are, whatever the recipe says.
        let widths_given = self.hidden.as_ref().is_some_and(|widths| widths.len() > 1);
        let mut below = if widths_given { RecipeFlags { layers: None, ..below } } else { below };
        // One width is that of as many layers as the recipe has.
        if let (Some([_]), None, Some(widths)) =
            (self.hidden.as_deref(), below.layers, below.hidden.as_deref())
            && widths.len() > 1
        {
            below.layers = Some(widths.len());
        }
        // Equal widths are one width, of as many layers as are asked for.
        if let (None, Some(_), Some(widths)) = (&self.hidden, self.layers, &mut below.hidden)
            && widths.iter().all(|width| *width == widths[0])
        {
            widths.truncate(1);
        }
        // Of another family, the options that both know.
        if let Some(cell) = self.model {
            below.network = below.network.known_to(cell);
        }
        RecipeFlags {
            model: self.model.or(below.model),
            tokenizer: self.tokenizer.or(below.tokenizer),
            embed: self.embed.or(below.embed),
            hidden: self.hidden.or(below.hidden),
            layers: self.layers.or(below.layers),
            tied: self.tied.or(below.tied),
            dropout: self.dropout.or(below.dropout),
            network: self.network.over(below.network),
            optimizer: self.optimizer.over(below.optimizer),
            batch: self.batch.or(below.batch),
            bptt: self.bptt.or(below.bptt),
            vary_windows: self.vary_windows.or(below.vary_windows),
            reset_state: self.reset_state.or(below.reset_state),
            accumulate: self.accumulate.or(below.accumulate),
            epochs: self.epochs.or(below.epochs),
            steps: self.steps.or(below.steps),
            budget: self.budget.or(below.budget),
            valid_every: self.valid_every.or(below.valid_every),
            patience: self.patience.or(below.patience),
            seed: self.seed.or(below.seed),
        }
    }

    /// What the library is asked for.
    ///
    /// # Errors
    /// Flags that are good each for itself and not together.
    pub fn options(self) -> Result<RecipeOptions, Failure> {
        self.check_together()?;
        let optimizer = self.optimizer.settings()?;
        let length = self.epochs.map(Length::Epochs).or(self.steps.map(Length::Steps));
        Ok(RecipeOptions {
            cell: self.model,
            tokenizer: self.tokenizer,
            embed: self.embed,
            hidden: self.hidden,
            layers: self.layers,
            tied: self.tied,
            dropout: self.dropout.map(|dropout| dropout as f32),
            cell_options: self.network.cell_options(),
            regularization: self.network.regularization(),
            optimizer,
            learning_rate: self.optimizer.lr,
            clip: self.optimizer.clip,
            schedule: self.optimizer.schedule,
            averaging: self.optimizer.averaging,
            batch: self.batch,
            bptt: self.bptt,
            vary_windows: self.vary_windows,
            reset_state: self.reset_state,
            accumulate: self.accumulate,
            length: length.or(self.budget.map(|budget| Length::Budget(budget.as_secs_f64()))),
            validate_every: self.valid_every,
            patience: self.patience.map(|patience| patience as u32),
            seed: self.seed,
        })
    }

    fn check_together(&self) -> Result<(), Failure> {
        let cell = self.network.family(self.model)?;
        // Widths that are left to choose will fit.
        let Some(widths) = &self.hidden else { return Ok(()) };
        let smallest = LanguageModelConfig {
            cell,
            options: self.network.cell_options(),
            embed_size: self.embed.unwrap_or(1),
            hidden_sizes: layer_widths(widths, self.layers)?,
            ..LanguageModelConfig::new(2)
        };
        let moments = self.optimizer.n_moments()?;
        let window = Window { time: self.bptt.unwrap_or(1), batch: self.batch.unwrap_or(1) };
        memory::expect_room(&smallest, Purpose::Training { moments, window })
    }
}

/// The width of each layer that `--hidden` and `--layers` ask for: one width is that of all.
pub fn layer_widths(widths: &[usize], layers: Option<usize>) -> Result<Vec<usize>, Failure> {
    match (widths, layers) {
        ([width], Some(layers)) => Ok(vec![*width; layers]),
        (_, Some(layers)) if widths.len() != layers => Err(Failure::of_arguments(
            format!("`--layers {layers}` does not fit the {} widths of `--hidden`", widths.len()),
            format!("leave `--layers` out, or give {layers} widths"),
        )),
        _ => Ok(widths.to_vec()),
    }
}
