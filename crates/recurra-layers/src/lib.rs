//! Layers and losses: embedding, recurrent, attention, norm, dropout, softmax loss.
//!
//! A layer holds the names of its parameters and its sizes, no numbers: the numbers are in one flat
//! [`Parameters`](recurra_tensor::Parameters) store, and a [`Tape`](recurra_tensor::Tape) brings both together.
#![warn(missing_docs)]

mod attention;
mod dropout;
mod embedding;
mod ends;
mod feed_forward;
mod linear;
mod norm;
mod options;
mod recurrent;
mod softmax_loss;
mod transformer;

pub use attention::{Attention, PositionKind};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use feed_forward::{ActivationKind, FeedForward};
pub use linear::Linear;
pub use norm::{Norm, NormKind};
pub use options::{CellOptions, Regularization};
pub use recurrent::{
    Bidirectional, Cell, CellKind, CellSize, CellState, Gru, Lstm, MinGru, MinLstm, Mlstm,
    Mogrifier, Qrnn, Recurrent, RecurrentStack, Rnn, Slstm, Sru, Top, UnknownCell,
};
pub use softmax_loss::SoftmaxLoss;
pub use transformer::Transformer;
