//! Probes: the places in a story where something said earlier settles what comes.

use std::ops::Range;
use std::str::FromStr;

use super::{Language, Story};

/// What it is that must be right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependency {
    /// The name of a person.
    Name,
    /// A thing, an animal, a dish, a colour: any noun or word that the story chose.
    Thing,
    /// A place.
    Place,
    /// A word that agrees with a person named earlier: *she* or *he*, *her* or *his*, *girl* or *boy*.
    Pronoun,
    /// A quotation mark: of the right kind, and closed where one is open.
    Quotation,
}

impl Dependency {
    /// All of them.
    pub const ALL: [Dependency; 5] = [
        Dependency::Name,
        Dependency::Thing,
        Dependency::Place,
        Dependency::Pronoun,
        Dependency::Quotation,
    ];

    /// What people and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Dependency::Name => "name",
            Dependency::Thing => "thing",
            Dependency::Place => "place",
            Dependency::Pronoun => "pronoun",
            Dependency::Quotation => "quotation",
        }
    }
}

impl FromStr for Dependency {
    type Err = String;

    fn from_str(name: &str) -> Result<Dependency, String> {
        let found = Dependency::ALL.into_iter().find(|dependency| dependency.name() == name);
        found.ok_or_else(|| format!("`{name}` is no kind of dependency"))
    }
}

/// A place in a story where a dependency closes: what stands there is settled by an earlier mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What must be right.
    pub dependency: Dependency,
    /// Where the right words stand in the text of the story, in bytes.
    pub range: Range<usize>,
    /// Words from the last mention that settles it to this one ([`Language::count_words`]).
    pub distance_words: u64,
    /// What the grammar could have put there, had it forgotten; each is impossible after what was said. An empty one
    /// stands for leaving a quotation open.
    pub wrong: Vec<String>,
}

/// A probe made ready for a model: which of these does it prefer after the context?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates<'a> {
    /// The story up to there.
    pub context: &'a str,
    /// What really follows.
    pub right: String,
    /// What cannot follow.
    pub wrong: Vec<String>,
}

impl Probe {
    /// The distances that figures are given for, in words.
    pub const DISTANCES: [u64; 3] = [10, 50, 200];

    /// The distance of [`Probe::DISTANCES`] that this one is nearest to by ratio: 10 for 5 to 22 words, 50 for 23 to
    /// 100, 200 beyond; `None` for what is so near (under 5 words) that it needs no memory.
    pub fn bucket(&self) -> Option<u64> {
        match self.distance_words {
            0..5 => None,
            5..=22 => Some(10),
            23..=100 => Some(50),
            _ => Some(200),
        }
    }
}

impl Story {
    /// The candidates of one of this story's probes, widened to whole words so that character and word models are asked
    /// the same thing, and so that none is the beginning of another.
    ///
    /// In English a candidate runs from the start of the word in which the mention begins to the white space behind it,
    /// which is included; in Chinese it is the mention and the character behind it.
    pub fn candidates(&self, probe: &Probe) -> Candidates<'_> {
        let Range { start, end } = probe.range;
        let (before, after) = (&self.text[..start], &self.text[end..]);
        let (left, right) = match self.language {
            Language::English => {
                let left = before.rfind(char::is_whitespace).map_or(0, |idx| idx + 1);
                (left, after.find(char::is_whitespace).map(|idx| idx + 1))
            }
            Language::Chinese => (start, after.chars().next().map(char::len_utf8)),
        };
        // Behind the last word of a story stands the blank line.
        let tail = right.map_or_else(|| format!("{after}\n"), |right| after[..right].to_owned());
        let widen = |words: &str| format!("{}{words}{tail}", &before[left..]);
        Candidates {
            context: &self.text[..left],
            right: widen(&self.text[start..end]),
            wrong: probe.wrong.iter().map(|words| widen(words)).collect(),
        }
    }
}
