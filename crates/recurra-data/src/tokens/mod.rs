//! Text to token ids and back.
//!
//! Every tokenizer is a Hugging Face `tokenizer.json`; the byte, character and word tokenizers are recognised in it and run
//! by faster code of our own with the same ids.

mod blocks;
mod byte;
mod char;
mod decoder;
mod file;
mod json;
mod spec;
mod subword;
mod word;
mod word_ids;

pub use decoder::{Decoder, DecoderState};
pub(crate) use file::write_whole;
pub use file::{TokenFile, cache_dir};
pub use spec::TokenizerSpec;
pub use subword::panics_are_caught;

use self::char::CharVocabulary;
use crate::disk::{Unreadable, read_at_most};
use crate::text::hex;
use crate::{Error, Result, Text, TextStats};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use subword::Subwords;
use word::WordVocabulary;
pub(crate) use word::known_words;

/// The largest `tokenizer.json` that is read, in bytes; the largest in use have some 40 MB.
pub const LARGEST_TOKENIZER_BYTES: u64 = 256 << 20;

/// Text to token ids and back; cheap to clone.
///
/// ```
/// use recurra_data::{Text, Tokenizer, TokenizerSpec};
///
/// let text = Text::from_string("rhyme", "a rose is a rose\n".into());
/// let words = Tokenizer::train(&TokenizerSpec::Word, &text)?;
/// assert_eq!(words.encode("a rose is a tulip\n")?, [0, 1, 2, 0, 4, 3]);
/// assert_eq!(words.decode(&[0, 1, 3, 2]), "a rose\nis");
///
/// // Characters of which the text has none become their bytes, so nothing is lost.
/// let chars = Tokenizer::train(&TokenizerSpec::Char, &text)?;
/// assert_eq!(chars.decode(&chars.encode("玫瑰 is a rose")?), "玫瑰 is a rose");
/// # Ok::<(), recurra_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    json: String,
    hash: String,
    kind: Kind,
}

enum Kind {
    Byte,
    Char(CharVocabulary),
    Word(WordVocabulary),
    Subword(Box<Subwords>),
}

impl Tokenizer {
    /// Trains (or loads) the tokenizer that `spec` names.
    ///
    /// BPE is trained on at most 64 MiB (or 4 MiB of different words), taken evenly from a longer text.
    ///
    /// # Errors
    /// The text or the file cannot be read; the text has too many different words; the file is no tokenizer.
    pub fn train(spec: &TokenizerSpec, text: &Text) -> Result<Self> {
        match spec {
            TokenizerSpec::Byte => Ok(Self::new(byte::to_json(), Kind::Byte)),
            TokenizerSpec::Char => {
                let chars = CharVocabulary::train(text)?;
                Ok(Self::new(chars.to_json(), Kind::Char(chars)))
            }
            TokenizerSpec::Word => {
                let words = WordVocabulary::train(text)?;
                Ok(Self::new(words.to_json(), Kind::Word(words)))
            }
            TokenizerSpec::Bpe(size) => Self::from_json(&subword::train(text, *size)?),
            TokenizerSpec::File(path) => Self::open(path),
        }
    }

    /// As [`Tokenizer::train`], but a tokenizer trained on the same text before comes from the folder `cache`.
    ///
    /// # Errors
    /// As [`Tokenizer::train`].
    pub fn open_or_train(cache: &Path, spec: &TokenizerSpec, text: &Text) -> Result<Self> {
        if matches!(spec, TokenizerSpec::Byte | TokenizerSpec::File(_)) {
            return Self::train(spec, text);
        }
        let path_for = |stats: &TextStats| {
            let name = spec.to_string().replace(':', "-");
            let version = env!("CARGO_PKG_VERSION");
            cache.join(format!("{}-{name}-{version}.tokenizer", hex(&stats.sha256[..16])))
        };
        let known = text.known_stats(cache).map(|stats| path_for(&stats));
        if let Some(tokenizer) = known.and_then(|path| Self::open_remembered(&path)) {
            return Ok(tokenizer);
        }
        let tokenizer = Self::train(spec, text)?;
        if let Some(stats) = text.known_stats(cache) {
            text.remember_stats(cache);
            // A line with the hash first, so that damage is found. What cannot be kept is trained again.
            let hash = hex(&Sha256::digest(tokenizer.to_json()));
            let _ = write_whole(
                &path_for(&stats),
                format!("{hash}\n{}", tokenizer.to_json()).as_bytes(),
            );
        }
        Ok(tokenizer)
    }

