//! What can go wrong between a path and a batch, and what to do about it.

use std::io;
use std::path::PathBuf;

/// The result of everything in this crate that meets the outside.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was expected, what came instead; [`Error::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that is not there.
    #[error("no file or folder `{}`", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// The most similar name in the same folder.
        nearest: Option<String>,
    },
    /// Reading failed.
    #[error("cannot read `{name}`")]
    Read {
        /// File, folder or `standard input`.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed; nothing that stood before was touched.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What can be read only once could not be copied to a temporary file.
    #[error("cannot keep a copy of `{name}` in the temporary folder")]
    Spool {
        /// `standard input` or a pipe.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that are not UTF-8.
    #[error(
        "`{name}` is not UTF-8 at byte {offset} (line {line}): expected text, came 0x{byte:02X}"
    )]
    InvalidUtf8 {
        /// File or `standard input`.
        name: String,
        /// Offset of the first wrong byte, from 0, in the file (after decompression).
        offset: u64,
        /// Its line, from 1.
        line: u64,
        /// The wrong byte.
        byte: u8,
        /// What the file seems to be instead, such as `UTF-16`.
        looks_like: Option<&'static str>,
    },
    /// The flag of [`crate::Text::stopped_by`] was set.
    #[error("stopped while reading {name}")]
    Stopped {
        /// The text.
        name: String,
    },
    /// A source without a single character.
    #[error("`{name}` holds no text")]
    Empty {
        /// File, folder or `standard input`.
        name: String,
    },
    /// A folder in which no file was taken.
    #[error("folder `{}` holds no text file{}", path.display(), skipped_in_words(*skipped))]
    NoTextFiles {
        /// The folder.
        path: PathBuf,
        /// Files that were seen and not taken.
        skipped: usize,
        /// Whether `include` patterns were given.
        filtered: bool,
    },
    /// Standard input named more than once.
    #[error("standard input (`-`) is named {count} times, expected once")]
    StdinTwice {
        /// How often.
        count: usize,
    },
    /// An `include` pattern that is no glob.
    #[error("`{pattern}` is not a file pattern: {message}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// A record of JSON lines or CSV that cannot be read.
    #[error("`{name}` line {line}: {message}")]
    Record {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What was expected and what came.
        message: String,
    },
    /// The wanted column of a row is no text.
    #[error(
        "column `{column}` of `{name}` is not UTF-8 (row at line {line}): expected text, came 0x{byte:02X}"
    )]
    InvalidColumn {
        /// The file.
        name: String,
        /// The column.
        column: String,
        /// The line that the row begins with, from 1.
        line: u64,
        /// The first wrong byte.
        byte: u8,
    },
    /// A record without the field, or a table without the column, that holds the text.
    #[error("`{name}` line {line} has no {kind} `{wanted}`, it has {}", listed(found))]
    MissingField {
        /// The file.
        name: String,
        /// The line, from 1.
        line: u64,
        /// `field` or `column`.
        kind: &'static str,
        /// The name that was looked for.
        wanted: String,
        /// The names that are there.
        found: Vec<String>,
    },
    /// A share that is not between 0 and 1, or leaves one part empty.
    #[error("cannot split off the last {fraction} of `{name}`: {reason}")]
    Split {
        /// The text.
        name: String,
        /// The share as given.
        fraction: f64,
        /// Why not.
        reason: &'static str,
    },
    /// The text is no longer what it was when it was first read.
    #[error("`{name}` was changed while it was being read")]
    Changed {
        /// The text.
        name: String,
    },
    /// A tokenizer that does not exist.
    #[error(
        "unknown tokenizer `{given}`, expected byte, char, word, bpe:N or a tokenizer.json file"
    )]
    UnknownTokenizer {
        /// What was given.
        given: String,
        /// The most similar one.
        nearest: Option<String>,
    },
    /// A BPE vocabulary of an impossible size.
    #[error("`bpe:{given}` is not possible, expected a vocabulary of {min} to {max} tokens")]
    BpeSize {
        /// What was given.
        given: String,
        /// The smallest possible size.
        min: usize,
        /// The largest possible size.
        max: usize,
    },
    /// A `tokenizer.json` that cannot be used.
    #[error("`{name}` is not a usable tokenizer: {message}")]
    TokenizerJson {
        /// The file, or `tokenizer.json`.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Training or running a tokenizer failed.
    #[error("tokenizer `{kind}` failed: {message}")]
    Tokenize {
        /// The kind of tokenizer.
        kind: &'static str,
        /// What went wrong.
        message: String,
    },
    /// More distinct words than a word vocabulary can hold.
    #[error(
        "`{name}` has more than {limit} different words, or more than {limit_bytes} bytes of them"
    )]
    TooManyWords {
        /// The text.
        name: String,
        /// Most words.
        limit: usize,
        /// Most bytes of all of them.
        limit_bytes: usize,
    },
    /// A stretch without white space that is no word.
    #[error("a word is longer than {limit} bytes")]
    WordTooLong {
        /// The limit.
        limit: usize,
    },
    /// The saved state of a decoder belongs to another tokenizer.
    #[error("this decoder state does not fit the `{kind}` tokenizer: {message}")]
    DecoderState {
        /// The kind of tokenizer.
        kind: String,
        /// What does not fit.
        message: String,
    },
    /// A size of zero.
    #[error("{what} is 0, expected at least 1")]
    Zero {
        /// `batch` or `bptt`.
        what: &'static str,
    },
    /// A text with fewer tokens than one window of all streams.
    #[error(
        "the text has {tokens} tokens, expected at least {needed} (batch {batch} × bptt {bptt} + 1, and 2 a stream)"
    )]
    TooShort {
        /// Tokens there are.
        tokens: usize,
        /// Tokens needed.
        needed: usize,
        /// Streams.
        batch: usize,
        /// Tokens a window.
        bptt: usize,
    },
}

