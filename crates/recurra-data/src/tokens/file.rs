//! The ids of a whole text in a memory-mapped file.

use crate::{Result, Text, Tokenizer};
use std::path::{Path, PathBuf};

/// The folder for token files: `RECURRA_CACHE`, else `XDG_CACHE_HOME/recurra`, else `~/.cache/recurra`, else a temporary one.
pub fn cache_dir() -> PathBuf {
    todo!()
}

/// The ids of a whole text, memory-mapped; cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenFile {}

#[allow(clippy::len_without_is_empty)]
impl TokenFile {
    /// Opens the token file of this text and tokenizer, or builds it.
    pub fn open_or_build(_cache: &Path, _text: &Text, _tokenizer: &Tokenizer) -> Result<Self> {
        todo!()
    }
    /// Tokens.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Bytes of UTF-8 text under the tokens.
    pub fn n_bytes(&self) -> u64 {
        todo!()
    }
    /// Characters of text under the tokens.
    pub fn n_chars(&self) -> u64 {
        todo!()
    }
    /// Words of the text, each line end counted as one, as perplexities on Penn Treebank are.
    pub fn n_words(&self) -> u64 {
        todo!()
    }
    /// SHA-256 of the text, in hexadecimal digits.
    pub fn text_sha256(&self) -> &str {
        todo!()
    }
    /// Fills `out` with the ids from `start` on.
    #[track_caller]
    pub fn read(&self, start: usize, out: &mut [u32]) {
        self.read_strided(start, out.len(), out, 1);
    }
    #[track_caller]
    pub(crate) fn read_strided(
        &self,
        _start: usize,
        _count: usize,
        _out: &mut [u32],
        _stride: usize,
    ) {
        todo!()
    }
}
