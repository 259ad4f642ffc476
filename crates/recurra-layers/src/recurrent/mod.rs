//! Recurrent layers: one trait for all cells, one file a cell, and a stack of layers.

mod cell;
mod gru;
mod kind;
mod lstm;
mod mlstm;
mod rnn;
mod slstm;
mod stack;

pub use cell::{Cell, CellSize, CellState, initialize_uniform};
pub use gru::Gru;
pub use kind::{CellKind, Recurrent, UnknownCell};
pub use lstm::Lstm;
pub use mlstm::Mlstm;
pub use rnn::Rnn;
pub use slstm::Slstm;
pub use stack::{RecurrentStack, Top};

#[cfg(test)]
mod tests;
