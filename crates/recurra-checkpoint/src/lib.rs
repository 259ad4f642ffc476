//! A model on disk: weights, config, tokenizer, training state; import and export.
//!
//! ```text
//! my-model/
//!   config.json          model kind and sizes, format version
//!   model.safetensors    the best weights so far, with the names and the gate order of PyTorch
//!   tokenizer.json       Hugging Face tokenizers format
//!   README.md            model card
//!   training/            last.safetensors, previous.safetensors (weights, optimizer, carried state, progress), lock
//! ```
//! [`ModelFolder`] is that folder. Every file is replaced in one step by a whole one, carries a digest over every byte,
//! and names the `config.json` and `tokenizer.json` that it belongs to; so a folder is never half of one model and half
//! of another, and a file that was cut off or altered is never taken for a model.
//!
//! ```no_run
//! use recurra_checkpoint::{ModelFolder, StateFile};
//!
//! let saved = ModelFolder::open("my-model")?.load_model()?;
//! let state = StateFile { state: saved.model.zero_state(1), position: serde_json::Value::Null };
//! state.save("story.state".as_ref(), &saved.model, &saved.weights_sha256)?;
//! # Ok::<(), recurra_checkpoint::Error>(())
//! ```
//! A [`StateFile`] holds what a model remembers, a few kilobytes of a recurrent one, that go on where they left off.
#![warn(missing_docs)]

mod config_file;
mod disk;
mod error;
mod float_bytes;
mod hash;
mod layout;
mod model_folder;
mod replace;
mod run_lock;
mod saved_model;
mod saved_training;
mod state_file;
mod tensor_file;

pub use error::Error;
pub use hash::weights_sha256;
pub use model_folder::ModelFolder;
pub use saved_model::{ModelDescription, ModelNotes, SavedModel};
pub use saved_training::{SavedTraining, TrainingState, Warning};
pub use state_file::StateFile;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests;
