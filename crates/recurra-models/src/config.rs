//! What a language model is made of.

use recurra_layers::{CellKind, CellOptions, CellSize, RecurrentStack, Regularization};
use recurra_tensor::MOST_ROUNDS;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The largest vocabulary, embedding or layer.
const LARGEST_SIZE: usize = 1 << 24;
/// The deepest stack.
const MOST_LAYERS: usize = 64;
/// The most positions that are seen: places of a ring are counted in `f32`.
const LONGEST_CONTEXT: usize = 1 << 20;
/// Inputs that a gate sees.
const WIDEST_FILTER: usize = 64;
/// The most parameters: 16 GiB of `f32`.
const MOST_PARAMETERS: u128 = 1 << 32;
/// The most values that one stream remembers: 4 GiB of `f32`.
const MOST_STATE_VALUES: u128 = 1 << 30;

/// What the factor of a penalty may be.
const FACTOR: &str = "0 or more";

/// The sizes and kinds of a recurrent language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageModelConfig {
    /// The cell of every layer.
    pub cell: CellKind,
    /// V.
    pub vocab_size: usize,
    /// E.
    pub embed_size: usize,
    /// H of each layer, first to last.
    pub hidden_sizes: Vec<usize>,
    /// Whether the output layer uses the embedding's table (Press and Wolf 2017), through a projection where widths differ.
    pub tied: bool,
    /// The rate of dropout on non-recurrent links, in 0..1.
    pub dropout: f32,
    /// Settings of the cell's family; in a file they stand beside the others.
    #[serde(flatten)]
    pub options: CellOptions,
    /// What keeps it from learning by heart; likewise.
    #[serde(flatten)]
    pub regularization: Regularization,
}

impl LanguageModelConfig {
    /// A small LSTM: one layer of 256, embedding 128, no dropout.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            cell: CellKind::Lstm,
            vocab_size,
            embed_size: 128,
            hidden_sizes: vec![256],
            tied: false,
            dropout: 0.0,
            options: CellOptions::default(),
            regularization: Regularization::default(),
        }
    }

    /// H of the last layer.
    pub fn last_hidden_size(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or(0)
    }

    /// Whether a projection stands between the last layer and the embedding's table that it is tied to.
    pub fn is_projected(&self) -> bool {
        self.tied && self.embed_size != self.last_hidden_size()
    }

    /// How many numbers the network learns: the table, the layers, a projection, the output layer.
    pub fn n_parameters(&self) -> u128 {
        let [vocab, embed, hidden] =
            [self.vocab_size, self.embed_size, self.last_hidden_size()].map(|n| n as u128);
        let layers: u128 = self.layer_costs().map(|size| size.parameters).sum();
        let projection = if self.is_projected() { embed * hidden } else { 0 };
        let output = if self.tied { 0 } else { vocab * hidden };
        let beside = RecurrentStack::n_parameters_beside(
            self.cell,
            self.embed_size,
            self.last_hidden_size(),
            &self.options,
        );
        vocab * embed + layers + beside + projection + output + vocab
    }

    /// The values that a stream has in each part of the state, layer by layer.
    pub fn state_widths(&self) -> Vec<usize> {
        self.layer_sizes()
            .flat_map(|(inputs, hidden)| self.cell.state_widths(inputs, hidden, &self.options))
            .collect()
    }

    /// How many values a stream remembers.
    pub fn state_values(&self) -> u128 {
        self.state_widths().into_iter().map(|width| width as u128).sum()
    }

    /// Floating-point operations of training on one token: three times the forward pass's 2·(Σ layers + output), with V·H for
    /// the output, or H·E + V·E through a projection.
    pub fn flops_per_token(&self) -> u64 {
        let layers: u64 = self.layer_costs().map(|size| size.multiplications).sum();
        let [vocab, embed, hidden] =
            [self.vocab_size, self.embed_size, self.last_hidden_size()].map(|n| n as u64);
        let output =
            if self.is_projected() { hidden * embed + vocab * embed } else { vocab * hidden };
        6 * (layers + output)
    }

    /// What every layer costs.
    fn layer_costs(&self) -> impl Iterator<Item = CellSize> {
        self.layer_sizes().map(|(inputs, hidden)| self.cell.size(inputs, hidden, &self.options))
    }

    /// (inputs, H) of every layer.
    fn layer_sizes(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = std::iter::once(self.embed_size).chain(self.hidden_sizes.iter().copied());
        inputs.zip(self.hidden_sizes.iter().copied())
    }

    /// Checks every size.
    ///
    /// # Errors
    /// When a size is zero or absurd, a number outside of its range, an option none of the cell's, a width no multiple of the
    /// heads, outputs that are to be summed of different widths, or the parameters or the state too many.
    pub fn check(&self) -> Result<(), Error> {
        in_range("vocab_size", self.vocab_size, LARGEST_SIZE)?;
        in_range("embed", self.embed_size, LARGEST_SIZE)?;
        in_range("layers", self.hidden_sizes.len(), MOST_LAYERS)?;
        for &hidden in &self.hidden_sizes {
            in_range("hidden", hidden, LARGEST_SIZE)?;
        }
        self.check_regularization()?;
        self.check_options()?;
        let n_parameters = self.n_parameters();
        if n_parameters > MOST_PARAMETERS {
            return Err(Error::TooLarge { n_parameters, limit: MOST_PARAMETERS });
        }
        let n_values = self.state_values();
        if n_values > MOST_STATE_VALUES {
            return Err(Error::LargeState { n_values, limit: MOST_STATE_VALUES });
        }
        Ok(())
    }
}

