//! Text from files, folders and standard input, as one re-readable stream of UTF-8.

use crate::Result;
use std::path::{Path, PathBuf};

/// How to read the sources of a [`Text`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Patterns of the files to take from folders (`*.md`, `docs/**/*.txt`); empty takes every text file.
    pub include: Vec<String>,
    /// The field of JSON lines that holds the text; `text` if not given.
    pub field: Option<String>,
    /// The column of CSV and TSV files that holds the text; `text` if not given.
    pub column: Option<String>,
    /// Go on where bytes are not UTF-8: each becomes U+FFFD.
    pub lossy: bool,
}

/// Counts and hash of a whole text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TextStats {
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Characters (code points).
    pub chars: u64,
    /// Lines, the last one counted whether or not it ends in `\n`.
    pub lines: u64,
    /// Line ends: characters `\n`.
    pub line_ends: u64,
    /// Words: stretches without white space.
    pub words: u64,
    /// SHA-256 of the UTF-8 bytes.
    pub sha256: [u8; 32],
}

/// A re-readable stream of UTF-8 text; cheap to clone.
#[derive(Clone, Debug)]
pub struct Text {}

impl Text {
    /// Opens files, folders (walked in sorted order) and `-` (standard input, spooled to a temporary file).
    pub fn open(_paths: &[PathBuf], _options: &TextOptions) -> Result<Self> {
        todo!()
    }
    /// A text in memory.
    pub fn from_string(_name: &str, _text: String) -> Self {
        todo!()
    }
    /// For people: "`input.txt`" or "`docs` (12 files)".
    pub fn describe(&self) -> String {
        todo!()
    }
    /// Counts and hash of the text, in one pass; remembered.
    pub fn measure(&self) -> Result<TextStats> {
        todo!()
    }
    /// As [`Text::measure`], remembered from run to run in the folder `cache` for files that did not change.
    pub fn measure_cached(&self, _cache: &Path) -> Result<TextStats> {
        todo!()
    }
    /// Cuts at the first character boundary at or after ⌊(1 − fraction) · bytes⌋.
    pub fn split_last(&self, _fraction: f64) -> Result<(Text, Text)> {
        todo!()
    }
    /// Calls `f` with the text in chunks of bounded size, cut only between characters.
    pub fn for_each_chunk(&self, _f: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        todo!()
    }
}
