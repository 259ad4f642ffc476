//! The cells by name.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::{
    Activation, Element, Input, Parameters, Random, RecurrentWeights, Tape, Var, Window,
};
use serde::{Deserialize, Serialize};

use super::{Cell, CellState, Gru, Lstm, Rnn};

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
}

/// A word that names no cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCell(pub String);

impl CellKind {
    /// All cells.
    pub const ALL: [CellKind; 4] =
        [CellKind::RnnTanh, CellKind::RnnRelu, CellKind::Lstm, CellKind::Gru];

    /// Its name in a config and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::RnnTanh => "rnn-tanh",
            CellKind::RnnRelu => "rnn-relu",
            CellKind::Lstm => "lstm",
            CellKind::Gru => "gru",
        }
    }

    /// How many gates it has.
    pub fn n_gates(self) -> usize {
        match self {
            CellKind::RnnTanh | CellKind::RnnRelu => Rnn::N_GATES,
            CellKind::Lstm => Lstm::N_GATES,
            CellKind::Gru => Gru::N_GATES,
        }
    }

    /// The names of the parts of its state.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            CellKind::RnnTanh | CellKind::RnnRelu => Rnn::PARTS,
            CellKind::Lstm => Lstm::PARTS,
            CellKind::Gru => Gru::PARTS,
        }
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
}

/// Does the same with whichever cell it is.
macro_rules! each {
    ($layer:expr, $cell:ident => $do:expr) => {
        match $layer {
            Recurrent::Rnn($cell) => $do,
            Recurrent::Lstm($cell) => $do,
            Recurrent::Gru($cell) => $do,
        }
    };
}

impl Recurrent {
    /// Declares layer number `layer` of the given kind; `forget_bias` is for cells with a forget gate.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        kind: CellKind,
        layer: usize,
        inputs: usize,
        hidden: usize,
        forget_bias: f32,
    ) -> Self {
        match kind {
            CellKind::RnnTanh => {
                Recurrent::Rnn(Rnn::declare(parameters, layer, inputs, hidden, Activation::Tanh))
            }
            CellKind::RnnRelu => {
                Recurrent::Rnn(Rnn::declare(parameters, layer, inputs, hidden, Activation::Relu))
            }
            CellKind::Lstm => {
                Recurrent::Lstm(Lstm::declare(parameters, layer, inputs, hidden, forget_bias))
            }
            CellKind::Gru => Recurrent::Gru(Gru::declare(parameters, layer, inputs, hidden)),
        }
    }

    /// The names of the cell's parameters.
    pub fn weights(&self) -> &RecurrentWeights {
        each!(self, cell => cell.weights())
    }

    /// H.
    pub fn hidden_size(&self) -> usize {
        each!(self, cell => cell.hidden_size())
    }

    /// As [`Cell::initialize`].
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        each!(self, cell => cell.initialize(parameters, random));
    }

    /// As [`Cell::zero_state`].
    pub fn zero_state<E: Element>(&self, batch: usize) -> CellState<E> {
        each!(self, cell => cell.zero_state(batch))
    }

    /// As [`Cell::sequence`].
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