impl Error {
    /// What the person at the keyboard can do about it, in one sentence.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::NotFound { nearest: None, .. } => "check the path; `-` reads standard input".into(),
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "give yourself the right to read it".into(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                    "the file is damaged or not in the format that its name says".into()
                }
                _ => return None,
            },
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => "free some space, or set RECURRA_CACHE to a folder on another disk".into(),
                _ => "set RECURRA_CACHE to a folder that can be written".into(),
            },
            Self::Spool { .. } => "free some space there, or set TMPDIR to another folder".into(),
            Self::InvalidUtf8 { looks_like: Some("UTF-16"), name, .. } => {
                format!("it looks like UTF-16; convert it with `iconv -f UTF-16 -t UTF-8 {name}`")
            }
            Self::InvalidUtf8 { looks_like: Some(what), .. } => {
                format!("it looks like {what}; give it the ending of its format, or unpack it first")
            }
            Self::InvalidUtf8 { .. } | Self::InvalidColumn { .. } => {
                "convert it with `iconv -f LATIN1 -t UTF-8`, or go on with `--lossy` (wrong bytes become U+FFFD)".into()
            }
            Self::Stopped { .. } => "nothing was lost; the same command begins again".into(),
            Self::Empty { .. } => "give a file with text".into(),
            Self::NoTextFiles { filtered: true, .. } => "check `--include`, for example `--include '*.md'`".into(),
            Self::NoTextFiles { .. } => "hidden and binary files are skipped; name a file directly to read it".into(),
            Self::StdinTwice { .. } => "name `-` once".into(),
            Self::Pattern { .. } => "write it like `--include '*.md'` or `--include 'docs/**/*.txt'`".into(),
            Self::Record { .. } => "correct that line, or give the file another ending to read it as plain text".into(),
            Self::MissingField { kind, found, .. } => {
                format!("name one with `--{kind} {}`", found.first().map_or("NAME", String::as_str))
            }
            Self::Split { .. } => "give a longer text, or a file of its own with `--valid`".into(),
            Self::Changed { .. } => "start again once nothing writes to it".into(),
            Self::UnknownTokenizer { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownTokenizer { nearest: None, .. } => {
                "write for example `--tokenizer char` or `--tokenizer bpe:8000`".into()
            }
            Self::BpeSize { min, max, .. } => {
                format!("give at least {min}, one token for each byte, and at most {max}: for example `--tokenizer bpe:8000`")
            }
            Self::TokenizerJson { .. } => "give a tokenizer.json in the format of Hugging Face tokenizers".into(),
            Self::TooManyWords { .. } | Self::WordTooLong { .. } => {
                "use `--tokenizer bpe:32000` or `--tokenizer char` for this text".into()
            }
            Self::DecoderState { .. } => "use the state with the model that wrote it".into(),
            Self::Zero { what } => format!("set {what} to 1 or more"),
            Self::TooShort { tokens, .. } => match largest_batch(*tokens) {
                Some((batch, bptt)) => {
                    format!("give more text, or smaller sizes such as `--batch {batch} --bptt {bptt}`")
                }
                None => "give more text".into(),
            },
            Self::Tokenize { .. } => return None,
        })
    }
}

/// Sizes that fit a short text, with windows about four times as long as there are streams.
fn largest_batch(tokens: usize) -> Option<(usize, usize)> {
    let batch = ((tokens.checked_sub(1)? / 4).isqrt()).max(1);
    let bptt = (tokens - 1) / batch;
    (bptt >= 2).then_some((batch, bptt))
}

fn skipped_in_words(skipped: usize) -> String {
    match skipped {
        0 => String::new(),
        1 => " (1 other file skipped)".into(),
        n => format!(" ({n} other files skipped)"),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none".into();
    }
    let mut list =
        names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        list.push_str(" and others");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_sizes_fit_the_text() {
        for tokens in 0..2000 {
            if let Some((batch, bptt)) = largest_batch(tokens) {
                assert!(batch * bptt < tokens && tokens / batch >= 2, "{tokens}: {batch} × {bptt}");
            } else {
                assert!(tokens < 3, "{tokens}");
            }
        }
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<String> = (0..10).map(|i| format!("f{i}")).collect();
        assert!(listed(&names).ends_with("`f7` and others"), "{}", listed(&names));
        assert_eq!(listed(&[]), "none");
    }
}
