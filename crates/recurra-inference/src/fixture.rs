//! A small model with random weights over the tokenizer of a small text, for tests.

use recurra_checkpoint::{SavedModel, weights_sha256};
use recurra_data::{Text, Tokenizer, TokenizerSpec};
use recurra_models::{CellKind, LanguageModel, LanguageModelConfig};
use recurra_tensor::{Cpu, Parameters, Precision};

use crate::ModelRef;

/// Letters of one to four bytes, several lines, words that come again.
pub const TEXT: &str = "the cat saw the dog\nça va, Zoë? 你好 🦀 the end\n\nthe dog saw a cat\n";

pub struct Fixture {
    pub cpu: Cpu,
    pub saved: SavedModel,
}

impl Fixture {
    pub fn new(spec: &str, cell: CellKind, hidden_sizes: Vec<usize>) -> Self {
        let spec: TokenizerSpec = spec.parse().unwrap();
        let tokenizer = Tokenizer::train(&spec, &Text::from_string("text", TEXT.into())).unwrap();
        let base = LanguageModelConfig::new(tokenizer.vocab_size());
        let config = LanguageModelConfig { cell, embed_size: 5, hidden_sizes, ..base };
        let mut parameters = Parameters::new();
        let model = LanguageModel::new(&config, &mut parameters).unwrap();
        model.initialize(&mut parameters, 3);
        // Strong enough that one token matters for the next.
        for id in parameters.ids() {
            parameters.value_mut(id).iter_mut().for_each(|value| *value *= 4.0);
        }
        let weights_sha256 = weights_sha256(&parameters);
        let saved =
            SavedModel { config, model, parameters, tokenizer, weights_sha256, notes: None };
        Self { cpu: Cpu::with_precision(Some(Precision::F32), 1).unwrap(), saved }
    }

    /// An LSTM of two layers.
    pub fn lstm(spec: &str) -> Self {
        Self::new(spec, CellKind::Lstm, vec![9, 7])
    }

    pub fn model(&self) -> ModelRef<'_> {
        ModelRef::of(&self.cpu, &self.saved).unwrap()
    }

    /// Makes the model say only these tokens, whatever it has read, each as often as it stands here.
    pub fn say_only(&mut self, ids: &[u32]) {
        let parameters = &mut self.saved.parameters;
        let [weight, bias] =
            ["output.weight", "output.bias"].map(|name| parameters.find(name).unwrap());
        parameters.value_mut(weight).fill(0.0);
        let bias = parameters.value_mut(bias);
        bias.fill(-200.0);
        for (id, bias) in (0..).zip(bias) {
            let count = ids.iter().filter(|&&said| said == id).count();
            if count > 0 {
                *bias = (count as f32).ln();
            }
        }
    }
}
