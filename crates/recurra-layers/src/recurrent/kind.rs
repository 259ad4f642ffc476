//! The cells by name.

use std::fmt;
use std::str::FromStr;

use recurra_tensor::{
    Activation, Element, Input, Parameters, Random, RecurrentWeights, Tape, Var, Window, step,
};
use serde::{Deserialize, Serialize};

use super::{
    Cell as _, CellSize, CellState, Gru, Lstm, MinGru, MinLstm, Mlstm, Mogrifier, Qrnn, Rnn, Slstm,
    Sru,
};
use crate::{CellOptions, Dropout, Transformer};

/// Declares the families, a line each: what it is, its name in a config and on the command line, its type, and what
/// `declare` of that type wants to know beside sizes and options.
macro_rules! cells {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: $cell:ident $(($argument:expr))?,)*) => {
        /// Which cell a recurrent layer has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum CellKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        /// A recurrent layer of any kind.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Recurrent {
            $($(#[$doc])* $kind($cell),)*
        }

        impl CellKind {
            /// All cells.
            pub const ALL: [CellKind; [$($name),*].len()] = [$(CellKind::$kind),*];

            /// Its name in a config and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(CellKind::$kind => $name,)*
                }
            }

            /// What a layer with E = `inputs` and H = `hidden` costs.
            pub fn size(self, inputs: usize, hidden: usize, options: &CellOptions) -> CellSize {
                match self {
                    $(CellKind::$kind => $cell::size(inputs, hidden, options),)*
                }
            }

            /// The values that a stream has in each part of the state of such a layer.
            pub fn state_widths(
                self,
                inputs: usize,
                hidden: usize,
                options: &CellOptions,
            ) -> Vec<usize> {
                match self {
                    $(CellKind::$kind => $cell::state_widths(inputs, hidden, options),)*
                }
            }

            /// The names of the parts of its state.
            pub fn parts(self) -> &'static [&'static str] {
                match self {
                    $(CellKind::$kind => $cell::PARTS,)*
                }
            }

            /// The names of the options that it knows.
            pub fn options(self) -> &'static [&'static str] {
                match self {
                    $(CellKind::$kind => $cell::OPTIONS,)*
                }
            }

            /// Name and value of those of the given options that mean nothing to it.
            pub fn unknown(self, options: &CellOptions) -> Vec<(&'static str, String)> {
                let mut given = options.given();
                given.retain(|(name, _)| !self.options().contains(name));
                given
            }
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
                match kind {
                    $(CellKind::$kind => Recurrent::$kind($cell::declare(
                        parameters, layer, inputs, hidden, $($argument,)? options,
                    )),)*
                }
            }

            /// The same with dropout on the branches of a residual link, and whether there is one: dropout between layers would
            /// cut it.
            #[must_use]
            pub(crate) fn with_branch_dropout(self, dropout: Dropout) -> (Self, bool) {
                match self {
                    $(Recurrent::$kind(cell) => {
                        let (cell, is_residual) = cell.with_branch_dropout(dropout);
                        (Recurrent::$kind(cell), is_residual)
                    })*
                }
            }
        }

        /// Does the same with whichever cell it is.
        macro_rules! each {
            ($layer:expr, $value:ident => $do:expr) => {
                match $layer {
                    $(Recurrent::$kind($value) => $do,)*
                }
            };
        }
    };
}

cells! {
    /// Plain, with tanh.
    RnnTanh = "rnn-tanh": Rnn(Activation::Tanh),
    /// Plain, with the rectifier.
    RnnRelu = "rnn-relu": Rnn(Activation::Relu),
    /// Long short-term memory.
    Lstm = "lstm": Lstm,
    /// Long short-term memory whose input and state scale each other before each step.
    Mogrifier = "mogrifier": Mogrifier,
    /// Gated recurrent unit.
    Gru = "gru": Gru,
    /// Quasi-recurrent network.
    Qrnn = "qrnn": Qrnn,
    /// Simple recurrent unit.
    Sru = "sru": Sru,
    /// Gated recurrent unit without recurrent weights.
    MinGru = "min-gru": MinGru,
    /// Long short-term memory without recurrent weights.
    MinLstm = "min-lstm": MinLstm,
    /// Block with an LSTM of exponential gates.
    Slstm = "slstm": Slstm,
    /// Block with an LSTM that remembers a matrix.
    Mlstm = "mlstm": Mlstm,
    /// Block of a Transformer decoder.
    Transformer = "transformer": Transformer,
}

impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCell(pub String);

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

impl Recurrent {
    /// As [`Cell::step_weights`](super::Cell::step_weights).
    pub fn step_weights(&self) -> Option<(step::CellKind, RecurrentWeights)> {
        each!(self, cell => cell.step_weights())
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