    fn open_remembered(path: &Path) -> Option<Self> {
        let content = fs::read_to_string(path).ok()?;
        let (hash, json) = content.split_once('\n')?;
        (hex(&Sha256::digest(json)) == hash).then(|| Self::from_json(json).ok())?
    }

    /// Opens a `tokenizer.json` file of Hugging Face's kind.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is no tokenizer.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let wrong = |message| Error::TokenizerJson { name: name.clone(), message };
        let json = read_at_most(path, LARGEST_TOKENIZER_BYTES).map_err(|error| match error {
            Unreadable::NotAFile => wrong("expected a regular file".into()),
            Unreadable::TooLarge(found) => {
                wrong(format!("expected at most {LARGEST_TOKENIZER_BYTES} bytes, came {found}"))
            }
            Unreadable::System(source) => Error::Read { name: name.clone(), source },
        })?;
        let json = String::from_utf8(json).map_err(|_| wrong("it is not UTF-8".into()))?;
        Self::from_json(&json).map_err(|e| match e {
            Error::TokenizerJson { message, .. } => wrong(message),
            other => other,
        })
    }

    /// Reads a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// It is no such file, or its parts do not fit together.
    pub fn from_json(json: &str) -> Result<Self> {
        let parsed: Value = serde_json::from_str(json).map_err(|e| Error::TokenizerJson {
            name: "tokenizer.json".into(),
            message: format!("expected JSON, came other text ({e})"),
        })?;
        // Ours is what would be written the same again; anything else may mean something else.
        let is_same = |written: &str| {
            // Mostly it is the same byte by byte.
            written == json
                || serde_json::from_str(written).is_ok_and(|again: Value| again == parsed)
        };
        let model = &parsed["model"];
        if model["type"] == "WordLevel" {
            let words =
                WordVocabulary::from_json(&parsed).filter(|words| is_same(&words.to_json()));
            if let Some(words) = words {
                return Ok(Self::new(json.into(), Kind::Word(words)));
            }
        } else if model["type"] == "BPE" && model["merges"].as_array().is_some_and(Vec::is_empty) {
            if is_same(&byte::to_json()) {
                return Ok(Self::new(json.into(), Kind::Byte));
            }
            let chars =
                CharVocabulary::from_json(&parsed).filter(|chars| is_same(&chars.to_json()));
            if let Some(chars) = chars {
                return Ok(Self::new(json.into(), Kind::Char(chars)));
            }
        }
        Ok(Self::new(json.into(), Kind::Subword(Box::new(Subwords::from_json(json, &parsed)?))))
    }

    fn new(json: String, kind: Kind) -> Self {
        let hash = hex(&Sha256::digest(&json)[..8]);
        Self { inner: Arc::new(Inner { json, hash, kind }) }
    }

    /// The tokenizer as a Hugging Face `tokenizer.json`.
    pub fn to_json(&self) -> &str {
        &self.inner.json
    }

    /// The number of ids: one more than the greatest.
    pub fn vocab_size(&self) -> usize {
        match &self.inner.kind {
            Kind::Byte => byte::VOCAB_SIZE,
            Kind::Char(chars) => chars.vocab_size(),
            Kind::Word(words) => words.vocab_size(),
            Kind::Subword(subwords) => subwords.vocab_size(),
        }
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the JSON.
    pub fn hash(&self) -> String {
        self.inner.hash.clone()
    }

    /// `byte`, `char`, `word`, `bpe`, `json`, or `unk-json` of one whose unknown token may stand for any text.
    pub fn kind(&self) -> &str {
        match &self.inner.kind {
            Kind::Byte => "byte",
            Kind::Char(_) => "char",
            Kind::Word(_) => "word",
            Kind::Subword(subwords) => subwords.kind(),
        }
    }

    /// The ids of a text in memory.
    ///
    /// # Errors
    /// A tokenizer from elsewhere has no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        match &self.inner.kind {
            Kind::Byte => byte::encode(text, &mut ids),
            Kind::Char(chars) => chars.encode(text, &mut ids),
            Kind::Word(words) => words.encode(text, &mut ids),
            Kind::Subword(subwords) => return subwords.encode(text),
        }
        Ok(ids)
    }

    /// The ids of a whole text, handed to `sink` piece by piece; several threads work ahead of it.
    ///
    /// They are those of [`Tokenizer::encode`] on the whole text for the byte, char, word and bpe kinds (bpe: if white space
    /// comes at least once in a MiB). A tokenizer from elsewhere is given the text in parts that end at line ends.
    ///
    /// # Errors
    /// The text cannot be read; a word is longer than a MiB; as [`Tokenizer::encode`]; what `sink` returns.
    pub fn encode_text(
        &self,
        text: &Text,
        sink: &mut dyn FnMut(&[u32]) -> Result<()>,
    ) -> Result<()> {
        self.encode_and_measure(text, sink).map(|_| ())
    }

    fn encode_and_measure(
        &self,
        text: &Text,
        sink: &mut dyn FnMut(&[u32]) -> Result<()>,
    ) -> Result<TextStats> {
        let sink = &mut |ids: Vec<u32>| sink(&ids);
        match &self.inner.kind {
            Kind::Subword(subwords) => {
                blocks::map_blocks(text, subwords.cut(), || subwords.worker(), sink)
            }
            _ => blocks::map_blocks(text, self.cut(), || |block: &str| self.encode(block), sink),
        }
    }

    /// Where a text can be cut without a change of its ids.
    fn cut(&self) -> blocks::Cut {
        match &self.inner.kind {
            Kind::Byte | Kind::Char(_) => blocks::anywhere,
            Kind::Word(_) => word::between_words,
            Kind::Subword(subwords) => subwords.cut(),
        }
    }

    /// A decoder that takes one id at a time.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.clone())
    }

    /// A decoder that goes on from a saved state.
    ///
    /// # Errors
    /// The state was written with another kind of tokenizer.
    pub fn decoder_from(&self, state: DecoderState) -> Result<Decoder> {
        Decoder::restore(self.clone(), state)
    }

    /// The id of the token for what is not in the vocabulary.
    pub fn unknown_id(&self) -> Option<u32> {
        match &self.inner.kind {
            Kind::Byte | Kind::Char(_) => None,
            Kind::Word(words) => Some(words.unknown()),
            Kind::Subword(subwords) => subwords.unknown(),
        }
    }

    /// The id of the token that ends a line, where that is one token.
    pub fn end_of_line_id(&self) -> Option<u32> {
        match &self.inner.kind {
            Kind::Byte => Some(u32::from(b'\n')),
            Kind::Char(chars) => Some(chars.id_of('\n').unwrap_or(u32::from(b'\n'))),
            Kind::Word(words) => Some(words.end_of_line()),
            Kind::Subword(subwords) => subwords.end_of_line(),
        }
    }

    /// One token for people: control characters escaped as in Rust, what is no character as `<0xE4>`.
    pub fn token_text(&self, id: u32) -> String {
        let unknown = || format!("<no token {id}>");
        let of_bytes = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => escaped(text),
            Err(_) => bytes.iter().map(|byte| format!("<0x{byte:02X}>")).collect(),
        };
        if id as usize >= self.vocab_size() {
            return unknown();
        }
        match &self.inner.kind {
            Kind::Byte => of_bytes(&[id as u8]),
            Kind::Char(chars) => match chars.char_of(id) {
                Some(c) => escaped(c.encode_utf8(&mut [0; 4])),
                None => format!("<0x{id:02X}>"),
            },
            Kind::Word(words) => words.word_of(id).map_or_else(unknown, escaped),
            Kind::Subword(subwords) => match subwords.bytes_of(id) {
                Some(bytes) if !bytes.is_empty() => of_bytes(bytes),
                _ => subwords.spelling_of(id).map_or_else(unknown, |token| escaped(&token)),
            },
        }
    }
}

/// Escapes control characters and the like; leaves quotes and other scripts as they are.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokenizer({} {}, {} tokens)", self.kind(), self.inner.hash, self.vocab_size())
    }
}

#[cfg(test)]
mod tests;
