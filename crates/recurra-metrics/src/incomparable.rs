//! Two scores that may not stand side by side, field by field and with the reason.

use std::fmt;

/// Two scores were not measured alike: every field that differs and matters, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomparable {
    /// The quantity that was to be compared.
    pub quantity: Quantity,
    /// What differs, in the order of the signature; never empty.
    pub differences: Vec<Difference>,
}

/// One field that differs between two signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: Field,
    /// Its value on this side.
    pub ours: String,
    /// Its value on the other side.
    pub theirs: String,
    /// Why it matters, as half a sentence.
    pub reason: &'static str,
}

/// A quantity in which two scores can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Loss and perplexity by token.
    TokenPerplexity,
    /// Perplexity by word.
    WordPerplexity,
    /// Bits per byte.
    BitsPerByte,
}

/// A field of a [`Signature`](crate::Signature), in the order of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `unit`: what one token is.
    Unit,
    /// `tok`: the tokenizer.
    Tokenizer,
    /// `ctx`: how far back a prediction may look.
    Context,
    /// `state`: whether the state runs on.
    State,
    /// `temp`: the temperature of the softmax.
    Temperature,
    /// `cache`: the neural cache.
    Cache,
    /// `dyn`: dynamic evaluation.
    Dynamic,
    /// `data`: the text.
    Data,
    /// `prec`: the precision.
    Precision,
    /// `v`: the version.
    Version,
}

impl Field {
    /// Every field, in the order of the line.
    pub const ALL: [Field; 10] = [
        Field::Unit,
        Field::Tokenizer,
        Field::Context,
        Field::State,
        Field::Temperature,
        Field::Cache,
        Field::Dynamic,
        Field::Data,
        Field::Precision,
        Field::Version,
    ];

    /// The key that stands before the colon.
    pub fn key(self) -> &'static str {
        match self {
            Field::Unit => "unit",
            Field::Tokenizer => "tok",
            Field::Context => "ctx",
            Field::State => "state",
            Field::Temperature => "temp",
            Field::Cache => "cache",
            Field::Dynamic => "dyn",
            Field::Data => "data",
            Field::Precision => "prec",
            Field::Version => "v",
        }
    }

    /// Why a difference in this field forbids a comparison; `None` where it does not.
    pub(crate) fn reason(
        self,
        quantity: Quantity,
        closed_vocabulary: bool,
    ) -> Option<&'static str> {
        match (self, quantity) {
            (Field::Unit, Quantity::TokenPerplexity) => {
                Some("a token is not the same piece of text")
            }
            (Field::Tokenizer, Quantity::TokenPerplexity) => {
                Some("the text is cut into other tokens")
            }
            (Field::Unit | Field::Tokenizer, _) if closed_vocabulary => Some(
                "`<unk>` of a closed vocabulary stands for words that the other model has to predict",
            ),
            (Field::Unit | Field::Tokenizer, _) => None,
            (Field::Context, _) => Some("more context makes the same text easier"),
            (Field::State, _) => Some("a state that is reset forgets what came before"),
            (Field::Temperature, _) => {
                Some("a temperature tuned on other text makes predictions fit better")
            }
            (Field::Cache, _) => Some("a cache helps with words that come again"),
            (Field::Dynamic, _) => {
                Some("weights that follow the text learn from what they are scored on")
            }
            (Field::Data, _) => Some("another text is harder or easier"),
            (Field::Precision | Field::Version, _) => None,
        }
    }
}

impl Incomparable {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let differs = |fields: &[Field]| {
            self.differences.iter().any(|difference| fields.contains(&difference.field))
        };
        if differs(&[Field::Data]) {
            "evaluate both models on the same text".into()
        } else if differs(&[Field::Context, Field::State]) {
            "evaluate both models with the same context and the same carry of the state".into()
        } else if differs(&[Field::Temperature, Field::Cache, Field::Dynamic]) {
            "evaluate both models with the same `--temperature`, `--cache` and `--dynamic` (with the same `--train`), or without them".into()
        } else if self.quantity == Quantity::TokenPerplexity {
            "compare bits per byte, which does not depend on the tokenizer".into()
        } else {
            "train both models with the same tokenizer, or both on tokenizers that can spell every word".into()
        }
    }
}

impl std::error::Error for Incomparable {}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these scores cannot be compared in {}: ", self.quantity)?;
        for (idx, difference) in self.differences.iter().enumerate() {
            write!(f, "{}{difference}", if idx == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { field, ours, theirs, reason } = self;
        write!(f, "`{field}` is `{ours}` here and `{theirs}` there ({reason})")
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::TokenPerplexity => "perplexity by token",
            Quantity::WordPerplexity => "perplexity by word",
            Quantity::BitsPerByte => "bits per byte",
        })
    }
}
