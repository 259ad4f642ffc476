//! What a model can do: score, generate, inspect. Changes no weight.
//!
//! [`ModelRef`] is a model in memory. [`score_text`] says how well it predicts a text. A [`Generator`] writes with it;
//! where its text stands is a [`Memory`], a few kilobytes of a recurrent model, that can be saved, restored and forked.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use recurra_data::{Text, Tokenizer, TokenizerSpec};
//! use recurra_inference::{GenerateOptions, Generator, ModelRef};
//! use recurra_models::{LanguageModel, LanguageModelConfig};
//! use recurra_tensor::{Cpu, Parameters};
//!
//! let tokenizer = Tokenizer::train(&TokenizerSpec::Char, &Text::from_string("abc", "abcabc\n".into()))?;
//! let mut parameters = Parameters::new();
//! let network = LanguageModel::new(&LanguageModelConfig::new(tokenizer.vocab_size()), &mut parameters)?;
//! network.initialize(&mut parameters, 1);
//! let cpu = Cpu::new(1)?;
//! let model = ModelRef::new(&cpu, &network, &parameters, &tokenizer)?;
//!
//! let options = GenerateOptions { max_tokens: 20, ..GenerateOptions::default() };
//! let mut generator = Generator::new(model, &options, 7)?;
//! generator.feed("ab")?;
//! let fork = generator.memory(); // the same text, twice
//! let write = |generator: &mut Generator| {
//!     let mut text = String::new();
//!     generator.write(&mut |piece| {
//!         text.push_str(piece);
//!         ControlFlow::Continue(())
//!     })?;
//!     Ok::<_, recurra_inference::Error>(text)
//! };
//! let text = write(&mut generator)?;
//! assert_eq!(write(&mut Generator::resume(model, &options, fork)?)?, text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod dependencies;
mod error;
#[cfg(test)]
mod fixture;
mod generate;
mod memory;
mod model_ref;
mod predictor;
mod sampler;
mod score;
mod stop;
mod warning;

pub use dependencies::{Kept, dependencies};
pub use error::Error;
pub use generate::{Ended, GenerateOptions, Generator, Written};
pub use memory::Memory;
pub use model_ref::ModelRef;
pub use sampler::{Draws, Recent, Sampler, Sampling};
pub use score::{
    AddOns, DynamicEvaluation, Evaluation, NeuralCache, Tuned, score, score_text, signature_of,
};
pub use stop::{Found, StopStrings};
pub use warning::Warning;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
