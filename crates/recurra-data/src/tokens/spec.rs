//! The name of a tokenizer, as people give it.

use crate::{Error, Result, spelling};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The smallest BPE vocabulary: every byte.
const BPE_MIN: usize = 256;

/// The largest BPE vocabulary that is trained here.
const BPE_MAX: usize = 1 << 20;

/// Which tokenizer to train or load.
///
/// ```
/// use recurra_data::TokenizerSpec;
///
/// assert_eq!("bpe:8000".parse::<TokenizerSpec>()?, TokenizerSpec::Bpe(8000));
/// let error = "bite".parse::<TokenizerSpec>().unwrap_err();
/// assert_eq!(error.hint().unwrap(), "did you mean `byte`?");
/// # Ok::<(), recurra_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSpec {
    /// One token a byte: 256 ids.
    Byte,
    /// One token a character of the training text; other characters become their bytes.
    Char,
    /// One token a word, as Penn Treebank and WikiText-2 are used.
    Word,
    /// Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with at most so many tokens, trained on the text.
    Bpe(usize),
    /// An existing `tokenizer.json`.
    File(PathBuf),
}

impl FromStr for TokenizerSpec {
    type Err = Error;

    /// Reads `byte`, `char`, `word`, `bpe:N`, or a path: what ends in `.json`, has a separator or exists.
    fn from_str(given: &str) -> Result<Self> {
        match given {
            "byte" => return Ok(Self::Byte),
            "char" => return Ok(Self::Char),
            "word" => return Ok(Self::Word),
            _ => {}
        }
        if let Some(size) = given.strip_prefix("bpe:") {
            return match size.parse() {
                Ok(size) if (BPE_MIN..=BPE_MAX).contains(&size) => Ok(Self::Bpe(size)),
                _ => Err(Error::BpeSize { given: size.into(), min: BPE_MIN, max: BPE_MAX }),
            };
        }
        let path = PathBuf::from(given);
        let is_path = given.contains(['/', '\\']) || given.to_ascii_lowercase().ends_with(".json");
        if !given.is_empty() && (is_path || path.is_file()) {
            return Ok(Self::File(path));
        }
        let names = ["byte", "char", "word", "bpe:8000"].map(String::from);
        let nearest = match given.to_ascii_lowercase().as_str() {
            "bpe" => Some("bpe:8000".into()),
            "character" | "characters" => Some("char".into()),
            lower => spelling::nearest(lower, names),
        };
        Err(Error::UnknownTokenizer { given: given.into(), nearest })
    }
}

impl fmt::Display for TokenizerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte => f.write_str("byte"),
            Self::Char => f.write_str("char"),
            Self::Word => f.write_str("word"),
            Self::Bpe(size) => write!(f, "bpe:{size}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_hint(given: &str, expected: &str) {
        let error = given.parse::<TokenizerSpec>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some(expected), "{error}");
    }

    #[test]
    fn names_come_back_as_they_were() {
        for name in
            ["byte", "char", "word", "bpe:256", "bpe:8000", "runs/a/tokenizer.json", "t.json"]
        {
            assert_eq!(name.parse::<TokenizerSpec>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn unknown_names_suggest_the_nearest() {
        check_hint("bite", "did you mean `byte`?");
        check_hint("Char", "did you mean `char`?");
        check_hint("character", "did you mean `char`?");
        check_hint("wrod", "did you mean `word`?");
        check_hint("bpe", "did you mean `bpe:8000`?");
        check_hint(
            "sentencepiece",
            "write for example `--tokenizer char` or `--tokenizer bpe:8000`",
        );
        check_hint("", "write for example `--tokenizer char` or `--tokenizer bpe:8000`");
    }

    #[test]
    fn impossible_bpe_sizes_are_refused() {
        for given in
            ["bpe:", "bpe:0", "bpe:255", "bpe:-1", "bpe:many", "bpe:99999999999999999999999"]
        {
            let error = given.parse::<TokenizerSpec>().unwrap_err();
            assert!(matches!(error, Error::BpeSize { .. }), "{given}: {error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("at least 256") && hint.contains("at most 1048576"), "{hint}");
        }
    }
}
