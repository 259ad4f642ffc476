//! Layers and losses: embedding, recurrent, attention, norm, dropout, softmax loss.
//!
//! A layer holds the names of its parameters and its sizes, no numbers: the numbers are in one flat
//! [`Parameters`](recurra_tensor::Parameters) store, and a [`Tape`](recurra_tensor::Tape) brings both together.
#![warn(missing_docs)]

mod embedding;
mod linear;
mod options;
mod recurrent;
mod softmax_loss;

pub use embedding::Embedding;
pub use linear::Linear;
pub use options::{CellOptions, Regularization};
pub use recurrent::{
    Cell, CellKind, CellSize, CellState, Gru, Lstm, Recurrent, RecurrentStack, Rnn, Top,
    UnknownCell, initialize_uniform,
};
pub use softmax_loss::SoftmaxLoss;
