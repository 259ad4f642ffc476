//! What can go wrong when a model is used, and what to do about it.

/// What can go wrong when a model is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside of its range.
    #[error("`{name}` is {found}; expected {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// What helps a score asks for more than prepared weights have.
    #[error(
        "a temperature, a cache and dynamic evaluation need the weights as training has them; these are stored in `{storage}`"
    )]
    Storage {
        /// How the weights are stored.
        storage: String,
    },
    /// Dynamic evaluation without the statistics that it needs.
    #[error(
        "there are no statistics of the training text for dynamic evaluation in segments of {segment} tokens"
    )]
    Statistics {
        /// Tokens of a segment.
        segment: usize,
    },
    /// A stop string without a character.
    #[error("a stop string is empty; expected at least one character")]
    EmptyStop,
    /// The model predicts what is no number.
    #[error("the model's predictions are not finite numbers")]
    Logits,
    /// Dynamic evaluation changed the weights until they predicted nothing.
    #[error(
        "with a rate η of {learning_rate}, dynamic evaluation led to predictions that are not finite numbers"
    )]
    Lost {
        /// η.
        learning_rate: f64,
    },
    /// The tokenizer is not the one that the network was made for.
    #[error("the tokenizer has {found} tokens; the model was made for {expected}")]
    Vocabulary {
        /// Tokens of the tokenizer.
        found: usize,
        /// Tokens that the network knows.
        expected: usize,
    },
    /// A token file was made by another tokenizer than the model's.
    #[error("the tokens were made by tokenizer {found}; the model's is {expected}")]
    OtherTokenizer {
        /// The hash of the one that made them.
        found: String,
        /// The hash of the model's.
        expected: String,
    },
    /// A token file holds what no token of this model is.
    #[error("the tokens to score hold id {id}; the model knows ids below {vocab_size}")]
    Token {
        /// The id.
        id: u32,
        /// Tokens that the network knows.
        vocab_size: usize,
    },
    /// There is nothing to predict.
    #[error(
        "the text has {tokens} tokens; a score needs at least 2, one to read and one to predict"
    )]
    TooShort {
        /// All there were.
        tokens: usize,
    },
    /// Whoever heard of the progress broke off.
    #[error("scoring was stopped after {done} of {total} tokens, windows or stories")]
    Stopped {
        /// Tokens or stories that were scored, or windows that statistics were taken of.
        done: u64,
        /// All there were.
        total: u64,
    },
    /// A state file does not say where a text of this model stands.
    #[error("the state file cannot be continued: {reason}")]
    Position {
        /// What does not fit.
        reason: String,
    },
    /// The text or the tokenizer.
    #[error(transparent)]
    Data(#[from] recurra_data::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Setting { name, expected, .. } => format!("set the {name} to {expected}"),
            Error::Storage { .. } => "leave the precision to be chosen".into(),
            Error::Statistics { .. } => "collect them from the training text first".into(),
            Error::EmptyStop => "leave the empty stop string out".into(),
            Error::Vocabulary { .. } | Error::OtherTokenizer { .. } | Error::Token { .. } => {
                "use the `tokenizer.json` that was saved with this model".into()
            }
            Error::TooShort { .. } => "give a longer text".into(),
            Error::Stopped { .. } => {
                "let it run to the end for a score that can be compared".into()
            }
            Error::Lost { .. } => {
                "give a lower η, or none and a validation text to choose it by".into()
            }
            Error::Position { .. } => {
                "continue with the model that wrote the state, or start without --state-in".into()
            }
            Error::Data(error) => return error.hint(),
            Error::Logits => {
                "the weights are damaged: train again, or take an earlier checkpoint".into()
            }
        })
    }
}
