//! Why a network cannot be built.

use recurra_layers::CellKind;

/// A config that describes no network, or one that no machine could hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size that is zero or absurd.
    #[error("`{name}` is {found}; expected 1 to {limit}")]
    Size {
        /// Which size.
        name: &'static str,
        /// What it is.
        found: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// A number outside of its range.
    #[error("`{name}` is {found}; expected {expected}")]
    Number {
        /// Which number.
        name: &'static str,
        /// What it is.
        found: f32,
        /// What it should be, in words.
        expected: &'static str,
    },
    /// An option that the cell does not know.
    #[error("`{option}` means nothing to the cell `{cell}`")]
    Option {
        /// Which option.
        option: &'static str,
        /// The cell.
        cell: CellKind,
    },
    /// Heads that do not share a width.
    #[error("{heads} heads cannot share {width} values evenly")]
    Heads {
        /// How many heads.
        heads: usize,
        /// The width of the layer.
        width: usize,
    },
    /// Heads of one value, which rotation cannot tell the positions of.
    #[error(
        "{heads} heads of a Transformer of {width} values have one each, which cannot be rotated"
    )]
    Rotary {
        /// How many heads.
        heads: usize,
        /// The width of the layer.
        width: usize,
    },
    /// Outputs of different widths that are to be summed.
    #[error("a layer of {width} values cannot be summed with a last one of {last}")]
    Summed {
        /// The width of the layer.
        width: usize,
        /// That of the last.
        last: usize,
    },
    /// Too many parameters.
    #[error("the network would have {n_parameters} parameters; the limit is {limit}")]
    TooLarge {
        /// How many it would have.
        n_parameters: u128,
        /// How many are allowed.
        limit: u128,
    },
    /// Too much to remember.
    #[error("each stream would remember {n_values} values; the limit is {limit}")]
    LargeState {
        /// How many it would remember.
        n_values: u128,
        /// How many are allowed.
        limit: u128,
    },
}

impl Error {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Size { name, limit, .. } => format!("give `{name}` a value of 1 to {limit}"),
            Error::Number { name, expected, .. } => format!("give `{name}` a value of {expected}"),
            Error::Option { option, cell } => match cell.options() {
                [] => format!("leave `{option}` out: `{cell}` has no options"),
                options => format!("leave `{option}` out; `{cell}` knows {}", options.join(", ")),
            },
            Error::Heads { width, .. } => {
                format!("choose a number of heads that divides {width}")
            }
            Error::Rotary { .. } => {
                "give fewer `heads`, or `positions` that are learned".to_string()
            }
            Error::Summed { last, .. } => {
                format!("give every layer {last} values, or leave `summed_outputs` out")
            }
            Error::TooLarge { .. } => "make the layers or the vocabulary smaller".to_string(),
            Error::LargeState { .. } => {
                "give a smaller `context`, narrower layers or fewer of them".to_string()
            }
        })
    }
}
