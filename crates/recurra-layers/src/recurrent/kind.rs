//! The cells by name.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::{
    Activation, Element, Input, Parameters, Random, RecurrentWeights, Tape, Var, Window, step,
};
use serde::{Deserialize, Serialize};

use super::{Cell as _, CellSize, CellState, Gru, Lstm, Mlstm, Rnn, Slstm};
use crate::{CellOptions, Transformer};
use super::{Cell as _, CellSize, CellState, Gru, Lstm, MinGru, MinLstm, Qrnn, Rnn, Sru};
use crate::CellOptions;

/// Which cell a recurrent layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellKind {
    /// Plain, with tanh.
    RnnTanh,
    /// Plain, with the rectifier.
    RnnRelu,
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru,
    /// A block of a Transformer decoder.
    Transformer,
    /// sLSTM block.
    Slstm,
    /// mLSTM block.
    Mlstm,
    /// Minimal gated recurrent unit.
    MinGru,
    /// Minimal long short-term memory.
    MinLstm,
    /// Quasi-recurrent network.
    Qrnn,
    /// Simple recurrent unit.
    Sru,
}

/// Does the same with the type of whichever cell it is.
macro_rules! of_kind {
    ($kind:expr, $cell:ident => $do:expr) => {
        match $kind {
            CellKind::RnnTanh | CellKind::RnnRelu => {
                type $cell = Rnn;
                $do
            }
            CellKind::Lstm => {
                type $cell = Lstm;
                $do
            }
            CellKind::Gru => {
                type $cell = Gru;
                $do
            }
            CellKind::Transformer => {
                type $cell = Transformer;
                $do
            }
            CellKind::Slstm => {
                type $cell = Slstm;
                $do
            }
            CellKind::Mlstm => {
                type $cell = Mlstm;
            CellKind::MinGru => {
                type $cell = MinGru;
                $do
            }
            CellKind::MinLstm => {
                type $cell = MinLstm;
                $do
            }
            CellKind::Qrnn => {
                type $cell = Qrnn;
                $do
            }
            CellKind::Sru => {
                type $cell = Sru;
                $do
            }
        }
    };
}

/// A word that names no cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCell(pub String);

impl CellKind {
    /// All cells.
    pub const ALL: [CellKind; 7] = [
    pub const ALL: [CellKind; 8] = [
        CellKind::RnnTanh,
        CellKind::RnnRelu,
        CellKind::Lstm,
        CellKind::Gru,
        CellKind::Transformer,
        CellKind::Slstm,
        CellKind::Mlstm,
        CellKind::MinGru,
        CellKind::MinLstm,
        CellKind::Qrnn,
        CellKind::Sru,
    ];

    /// Its name in a config and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::RnnTanh => "rnn-tanh",
            CellKind::RnnRelu => "rnn-relu",
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
            CellKind::Transformer => "transformer",
            CellKind::Slstm => "slstm",
            CellKind::Mlstm => "mlstm",
            CellKind::MinGru => "min-gru",
            CellKind::MinLstm => "min-lstm",
            CellKind::Qrnn => "qrnn",
            CellKind::Sru => "sru",
        }
    }

    /// What a layer with E = `inputs` and H = `hidden` costs.
    pub fn size(self, inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
        of_kind!(self, Cell => Cell::size(inputs, hidden, options))
    }

    /// The names of the parts of its state.
    pub fn parts(self) -> &'static [&'static str] {
        of_kind!(self, Cell => Cell::PARTS)
    }

    /// The names of the options that it knows.
    pub fn options(self) -> &'static [&'static str] {
        of_kind!(self, Cell => Cell::OPTIONS)
    }
}

impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CellKind {
    type Err = UnknownCell;

    fn from_str(word: &str) -> Result<Self, UnknownCell> {
        CellKind::ALL
            .into_iter()
            .find(|kind| kind.name() == word)
            .ok_or_else(|| UnknownCell(word.to_string()))
    }
}

impl fmt::Display for UnknownCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no cell is called `{}`; expected one of {}",
            self.0,
            CellKind::ALL.map(CellKind::name).join(", ")
        )
    }
}

impl std::error::Error for UnknownCell {}

