//! Whole networks built from a config. Know no optimizer, file, flag or text.
//!
//! ```
//! use recurra_models::{LanguageModel, LanguageModelConfig};
//! use recurra_tensor::{Cpu, Optimizer, Parameters, Tape, Window, Workspace};
//!
//! let config = LanguageModelConfig { embed_size: 8, hidden_sizes: vec![16], ..LanguageModelConfig::new(3) };
//! let mut parameters = Parameters::<f32>::new();
//! let model = LanguageModel::new(&config, &mut parameters)?;
//! model.initialize(&mut parameters, 1);
//! let (cpu, mut workspace) = (Cpu::new(1)?, Workspace::new());
//! let window = Window { time: 5, batch: 1 };
//! for step in 1..=100 {
//!     let mut state = model.zero_state(1);
//!     let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, step);
//!     let loss = model.loss(&mut tape, &[0, 1, 2, 0, 1], &[1, 2, 0, 1, 2], window, &mut state);
//!     tape.backward(loss);
//!     Optimizer::ADAMW.step(&cpu, &mut parameters, step, 0.02, None);
//! }
//! let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
//! let nats = model.nats(&mut tape, &[0, 1, 2], &[1, 2, 0], Window { time: 3, batch: 1 }, &mut model.zero_state(1));
//! assert!(nats < 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod config;
mod error;
mod language_model;
mod prepared;
mod state;
mod tape_stepper;

pub use config::LanguageModelConfig;
pub use error::Error;
pub use language_model::LanguageModel;
pub use prepared::{Prepared, Stepper};
pub use recurra_layers::{
    ActivationKind, CellKind, CellOptions, CellState, NormKind, PositionKind, Regularization,
    UnknownCell,
};
pub use state::State;