impl LanguageModelConfig {
    fn check_options(&self) -> Result<(), Error> {
        // A configuration that states the forget bias of every cell, 0 where there is none, is none of another network.
        let counts =
            |(name, value): &(&'static str, String)| *name != "forget_bias" || value != "0";
        if let Some((option, _)) = self.cell.unknown(&self.options).into_iter().find(counts) {
            return Err(Error::Option { option, cell: self.cell });
        }
        let CellOptions { forget_bias, weight_dropout, heads, context, .. } = self.options;
        let CellOptions { feed_forward, filter_width, highway_bias, rounds, rank, .. } =
            self.options;
        check_number("forget_bias", forget_bias, f32::is_finite, "a finite number")?;
        check_number("highway_bias", highway_bias, f32::is_finite, "a finite number")?;
        check_rate("weight_dropout", weight_dropout)?;
        check_rate("state_dropout", self.options.state_dropout)?;
        for (name, found, limit) in [
            ("heads", heads, LARGEST_SIZE),
            ("context", context, LONGEST_CONTEXT),
            ("feed_forward", feed_forward, LARGEST_SIZE),
            ("filter_width", filter_width, WIDEST_FILTER),
            ("rounds", rounds, MOST_ROUNDS),
            ("rank", rank, LARGEST_SIZE),
        ] {
            if let Some(found) = found {
                in_range(name, found, limit)?;
            }
        }
        let last = self.last_hidden_size();
        if self.options.summed_outputs == Some(true)
            && let Some(&width) = self.hidden_sizes.iter().find(|&&width| width != last)
        {
            return Err(Error::Summed { width, last });
        }
        let Some(heads) = heads else { return Ok(()) };
        let is_rotated = self.cell == CellKind::Transformer && self.options.is_rotary();
        for &width in &self.hidden_sizes {
            if !width.is_multiple_of(heads) {
                return Err(Error::Heads { heads, width });
            }
            // One value has no plane to turn in.
            if is_rotated && width == heads {
                return Err(Error::Rotary { heads, width });
            }
        }
        Ok(())
    }

    fn check_regularization(&self) -> Result<(), Error> {
        let Regularization {
            word_dropout,
            input_dropout,
            layer_dropout,
            output_dropout,
            locked_dropout: _,
            activation_penalty,
            temporal_penalty,
        } = self.regularization;
        check_rate("dropout", Some(self.dropout))?;
        check_rate("word_dropout", word_dropout)?;
        check_rate("input_dropout", input_dropout)?;
        check_rate("layer_dropout", layer_dropout)?;
        check_rate("output_dropout", output_dropout)?;
        let is_factor = |factor: f32| factor.is_finite() && factor >= 0.0;
        check_number("activation_penalty", activation_penalty, is_factor, FACTOR)?;
        check_number("temporal_penalty", temporal_penalty, is_factor, FACTOR)
    }
}

fn in_range(name: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if (1..=limit).contains(&found) { Ok(()) } else { Err(Error::Size { name, found, limit }) }
}

fn check_rate(name: &'static str, found: Option<f32>) -> Result<(), Error> {
    let expected = "0 up to but not including 1";
    check_number(name, found, |rate| (0.0..1.0).contains(&rate), expected)
}

fn check_number(
    name: &'static str,
    found: Option<f32>,
    is_good: impl Fn(f32) -> bool,
    expected: &'static str,
) -> Result<(), Error> {
    match found {
        Some(found) if !is_good(found) => Err(Error::Number { name, found, expected }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use recurra_layers::PositionKind;

    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut LanguageModelConfig), expected: &str) {
        let mut config = LanguageModelConfig::new(100);
        change(&mut config);
        let error = config.check().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn bad_configs_are_named() {
        assert_eq!(LanguageModelConfig::new(100).check(), Ok(()));
        check(|config| config.vocab_size = 0, "`vocab_size` is 0");
        check(|config| config.embed_size = usize::MAX, "`embed` is 18446744073709551615");
        check(|config| config.hidden_sizes = vec![], "`layers` is 0");
        check(|config| config.hidden_sizes = vec![5; 65], "`layers` is 65");
        check(|config| config.hidden_sizes = vec![5, 0], "`hidden` is 0");
        check(|config| config.dropout = 1.0, "`dropout` is 1");
        check(|config| config.dropout = f32::NAN, "`dropout` is NaN");
        check(|config| config.options.forget_bias = Some(f32::INFINITY), "`forget_bias` is inf");
        check(|config| config.options.weight_dropout = Some(1.0), "`weight_dropout` is 1");
        let summed = |config: &mut LanguageModelConfig| {
            config.hidden_sizes = vec![5, 6];
            config.options.summed_outputs = Some(true);
        };
        check(summed, "a layer of 5 values cannot be summed with a last one of 6");
        check(|config| config.options.state_dropout = Some(1.0), "`state_dropout` is 1");
        let mlstm = |config: &mut LanguageModelConfig, heads| {
            config.cell = CellKind::Mlstm;
            config.options.heads = Some(heads);
        };
        check(|config| mlstm(config, 7), "7 heads cannot share");
        check(|config| mlstm(config, 0), "`heads` is 0");
        let one_each = |config: &mut LanguageModelConfig| {
            config.cell = CellKind::Transformer;
            config.hidden_sizes = vec![8];
            config.options.heads = Some(8);
        };
        check(one_each, "8 heads of a Transformer of 8 values have one each");
        let learned = |positions| {
            let mut config = LanguageModelConfig::new(100);
            one_each(&mut config);
            config.options.positions = Some(positions);
            config.check()
        };
        assert_eq!(learned(PositionKind::Learned), Ok(()));
        let forgets = |config: &mut LanguageModelConfig, bias| {
            config.cell = CellKind::Mlstm;
            config.options.forget_bias = Some(bias);
        };
        check(|config| forgets(config, 5.0), "`forget_bias` means nothing to the cell `mlstm`");
        let sees = |config: &mut LanguageModelConfig| {
            config.cell = CellKind::Gru;
            config.options.context = Some(8);
        };
        check(sees, "`context` means nothing to the cell `gru`");
        let looks_back = |config: &mut LanguageModelConfig| {
            config.cell = CellKind::Qrnn;
            config.options.filter_width = Some(0);
        };
        check(looks_back, "`filter_width` is 0");
        check(|config| config.hidden_sizes = vec![100_000; 3], "parameters; the limit");
        let remembers = |config: &mut LanguageModelConfig| {
            config.cell = CellKind::Transformer;
            config.hidden_sizes = vec![512; 8];
            config.options.context = Some(LONGEST_CONTEXT);
        };
        check(remembers, "would remember 8589934600 values");
    }

    #[test]
    fn options_stand_beside_the_other_settings() {
        let base = LanguageModelConfig::new(100);
        let options = CellOptions { forget_bias: Some(0.5), ..base.options };
        let config = LanguageModelConfig { options, ..base };
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(r#""dropout":0.0,"forget_bias":0.5}"#), "{json}");
        assert_eq!(serde_json::from_str::<LanguageModelConfig>(&json).unwrap(), config);
        let unknown = json.replace("forget_bias", "forget_gias");
        let error = serde_json::from_str::<LanguageModelConfig>(&unknown).unwrap_err();
        assert!(error.to_string().contains("forget_gias"), "{error}");
    }

    #[test]
    fn parameters_are_counted_as_published() {
        // PyTorch's word_language_model: 200×2 tied on PTB and 650×2 tied on WikiText-2.
        let word = |vocab_size, size: usize| LanguageModelConfig {
            embed_size: size,
            hidden_sizes: vec![size; 2],
            tied: true,
            ..LanguageModelConfig::new(vocab_size)
        };
        assert_eq!(word(10_000, 200).n_parameters(), 2_653_200);
        assert_eq!(word(33_278, 650).n_parameters(), 28_434_378);
        // 6 · (2 layers of 4 · 512 · (512 + 512), and 96 · 512 for the output).
        let char_512 = LanguageModelConfig {
            embed_size: 512,
            hidden_sizes: vec![512; 2],
            ..LanguageModelConfig::new(96)
        };
        assert_eq!(char_512.flops_per_token(), 25_460_736);
    }
}