/// A recurrent layer of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recurrent {
    /// Plain.
    Rnn(Rnn),
    /// Long short-term memory.
    Lstm(Lstm),
    /// Gated recurrent unit.
    Gru(Gru),
    /// A block of a Transformer decoder.
    Transformer(Transformer),
    /// sLSTM block.
    Slstm(Slstm),
    /// mLSTM block.
    Mlstm(Mlstm),
    /// Minimal gated recurrent unit.
    MinGru(MinGru),
    /// Minimal long short-term memory.
    MinLstm(MinLstm),
    /// Quasi-recurrent network.
    Qrnn(Qrnn),
    /// Simple recurrent unit.
    Sru(Sru),
}

/// Does the same with whichever cell it is.
macro_rules! each {
    ($layer:expr, $cell:ident => $do:expr) => {
        match $layer {
            Recurrent::Rnn($cell) => $do,
            Recurrent::Lstm($cell) => $do,
            Recurrent::Gru($cell) => $do,
            Recurrent::Transformer($cell) => $do,
            Recurrent::Slstm($cell) => $do,
            Recurrent::Mlstm($cell) => $do,
            Recurrent::MinGru($cell) => $do,
            Recurrent::MinLstm($cell) => $do,
            Recurrent::Qrnn($cell) => $do,
            Recurrent::Sru($cell) => $do,
        }
    };
}

impl Recurrent {
    /// Declares layer number `layer` of the given kind.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        kind: CellKind,
        layer: usize,
        inputs: usize,
        hidden: usize,
        options: &CellOptions,
    ) -> Self {
        let rnn = |parameters: &mut _, activation| {
            Recurrent::Rnn(Rnn::declare(parameters, layer, inputs, hidden, activation, options))
        };
        match kind {
            CellKind::RnnTanh => rnn(parameters, Activation::Tanh),
            CellKind::RnnRelu => rnn(parameters, Activation::Relu),
            CellKind::Lstm => {
                Recurrent::Lstm(Lstm::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::Gru => {
                Recurrent::Gru(Gru::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::Transformer => Recurrent::Transformer(Transformer::declare(
                parameters, layer, inputs, hidden, options,
            )),
            CellKind::Slstm => {
                Recurrent::Slstm(Slstm::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::Mlstm => {
                Recurrent::Mlstm(Mlstm::declare(parameters, layer, inputs, hidden, options))
            CellKind::MinGru => {
                Recurrent::MinGru(MinGru::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::MinLstm => {
                Recurrent::MinLstm(MinLstm::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::Qrnn => {
                Recurrent::Qrnn(Qrnn::declare(parameters, layer, inputs, hidden, options))
            }
            CellKind::Sru => {
                Recurrent::Sru(Sru::declare(parameters, layer, inputs, hidden, options))
            }
        }
    }

    /// The cell and the weights for steps one token at a time by kernels of their own, where the family has them.
    pub fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        match self {
            Recurrent::Rnn(rnn) => Some((step::CellKind::Rnn(rnn.activation()), *rnn.weights())),
            Recurrent::Lstm(lstm) => Some((step::CellKind::Lstm, *lstm.weights())),
            Recurrent::Gru(gru) => Some((step::CellKind::Gru, *gru.weights())),
            Recurrent::Transformer(_) | Recurrent::Slstm(_) | Recurrent::Mlstm(_) => None,
        }
    }

    /// The same with dropout on the branches of a residual link, and whether there is one: dropout between layers would cut it.
    #[must_use]
    pub(crate) fn with_branch_dropout(self, rate: f32) -> (Self, bool) {
        match self {
            Recurrent::Transformer(block) => {
                (Recurrent::Transformer(block.with_dropout(rate)), true)
            }
            other => (other, false),
            Recurrent::MinGru(_)
            | Recurrent::MinLstm(_)
            | Recurrent::Qrnn(_)
            | Recurrent::Sru(_) => None,
        }
    }

    /// H.
    pub fn hidden_size(&self) -> usize {
        each!(self, cell => cell.hidden_size())
    }

    /// As [`Cell::part_widths`](super::Cell::part_widths).
    pub fn part_widths(&self) -> Vec<usize> {
        each!(self, cell => cell.part_widths())
    }

    /// As [`Cell::initialize`](super::Cell::initialize).
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        each!(self, cell => cell.initialize(parameters, random));
    }

    /// As [`Cell::zero_state`](super::Cell::zero_state).
    pub fn zero_state<E: Element>(&self, batch: usize) -> CellState<E> {
        each!(self, cell => cell.zero_state(batch))
    }

    /// As [`Cell::sequence`](super::Cell::sequence).
    pub fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        each!(self, cell => cell.sequence(tape, x, window, state))
    }
}
