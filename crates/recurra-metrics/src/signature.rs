//! The signature of a score: how it was measured, in one line, in the manner of sacreBLEU (Post, 2018).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Difference, Error, Field, Incomparable, Quantity};

/// How a score was measured: `lm|unit:char|tok:char-1a2b…|ctx:unbounded|state:carried|data:…|prec:f32|v:0.1.0`.
///
/// The line is written by `Display`, read by `FromStr`, and is what serde sees. A `|`, a `%` and white space inside a
/// value are written as `%` and two hexadecimal digits, so any value comes back as it was. What only some scores have,
/// `temp:0.93`, `cache:500,1,0.1` and `dyn:rms,20,0.0002,0.008,0.00002,5e6f70811a2b3c4d`, stands after `state` where it was used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Signature {
    /// What one token is: `byte`, `char`, `word`, `bpe`, or for a tokenizer from elsewhere `json`, and `unk-json` where it has a
    /// token for what it does not know.
    pub unit: String,
    /// The tokenizer: its kind and the hash of its file, `char-1a2b3c4d5e6f7081`.
    pub tokenizer: String,
    /// How far back a prediction was let look.
    pub context: Context,
    /// Whether the state runs on through the text.
    pub state: StateCarry,
    /// What logits were divided by, where that was not 1: `0.93`.
    pub temperature: Option<String>,
    /// The neural cache that was mixed in, if any: window, θ and λ, `500,1,0.1`.
    pub cache: Option<String>,
    /// How the weights followed the text, if they did: rule, tokens a segment, η, λ, ε and the hash of the text that the
    /// statistics of gradients were taken from, `rms,20,0.0002,0.008,0.00002,5e6f70811a2b3c4d`.
    pub dynamic: Option<String>,
    /// The hash of the text that was scored.
    pub data: String,
    /// The precision of the arithmetic: `f32`, `bf16`, `int8`.
    pub precision: String,
    /// The version of Recurra that measured.
    pub version: String,
}

/// How far back whoever measures lets a prediction look.
///
/// How far a model's memory reaches is the model's own affair, and part of what is scored: a recurrent state may hold something
/// from the first token on or nothing of ten tokens ago, and a Transformer's holds the keys and values of its last positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Context {
    /// Nothing is withheld: the state is carried from the start of the text.
    Unbounded,
    /// At most so many tokens.
    Tokens(u64),
}

/// Whether the state runs on through the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateCarry {
    /// From the first token to the last.
    Carried,
    /// It is set to zero before every window.
    Reset,
}

impl Signature {
    /// Whether the loss and the perplexity by token of two scores may stand side by side.
    ///
    /// # Errors
    /// [`Incomparable`] names every field that differs and matters, and why it matters.
    pub fn comparable(&self, other: &Signature) -> Result<(), Incomparable> {
        self.comparable_in(Quantity::TokenPerplexity, other)
    }

    /// Whether two scores may stand side by side in this quantity.
    ///
    /// Perplexity by word and bits per byte do not depend on how the text was cut into tokens; so they may be compared
    /// across tokenizers, unless one of them has a closed vocabulary, whose `<unk>` hides what it does not predict.
    ///
    /// # Errors
    /// [`Incomparable`] names every field that differs and matters for this quantity, and why it matters.
    pub fn comparable_in(&self, quantity: Quantity, other: &Signature) -> Result<(), Incomparable> {
        let closed = [self, other].into_iter().any(Signature::has_closed_vocabulary);
        let differences: Vec<_> = Field::ALL
            .into_iter()
            .filter_map(|field| Some((field, field.reason(quantity, closed)?)))
            .filter_map(|(field, reason)| self.difference(field, other, reason))
            .collect();
        if differences.is_empty() { Ok(()) } else { Err(Incomparable { quantity, differences }) }
    }

    /// What differs without forbidding a comparison: precision and version.
    pub fn caveats(&self, other: &Signature) -> Vec<Difference> {
        let noted = [
            (Field::Precision, "rounding moves a score in the last digits"),
            (Field::Version, "a newer version may measure a little differently"),
        ];
        noted
            .into_iter()
            .filter_map(|(field, reason)| self.difference(field, other, reason))
            .collect()
    }

    /// The value of a field as the line shows it, before any `%` is put in; `none` where it has no such part.
    pub fn value(&self, field: Field) -> String {
        self.part(field).unwrap_or_else(|| "none".to_owned())
    }

