//! The storybook: a corpus inside the program, whose exact entropy is known.
//!
//! A seeded probabilistic grammar tells small stories, in English or in Chinese: somebody wants something, something is in
//! the way, somebody helps. What was introduced early (a name, a thing, a place, an open quotation) must be right again
//! ten, fifty or two hundred words later. Since the grammar is known, so is the best that any model can do on it:
//!
//! - a text has exactly one derivation, so ln p(story) is the sum of ln p over its choices ([`Story::nats`]), and can be
//!   recovered from the text alone ([`Storybook::log_probability`]);
//! - the entropy H = Σ p ln 1/p, chained over all choices, follows without sampling ([`Storybook::entropy`]);
//! - each place where something earlier settles what comes is known, with what a forgetful model would put there
//!   ([`Story::probes`]).
//!
//! A book is a function of language, seed and index alone: weights and draws are whole numbers, so every machine tells
//! the same stories, and story 1,000,000 is told without the ones before it.
//!
//! ```
//! use recurra_data::storybook::{Language, Storybook};
//!
//! let book = Storybook::new(Language::English, 7);
//! let story = book.story(3);
//! assert_eq!(book.log_probability(&story.text)?, -story.nats);
//! assert!(book.entropy().bits_per_byte() < 1.0);
//! # Ok::<(), recurra_data::storybook::NotAStory>(())
//! ```
//!
//! Folder: `english.grammar` and `chinese.grammar` hold all words and weights, in the notation of `notation.rs`;
//! `grammar.rs` is what they become; `derive.rs` draws stories from it, `parse.rs` reads them back, `entropy.rs` takes
//! expectations, `probe.rs` asks what was remembered.

mod derive;
mod entropy;
mod grammar;
mod notation;
mod parse;
#[cfg(test)]
mod prefix_free;
mod probe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

pub use entropy::Entropy;
pub use probe::{Candidates, Dependency, Probe};

use grammar::Grammar;

/// What stands between two stories, and after the last.
pub const SEPARATOR: &str = "\n\n";

/// The language of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English, with straight quotation marks.
    English,
    /// Chinese, in simplified characters.
    Chinese,
}

impl Language {
    /// How many words a text has: in English, runs without white space; in Chinese, which writes no spaces, characters.
    pub fn count_words(self, text: &str) -> u64 {
        match self {
            Language::English => text.split_whitespace().count() as u64,
            Language::Chinese => {
                text.chars().filter(|symbol| !symbol.is_whitespace()).count() as u64
            }
        }
    }

    /// A count that adds up over the pieces of a story, and over a story with the first character of what follows gives
    /// its words: in English, the white space behind each word (stories never hold two in a row); in Chinese, the words.
    fn word_marks(self, piece: &str) -> u64 {
        match self {
            Language::English => {
                piece.chars().filter(|symbol| symbol.is_whitespace()).count() as u64
            }
            Language::Chinese => self.count_words(piece),
        }
    }

    fn grammar(self) -> &'static Grammar {
        static ENGLISH: LazyLock<Grammar> =
            LazyLock::new(|| built_in(include_str!("english.grammar"), " "));
        static CHINESE: LazyLock<Grammar> =
            LazyLock::new(|| built_in(include_str!("chinese.grammar"), ""));
        match self {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }
}

fn built_in(source: &str, joint: &str) -> Grammar {
    notation::read(source, joint)
        .unwrap_or_else(|message| panic!("a built-in grammar is wrong: {message}"))
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::English => "english",
            Language::Chinese => "chinese",
        })
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(name: &str) -> Result<Language, UnknownLanguage> {
        match name {
            "english" | "en" => Ok(Language::English),
            "chinese" | "zh" => Ok(Language::Chinese),
            _ => Err(UnknownLanguage { name: name.to_owned() }),
        }
    }
}

/// A language that no book is written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the storybook is written in `english` and `chinese`, not in `{name}`")]
pub struct UnknownLanguage {
    /// What was asked for.
    pub name: String,
}

/// A text that the grammar cannot tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {language} story goes on as this text does at byte {byte}")]
pub struct NotAStory {
    /// The language of the book.
    pub language: Language,
    /// The first byte that cannot stand where it does.
    pub byte: usize,
}

/// One story.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Its language.
    pub language: Language,
    /// Its text, in one or more lines, without a line break at the end.
    pub text: String,
    /// −ln p(text), exactly what a perfect model pays for it, given that a story starts here.
    pub nats: f64,
    /// Where something earlier settles what comes, in order.
    pub probes: Vec<Probe>,
}

/// An endless book of stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storybook {
    language: Language,
    seed: u64,
}

impl Storybook {
    /// The book of a seed.
    pub fn new(language: Language, seed: u64) -> Storybook {
        Storybook { language, seed }
    }

    /// Its language.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Story `index`, whatever the ones before it are.
    pub fn story(&self, index: u64) -> Story {
        derive::tell(self.language.grammar(), self.language, self.seed, index, true)
    }

    /// The first stories of the book, as many as are needed for `n_bytes`, each followed by [`SEPARATOR`].
    pub fn text(&self, n_bytes: usize) -> String {
        let mut text = String::new();
        for index in 0.. {
            if text.len() >= n_bytes {
                break;
            }
            text +=
                &derive::tell(self.language.grammar(), self.language, self.seed, index, false).text;
            text += SEPARATOR;
        }
        text
    }

    /// The exact entropy and length of a story with its [`SEPARATOR`], over all the books of this language.
    pub fn entropy(&self) -> Entropy {
        let mut entropy = entropy::of_story(self.language.grammar(), self.language);
        entropy.bytes_per_story += SEPARATOR.len() as f64;
        entropy.chars_per_story += SEPARATOR.len() as f64;
        entropy.words_per_story += self.language.word_marks(&SEPARATOR[..1]) as f64;
        entropy
    }

    /// ln p(text) under the grammar, from the text alone; `text` holds whole stories, each but the last followed by
    /// [`SEPARATOR`].
    ///
    /// # Errors
    /// [`NotAStory`] where the text leaves the grammar.
    pub fn log_probability(&self, text: &str) -> Result<f64, NotAStory> {
        let mut nats = 0.0;
        let mut rest = text;
        loop {
            let start = text.len() - rest.len();
            let wrong_at = |byte| NotAStory { language: self.language, byte: start + byte };
            let (story_nats, after) =
                parse::read_story(self.language.grammar(), rest).map_err(wrong_at)?;
            nats += story_nats;
            rest = match after.strip_prefix(SEPARATOR) {
                Some(next) if !next.is_empty() => next,
                Some(_) => return Ok(-nats),
                None if after.is_empty() => return Ok(-nats),
                None => return Err(wrong_at(rest.len() - after.len())),
            };
        }
    }
}
