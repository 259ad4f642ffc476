//! The rules of the tape: for each fused operation how it runs forward and how its gradient runs backward.

mod activation;
mod attention;
mod block_linear;
mod columns;
mod convolution;
pub(crate) mod cross_entropy;
mod dropout;
mod embedding;
pub(crate) mod gru;
pub(crate) mod input;
mod layer;
mod linear;
pub(crate) mod lstm;
mod mlstm;
pub(crate) mod mogrifier;
mod norm;
mod penalty;
mod pointwise;
mod reverse;
pub(crate) mod rnn;
pub(crate) mod scan;
pub(crate) mod slstm;
mod squared_error;
pub(crate) mod sweep;
mod unfold;
mod word_dropout;

use recurra_kernels::Element;

use crate::arena::Arena;
use crate::tape::{Tape, Var};

/// What an operation keeps for its backward pass.
#[derive(Debug)]
pub(crate) enum Op<E> {
    Constant,
    Embedding(embedding::Embedding),
    Dropout(dropout::Dropout),
    WordDropout(word_dropout::WordDropout<E>),
    Linear(linear::Linear),
    Norm(norm::Norm),
    Activated(activation::Activated),
    Attended(attention::Attended<E>),
    Sum(pointwise::Sum),
    Product(pointwise::Product),
    Reversed(reverse::Reversed),
    Beside(columns::Beside),
    Rnn(rnn::Rnn),
    Lstm(lstm::Lstm<E>),
    Mogrifier(mogrifier::Mogrifier<E>),
    Gru(gru::Gru<E>),
    Scan(scan::Scan<E>),
    Unfold(unfold::Unfold),
    Layer(layer::Layer<E>),
    Penalty(penalty::Penalty),
    BlockLinear(block_linear::BlockLinear),
    Convolution(convolution::Convolution<E>),
    Slstm(slstm::Slstm<E>),
    Mlstm(mlstm::Mlstm<E>),
    CrossEntropy(cross_entropy::CrossEntropy<E>),
    SquaredError(squared_error::SquaredError<E>),
}

impl<E: Element> Op<E> {
    /// Passes the gradient that arrived at `out` on to the operation's inputs and parameters; returns what still holds
    /// buffers.
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) -> Op<E> {
        match self {
            Op::Constant => {}
            Op::Embedding(op) => op.backward(tape, out),
            Op::Dropout(op) => op.backward(tape, out),
            Op::WordDropout(op) => op.backward(tape, out),
            Op::Linear(op) => op.backward(tape, out),
            Op::Norm(op) => op.backward(tape, out),
            Op::Activated(op) => op.backward(tape, out),
            Op::Attended(op) => return Op::Attended(op.backward(tape, out)),
            Op::Sum(op) => op.backward(tape, out),
            Op::Product(op) => op.backward(tape, out),
            Op::Reversed(op) => op.backward(tape, out),
            Op::Beside(op) => op.backward(tape, out),
            Op::Rnn(op) => op.backward(tape, out),
            Op::Lstm(op) => op.backward(tape, out),
            Op::Mogrifier(op) => op.backward(tape, out),
            Op::Gru(op) => op.backward(tape, out),
            Op::Scan(op) => op.backward(tape, out),
            Op::Unfold(op) => op.backward(tape, out),
            Op::Layer(op) => op.backward(tape, out),
            Op::Penalty(op) => op.backward(tape),
            Op::BlockLinear(op) => op.backward(tape, out),
            Op::Convolution(op) => op.backward(tape, out),
            Op::Slstm(op) => op.backward(tape, out),
            Op::Mlstm(op) => op.backward(tape, out),
            Op::CrossEntropy(op) => return Op::CrossEntropy(op.backward(tape)),
            Op::SquaredError(op) => return Op::SquaredError(op.backward(tape)),
        }
        Op::Constant
    }

    /// The mean loss, if the operation is one.
    pub(crate) fn loss(&self) -> Option<f64> {
        match self {
            Op::CrossEntropy(op) => Some(op.mean_nats),
            Op::SquaredError(op) => Some(op.mean_square),
            _ => None,
        }
    }

    /// Gives every buffer back.
    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        match self {
            Op::WordDropout(op) => op.recycle(arena),
            Op::Lstm(op) => op.recycle(arena),
            Op::Mogrifier(op) => op.recycle(arena),
            Op::Gru(op) => op.recycle(arena),
            Op::Attended(op) => op.recycle(arena),
            Op::Scan(op) => op.recycle(arena),
            Op::Layer(op) => op.recycle(arena),
            Op::Convolution(op) => op.recycle(arena),
            Op::Slstm(op) => op.recycle(arena),
            Op::Mlstm(op) => op.recycle(arena),
            Op::CrossEntropy(op) => op.recycle(arena),
            Op::SquaredError(op) => op.recycle(arena),
            _ => {}
        }
    }
}