    fn part(&self, field: Field) -> Option<String> {
        match field {
            Field::Unit => Some(self.unit.clone()),
            Field::Tokenizer => Some(self.tokenizer.clone()),
            Field::Context => Some(self.context.to_string()),
            Field::State => Some(self.state.to_string()),
            Field::Temperature => self.temperature.clone(),
            Field::Cache => self.cache.clone(),
            Field::Dynamic => self.dynamic.clone(),
            Field::Data => Some(self.data.clone()),
            Field::Precision => Some(self.precision.clone()),
            Field::Version => Some(self.version.clone()),
        }
    }

    fn difference(
        &self,
        field: Field,
        other: &Signature,
        reason: &'static str,
    ) -> Option<Difference> {
        let (ours, theirs) = (self.value(field), other.value(field));
        (ours != theirs).then_some(Difference { field, ours, theirs, reason })
    }

    fn has_closed_vocabulary(&self) -> bool {
        matches!(self.unit.as_str(), "word" | "unk-json")
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lm")?;
        let mut parts = Field::ALL.into_iter().filter_map(|field| Some((field, self.part(field)?)));
        parts.try_for_each(|(field, value)| write!(f, "|{field}:{}", escape(&value)))
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signature, Error> {
        let mut parts = text.trim().split('|');
        if parts.next() != Some("lm") {
            return Err(Error::NotASignature { text: text.into() });
        }
        let mut values = [const { None }; Field::ALL.len()];
        for part in parts {
            let unknown = || Error::UnknownField {
                part: part.into(),
                expected: Field::ALL.map(Field::key).to_vec(),
            };
            let (key, value) = part.split_once(':').ok_or_else(unknown)?;
            let idx = Field::ALL.iter().position(|field| field.key() == key).ok_or_else(unknown)?;
            let key = Field::ALL[idx].key();
            let value = unescape(value).ok_or_else(|| Error::BadValue {
                key,
                value: value.into(),
                expected: "`%` before two hexadecimal digits, and UTF-8",
            })?;
            if values[idx].replace(value).is_some() {
                return Err(Error::RepeatedField { key });
            }
        }
        let mut take_if_present = |field: Field| {
            let idx =
                Field::ALL.iter().position(|&each| each == field).expect("`ALL` holds every field");
            values[idx].take()
        };
        let [temperature, cache, dynamic] =
            [Field::Temperature, Field::Cache, Field::Dynamic].map(&mut take_if_present);
        let mut take =
            |field: Field| take_if_present(field).ok_or(Error::MissingField { key: field.key() });
        Ok(Signature {
            unit: take(Field::Unit)?,
            tokenizer: take(Field::Tokenizer)?,
            context: take(Field::Context)?.parse()?,
            state: take(Field::State)?.parse()?,
            temperature,
            cache,
            dynamic,
            data: take(Field::Data)?,
            precision: take(Field::Precision)?,
            version: take(Field::Version)?,
        })
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> String {
        signature.to_string()
    }
}

impl TryFrom<String> for Signature {
    type Error = Error;

    fn try_from(text: String) -> Result<Signature, Error> {
        text.parse()
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Context::Unbounded => f.write_str("unbounded"),
            Context::Tokens(tokens) => write!(f, "{tokens}"),
        }
    }
}

impl FromStr for Context {
    type Err = Error;

    fn from_str(text: &str) -> Result<Context, Error> {
        if text == "unbounded" {
            return Ok(Context::Unbounded);
        }
        let bad = |_| Error::BadValue {
            key: "ctx",
            value: text.into(),
            expected: "`unbounded` or a number of tokens",
        };
        text.parse().map(Context::Tokens).map_err(bad)
    }
}

impl fmt::Display for StateCarry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StateCarry::Carried => "carried",
            StateCarry::Reset => "reset",
        })
    }
}

impl FromStr for StateCarry {
    type Err = Error;

    fn from_str(text: &str) -> Result<StateCarry, Error> {
        match text {
            "carried" => Ok(StateCarry::Carried),
            "reset" => Ok(StateCarry::Reset),
            _ => Err(Error::BadValue {
                key: "state",
                value: text.into(),
                expected: "`carried` or `reset`",
            }),
        }
    }
}

fn escape(value: &str) -> String {
    let mut line = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '|' | '%') || c.is_whitespace() || c.is_control() {
            c.encode_utf8(&mut [0; 4])
                .bytes()
                .for_each(|byte| line.push_str(&format!("%{byte:02X}")));
        } else {
            line.push(c);
        }
    }
    line
}

fn unescape(value: &str) -> Option<String> {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
