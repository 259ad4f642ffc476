//! The library people use: re-exports, examples, one tour.
//!
//! Language models that remember, on the CPU you have. The tour, from a text to a model that writes:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use recurra::data::Text;
//! use recurra::inference::GenerateOptions;
//! use recurra::train::{self, Corpus, Event, Length, RecipeOptions, Settings};
//! use recurra::Model;
//!
//! # let folder = tempfile::tempdir()?;
//! # let runs = folder.path();
//! // Text: files, folders, standard input, memory, or the stories inside the library.
//! let text = Text::from_string("a song", "row, row, row your boat, gently down the stream\n".repeat(60));
//!
//! // Train: whatever is not given is chosen from the text. The observer hears how it goes, the flag stops it.
//! let recipe = RecipeOptions { hidden: Some(vec![24]), length: Some(Length::Steps(30)), ..RecipeOptions::default() };
//! let settings = Settings { recipe, ..Settings::new(Corpus::Text(text.clone()), runs.join("song")) };
//! # let settings = Settings { cache: Some(runs.join("cache")), ..settings };
//! let mut observer = |event: &Event| {
//!     if let Event::Validated { step, bits_per_byte, .. } = event {
//!         println!("step {step}: {bits_per_byte:.2} bits a byte");
//!     }
//! };
//! let report = train::train(settings, &mut observer, &AtomicBool::new(false))?;
//! println!("{} tokens a second", report.tokens_per_second);
//!
//! // Use: a folder is a model.
//! let model = Model::open(runs.join("song"))?;
//! let score = model.evaluate(&text)?;
//! println!("{score} [{}]", score.signature);
//! println!("{}", model.generate("row, ", &GenerateOptions::default(), 1)?);
//!
//! // State: a text can be left, and gone on with, bit for bit.
//! let options = GenerateOptions { max_tokens: 20, ..GenerateOptions::default() };
//! let mut generator = model.generator(&options, 1)?;
//! generator.feed("gently ")?;
//! model.save_memory(&generator.memory(), runs.join("gently.state"))?;
//! let mut later = model.resume(&options, model.load_memory(runs.join("gently.state"))?)?;
//! assert_eq!(later.next_piece()?, generator.next_piece()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each stage of the data flow is a module, in the order in which data passes through them:
//!
//! ```text
//! text ─► tokens ─► batches ─► model ─► loss ─► (train) ─► checkpoint ─► score · generate
//!          data                models  layers    train     checkpoint    inference, metrics
//! ```
//!
//! Below them are [`tensor`] and [`kernels`]. The folder `examples` walks the same way in numbered files, from one LSTM
//! layer and plain gradient descent to states that are saved, forked and resumed.

mod error;
mod model;

pub use error::Error;
pub use model::Model;

pub use recurra_checkpoint as checkpoint;
pub use recurra_data as data;
pub use recurra_inference as inference;
pub use recurra_kernels as kernels;
pub use recurra_layers as layers;
pub use recurra_metrics as metrics;
pub use recurra_models as models;
pub use recurra_tensor as tensor;
pub use recurra_train as train;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

// The program in README is compiled with the tests, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
