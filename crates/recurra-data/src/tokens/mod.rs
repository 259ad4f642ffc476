//! Text to token ids and back.

mod decoder;
mod file;

pub use decoder::{Decoder, DecoderState};
pub use file::{TokenFile, cache_dir};

use crate::{Error, Result, Text};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which tokenizer to train or load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSpec {
    /// One token a byte: 256 ids.
    Byte,
    /// One token a character of the training text; other characters become their bytes.
    Char,
    /// One token a word, as Penn Treebank and WikiText-2 are used.
    Word,
    /// Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with so many tokens, trained on the text.
    Bpe(usize),
    /// An existing `tokenizer.json`.
    File(PathBuf),
}

impl FromStr for TokenizerSpec {
    type Err = Error;
    fn from_str(_text: &str) -> Result<Self> {
        todo!()
    }
}

impl fmt::Display for TokenizerSpec {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// Text to token ids and back; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {}

impl Tokenizer {
    /// Trains (or loads) the tokenizer that `spec` names.
    pub fn train(_spec: &TokenizerSpec, _text: &Text) -> Result<Self> {
        todo!()
    }
    /// As [`Tokenizer::train`], but a tokenizer trained on the same text before comes from the folder `cache`.
    pub fn open_or_train(_cache: &Path, _spec: &TokenizerSpec, _text: &Text) -> Result<Self> {
        todo!()
    }
    /// Reads a Hugging Face `tokenizer.json`.
    pub fn from_json(_json: &str) -> Result<Self> {
        todo!()
    }
    /// The tokenizer as a Hugging Face `tokenizer.json`.
    pub fn to_json(&self) -> &str {
        todo!()
    }
    /// The number of ids: one more than the greatest.
    pub fn vocab_size(&self) -> usize {
        todo!()
    }
    /// The first 16 hexadecimal digits of the SHA-256 of the JSON.
    pub fn hash(&self) -> String {
        todo!()
    }
    /// `byte`, `char`, `word`, `bpe` or `json`.
    pub fn kind(&self) -> &str {
        todo!()
    }
    /// The ids of a text in memory.
    pub fn encode(&self, _text: &str) -> Result<Vec<u32>> {
        todo!()
    }
    /// The ids of a whole text, handed to `sink` piece by piece.
    pub fn encode_text(
        &self,
        _text: &Text,
        _sink: &mut dyn FnMut(&[u32]) -> Result<()>,
    ) -> Result<()> {
        todo!()
    }
    /// The text of ids; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, _ids: &[u32]) -> String {
        todo!()
    }
    /// A decoder that takes one id at a time.
    pub fn decoder(&self) -> Decoder {
        todo!()
    }
    /// A decoder that goes on from a saved state.
    pub fn decoder_from(&self, _state: DecoderState) -> Result<Decoder> {
        todo!()
    }
    /// The id of the token for what is not in the vocabulary.
    pub fn unknown_id(&self) -> Option<u32> {
        todo!()
    }
    /// The id of the token that ends a line.
    pub fn end_of_line_id(&self) -> Option<u32> {
        todo!()
    }
    /// One token for people: printable, with bytes as `<0x0A>`.
    pub fn token_text(&self, _id: u32) -> String {
        todo!()
    }
}
