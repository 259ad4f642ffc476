//! Why a network cannot be built.

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
    /// Tied weights whose sizes differ.
    #[error(
        "tied weights need an embedding as wide as the last layer; they are {embed_size} and {hidden_size} wide"
    )]
    Tied {
        /// E.
        embed_size: usize,
        /// H of the last layer.
        hidden_size: usize,
    },
    /// Too many parameters.
    #[error("the network would have {n_parameters} parameters; the limit is {limit}")]
    TooLarge {
        /// How many it would have.
        n_parameters: u128,
        /// How many are allowed.
        limit: u128,
    },
}

impl Error {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Size { name, .. } => format!("choose a smaller or larger `{name}`"),
            Error::Number { name, expected, .. } => format!("give `{name}` a value of {expected}"),
            Error::Tied { hidden_size, .. } => {
                format!("set the embedding size to {hidden_size}, or leave the weights untied")
            }
            Error::TooLarge { .. } => "make the layers or the vocabulary smaller".to_string(),
        })
    }
}
