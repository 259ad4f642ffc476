//! Recurrent layers: one trait for all cells, one file a cell, and a stack of layers.

mod bidirectional;
mod cell;
mod gru;
mod kind;
mod lstm;
mod min_gru;
mod min_lstm;
mod minimal;
mod mlstm;
mod mogrifier;
mod qrnn;
mod rnn;
mod scan;
mod slstm;
mod sru;
mod stack;
mod xlstm;

pub use bidirectional::Bidirectional;
pub use cell::{Cell, CellSize, CellState};
pub use gru::Gru;
pub use kind::{CellKind, Recurrent, UnknownCell};
pub use lstm::Lstm;
pub use min_gru::MinGru;
pub use min_lstm::MinLstm;
pub use mlstm::Mlstm;
pub use mogrifier::Mogrifier;
pub use qrnn::Qrnn;
pub use rnn::Rnn;
pub use slstm::Slstm;
pub use sru::Sru;
pub use stack::{RecurrentStack, Top};

#[cfg(test)]
mod tests;
