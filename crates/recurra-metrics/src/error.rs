//! What can go wrong with a score: a signature that cannot be read, and two that do not match.

use crate::Incomparable;

/// What can go wrong with a score.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a signature at all.
    #[error(
        "`{text}` is not a score signature: expected fields joined by `|`, the first of them `lm`"
    )]
    NotASignature {
        /// The text that came.
        text: String,
    },
    /// A part of the signature is not `key:value`, or its key is not known.
    #[error("`{part}` in a score signature is not a field: expected one of {}", expected.join(", "))]
    UnknownField {
        /// The part as it came.
        part: String,
        /// The keys there are.
        expected: Vec<&'static str>,
    },
    /// A field is absent.
    #[error("the score signature has no field `{key}`")]
    MissingField {
        /// The key of the field.
        key: &'static str,
    },
    /// A field stands twice.
    #[error("the score signature has the field `{key}` twice")]
    RepeatedField {
        /// The key of the field.
        key: &'static str,
    },
    /// A field holds a value that it cannot hold.
    #[error(
        "`{value}` is not a value of the field `{key}` of a score signature: expected {expected}"
    )]
    BadValue {
        /// The key of the field.
        key: &'static str,
        /// The value that came.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Two scores were not measured alike.
    #[error(transparent)]
    Incomparable(#[from] Incomparable),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotASignature { .. } | Error::MissingField { .. } | Error::RepeatedField { .. } => {
                Some("copy the whole line that `recurra eval` shows after `signature`".into())
            }
            Error::UnknownField { .. } | Error::BadValue { .. } => {
                Some("copy the whole line that `recurra eval` shows; a newer version may have written it".into())
            }
            Error::Incomparable(incomparable) => Some(incomparable.hint()),
        }
    }
}
