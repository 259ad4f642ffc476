//! What a language model is made of.

use recurra_layers::CellKind;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The largest vocabulary, embedding or layer.
const LARGEST_SIZE: usize = 1 << 24;
/// The deepest stack.
const MOST_LAYERS: usize = 64;
/// The most parameters: 16 GiB of `f32`.
const MOST_PARAMETERS: u128 = 1 << 32;

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
    /// Whether the output layer uses the embedding's table (Press and Wolf 2017).
    pub tied: bool,
    /// The rate of dropout on non-recurrent links, in 0..1.
    pub dropout: f32,
    /// Added to the bias of an LSTM's forget gates at the start.
    pub forget_bias: f32,
}

impl LanguageModelConfig {
    /// A small LSTM: one layer of 256, embedding 128, no dropout, forget bias 1.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            cell: CellKind::Lstm,
            vocab_size,
            embed_size: 128,
            hidden_sizes: vec![256],
            tied: false,
            dropout: 0.0,
            forget_bias: 1.0,
        }
    }

    /// H of the last layer.
    pub fn last_hidden_size(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or(0)
    }

    /// How many numbers the network learns: per layer G·H·(inputs + H + 2), the table, the output layer.
    pub fn n_parameters(&self) -> u128 {
        let wide = |n: usize| n as u128;
        let table = wide(self.vocab_size) * wide(self.embed_size);
        let gates = wide(self.cell.n_gates());
        let layers: u128 = self
            .layer_sizes()
            .map(|(inputs, hidden)| gates * wide(hidden) * (wide(inputs) + wide(hidden) + 2))
            .sum();
        let output =
            if self.tied { 0 } else { wide(self.vocab_size) * wide(self.last_hidden_size()) };
        table + layers + output + wide(self.vocab_size)
    }

    /// Floating-point operations of training on one token: three times the forward pass's 2·(Σ G·H·(inputs + H) + V·H).
    pub fn flops_per_token(&self) -> u64 {
        let gates = self.cell.n_gates() as u64;
        let layers: u64 = self
            .layer_sizes()
            .map(|(inputs, hidden)| gates * (hidden * (inputs + hidden)) as u64)
            .sum();
        6 * (layers + (self.vocab_size * self.last_hidden_size()) as u64)
    }

    /// (inputs, H) of every layer.
    fn layer_sizes(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = std::iter::once(self.embed_size).chain(self.hidden_sizes.iter().copied());
        inputs.zip(self.hidden_sizes.iter().copied())
    }

    /// Checks every size.
    ///
    /// # Errors
    /// When a size is zero or absurd, a rate outside of its range, or tied sizes differ.
    pub fn check(&self) -> Result<(), Error> {
        let in_range = |name, found: usize, limit| {
            if (1..=limit).contains(&found) {
                Ok(())
            } else {
                Err(Error::Size { name, found, limit })
            }
        };
        in_range("vocab_size", self.vocab_size, LARGEST_SIZE)?;
        in_range("embed", self.embed_size, LARGEST_SIZE)?;
        in_range("layers", self.hidden_sizes.len(), MOST_LAYERS)?;
        for &hidden in &self.hidden_sizes {
            in_range("hidden", hidden, LARGEST_SIZE)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::Number {
                name: "dropout",
                found: self.dropout,
                expected: "0 up to but not including 1",
            });
        }
        if !self.forget_bias.is_finite() {
            return Err(Error::Number {
                name: "forget_bias",
                found: self.forget_bias,
                expected: "a finite number",
            });
        }
        if self.tied && self.embed_size != self.last_hidden_size() {
            let (embed_size, hidden_size) = (self.embed_size, self.last_hidden_size());
            return Err(Error::Tied { embed_size, hidden_size });
        }
        let n_parameters = self.n_parameters();
        if n_parameters > MOST_PARAMETERS {
            return Err(Error::TooLarge { n_parameters, limit: MOST_PARAMETERS });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        check(|config| config.forget_bias = f32::INFINITY, "`forget_bias` is inf");
        check(|config| config.tied = true, "they are 128 and 256 wide");
        check(|config| config.hidden_sizes = vec![100_000; 3], "parameters; the limit");
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
        // performance.md's table of shapes states 25.5 MFLOP a token for this one.
        let char_512 = LanguageModelConfig {
            embed_size: 512,
            hidden_sizes: vec![512; 2],
            ..LanguageModelConfig::new(96)
        };
        assert_eq!(char_512.flops_per_token(), 25_460_736);
    }
}
