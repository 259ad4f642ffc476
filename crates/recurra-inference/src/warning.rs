//! What a prompt has that the model has never seen.

use std::collections::HashSet;
use std::fmt;

use crate::{ModelRef, Result};

/// Something in a prompt that the model cannot understand as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Words outside of a closed vocabulary, each once; the model reads the token for unknown words instead.
    UnknownWords {
        /// The words, in order of appearance.
        words: Vec<String>,
    },
    /// Characters that the training text did not have, each once; the model reads their bytes, which mean nothing to it.
    UnseenCharacters {
        /// The characters, in order of appearance.
        characters: Vec<char>,
    },
}

/// As many are named to people.
const NAMED: usize = 5;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, names: Vec<String>| {
            let rest = names.len().saturating_sub(NAMED);
            f.write_str(&names[..names.len() - rest].join(", "))?;
            if rest > 0 { write!(f, " and {rest} more") } else { Ok(()) }
        };
        match self {
            Warning::UnknownWords { words } => {
                f.write_str(
                    "the prompt has words that the model does not know, read as unknown words: ",
                )?;
                list(f, words.iter().map(|word| format!("`{word}`")).collect())
            }
            Warning::UnseenCharacters { characters } => {
                f.write_str(
                    "the prompt has characters that the model has never seen, read as bytes: ",
                )?;
                list(f, characters.iter().map(|c| format!("`{}`", c.escape_debug())).collect())
            }
        }
    }
}

/// What of a prompt, encoded as `ids`, the model has never seen.
pub(crate) fn unseen(model: ModelRef<'_>, prompt: &str, ids: &[u32]) -> Result<Vec<Warning>> {
    let tokenizer = model.tokenizer;
    let mut warnings = Vec::new();
    if let Some(unknown) = tokenizer.unknown_id().filter(|unknown| ids.contains(unknown)) {
        let name = tokenizer.token_text(unknown);
        let (mut seen, mut words) = (HashSet::new(), Vec::new());
        for word in prompt.split_whitespace() {
            let is_new = word != name && seen.insert(word);
            if is_new && tokenizer.encode(word)?.contains(&unknown) {
                words.push(word.to_owned());
            }
        }
        if !words.is_empty() {
            warnings.push(Warning::UnknownWords { words });
        }
    }
    if tokenizer.kind() == "char" && ids.iter().any(|&id| id < 256) {
        let (mut seen, mut characters) = (HashSet::new(), Vec::new());
        for c in prompt.chars() {
            if seen.insert(c)
                && tokenizer.encode(c.encode_utf8(&mut [0; 4]))?.iter().any(|&id| id < 256)
            {
                characters.push(c);
            }
        }
        warnings.push(Warning::UnseenCharacters { characters });
    }
    Ok(warnings)
}
