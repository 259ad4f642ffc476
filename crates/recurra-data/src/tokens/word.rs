//! One token a word: a closed vocabulary, as Penn Treebank and WikiText-2 are used.

use super::blocks::{LONGEST_BLOCK_BYTES, after_white_space, map_blocks};
use super::json::{TokenizerJson, Vocabulary, tokens_in_order};
use super::word_ids::{MOST_BYTES, MOST_WORDS, WordIds};
use crate::text::space_len;
use crate::{Error, Result, Text};
use serde::Serialize;
use serde_json::{Value, json};

/// The token that ends a line.
pub(super) const END_OF_LINE: &str = "<eos>";

/// The token of every word that is not in the vocabulary.
pub(super) const UNKNOWN: &str = "<unk>";

/// Words by first appearance, as PyTorch's word_language_model numbers them; then `<eos>` and `<unk>` if the text has none.
#[derive(Clone, Debug)]
pub(super) struct WordVocabulary {
    words: Vec<Box<str>>,
    ids: WordIds,
    end_of_line: u32,
    unknown: u32,
}

#[derive(Serialize)]
struct WordLevelModel<V> {
    #[serde(rename = "type")]
    kind: &'static str,
    vocab: V,
    unk_token: &'static str,
}

impl WordVocabulary {
    fn new(mut words: Vec<Box<str>>, mut ids: WordIds) -> Self {
        let mut id_of = |word: &str| {
            ids.find(word).unwrap_or_else(|| {
                let id = words.len() as u32;
                ids.insert(word, id);
                words.push(word.into());
                id
            })
        };
        let (end_of_line, unknown) = (id_of(END_OF_LINE), id_of(UNKNOWN));
        Self { words, ids, end_of_line, unknown }
    }

    /// The words of a text.
    ///
    /// # Errors
    /// The text cannot be read, or has too many different words.
    pub(super) fn train(text: &Text) -> Result<Self> {
        let too_many = || Error::TooManyWords {
            name: text.name(),
            limit: MOST_WORDS,
            limit_bytes: MOST_BYTES,
        };
        let new_words = || {
            let mut seen = WordIds::default();
            move |block: &str| {
                let mut new = Vec::<Box<str>>::new();
                for_each_word(block, |word| {
                    if seen.find(word).is_none() {
                        seen.insert(word, 0);
                        new.push(word.into());
                    }
                });
                if seen.are_too_many() { Err(too_many()) } else { Ok(new) }
            }
        };
        let (mut words, mut ids) = (Vec::new(), WordIds::default());
        map_blocks(text, between_words, new_words, &mut |new: Vec<Box<str>>| {
            for word in new {
                if ids.find(&word).is_none() {
                    ids.insert(&word, words.len() as u32);
                    words.push(word);
                }
            }
            if ids.are_too_many() { Err(too_many()) } else { Ok(()) }
        })?;
        Ok(Self::new(words, ids))
    }

    /// Reads what [`WordVocabulary::to_json`] wrote; `None` if it may be anything else.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let words: Vec<Box<str>> = tokens_in_order(json)?.into_iter().map(Box::from).collect();
        let mut ids = WordIds::default();
        for (word, id) in words.iter().zip(0..) {
            ids.insert(word, id);
        }
        Some(Self::new(words, ids))
    }

    pub(super) fn to_json(&self) -> String {
        let normalizer = replace("String", "\n", " <eos> ");
        let decoders = json!({"type": "Sequence", "decoders": [
            // One space between words: the prefix that joins cannot stand in a word.
            {"type": "WordPiece", "prefix": " ", "cleanup": false},
            {"type": "Fuse"},
            // A line end takes the spaces around it.
            replace("Regex", "(?:^| )<eos>(?= |$)", "\n"),
            replace("String", "\n ", "\n"),
        ]});
        let model = WordLevelModel {
            kind: "WordLevel",
            vocab: Vocabulary(self.words.iter().map(|word| word.to_string())),
            unk_token: UNKNOWN,
        };
        TokenizerJson::write(normalizer, json!({"type": "WhitespaceSplit"}), decoders, model)
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.words.len()
    }

    pub(super) fn end_of_line(&self) -> u32 {
        self.end_of_line
    }

    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    pub(super) fn word_of(&self, id: u32) -> Option<&str> {
        self.words.get(id as usize).map(|word| &**word)
    }

    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        for_each_word(text, |word| ids.push(self.ids.find(word).unwrap_or(self.unknown)));
    }
}

/// What the words of a text make known of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownWords {
    /// Different words of the first, line ends among them.
    pub n_words: usize,
    /// The part of the words of the second that the first does not have.
    pub unknown: f64,
}

/// How many words `train` has, and which part of those of `valid` it lacks; nothing where there are too many, or none that end.
///
/// # Errors
/// A text cannot be read.
pub(crate) fn known_words(train: &Text, valid: &Text) -> Result<Option<KnownWords>> {
    let is_of_words =
        |error: &Error| matches!(error, Error::TooManyWords { .. } | Error::WordTooLong { .. });
    let vocabulary = match WordVocabulary::train(train) {
        Ok(vocabulary) => vocabulary,
        Err(error) if is_of_words(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let known = &vocabulary.ids;
    let (mut n_words, mut n_unknown) = (0u64, 0u64);
    let new_counter = || {
        |block: &str| {
            let (mut n_words, mut n_unknown) = (0, 0);
            for_each_word(block, |word| {
                n_words += 1;
                n_unknown += u64::from(known.find(word).is_none());
            });
            Ok((n_words, n_unknown))
        }
    };
    let counted = map_blocks(valid, between_words, new_counter, &mut |(words, unknown)| {
        (n_words, n_unknown) = (n_words + words, n_unknown + unknown);
        Ok(())
    });
    match counted {
        Ok(_) => Ok(Some(KnownWords {
            n_words: vocabulary.words.len(),
            unknown: n_unknown as f64 / n_words.max(1) as f64,
        })),
        Err(error) if is_of_words(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn replace(kind: &str, pattern: &str, content: &str) -> Value {
    json!({"type": "Replace", "pattern": {kind: pattern}, "content": content})
}

/// The bytes that white space may begin with.
static MAY_BE_SPACE: [bool; 256] = {
    let (mut may_be, mut byte) = ([false; 256], 0);
    while byte < 256 {
        may_be[byte] = matches!(byte as u8, b'\t'..=b'\r' | b' ' | 0xC2 | 0xE1 | 0xE2 | 0xE3);
        byte += 1;
    }
    may_be
};

/// Words and line ends in order: what stands between white space, and [`END_OF_LINE`] for each `\n`.
fn for_each_word<'a>(text: &'a str, mut f: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        if !MAY_BE_SPACE[usize::from(bytes[at])] {
            at += 1;
            continue;
        }
        let space = space_len(text, at);
        if space == 0 {
            at += 1;
            continue;
        }
        if start < at {
            f(&text[start..at]);
        }
        if bytes[at] == b'\n' {
            f(END_OF_LINE);
        }
        at += space;
        start = at;
    }
    if start < at {
        f(&text[start..at]);
    }
}

/// Where a text can be cut without cutting a word.
pub(super) fn between_words(text: &str, is_forced: bool) -> Result<usize> {
    match after_white_space(text, false) {
        0 if is_forced => Err(Error::WordTooLong { limit: LONGEST_BLOCK_BYTES }),
        at => Ok(at),
    }
}
