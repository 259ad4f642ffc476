//! Stop strings: where a text ends, found while it is being written.

use crate::{Error, Result};

/// Strings at which writing stops.
///
/// A text stops where the first of them is complete; of several that are complete there, the longest counts. The text ends
/// before it. This does not depend on the pieces in which the text comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopStrings {
    strings: Vec<String>,
}

/// What a look for stop strings found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The stop string of this index begins at byte `at`.
    Stop {
        /// Which of the strings.
        index: usize,
        /// Where it begins; the text ends here.
        at: usize,
    },
    /// None is complete; whatever comes next, none begins before byte `sure`.
    Nothing {
        /// Text up to here will not change its mind.
        sure: usize,
    },
}

impl StopStrings {
    /// Stops at each of these strings.
    ///
    /// # Errors
    /// When one of them is empty: every text would end at once.
    pub fn new(strings: Vec<String>) -> Result<Self> {
        match strings.iter().any(String::is_empty) {
            true => Err(Error::EmptyStop),
            false => Ok(Self { strings }),
        }
    }

    /// The strings.
    pub fn strings(&self) -> &[String] {
        &self.strings
    }

    /// Looks for the strings in what has not been handed out yet.
    pub fn find(&self, text: &str) -> Found {
        let complete = self.strings.iter().enumerate().filter_map(|(index, string)| {
            let at = text.find(string.as_str())?;
            Some((at + string.len(), at, index))
        });
        if let Some((_, at, index)) = complete.min() {
            return Found::Stop { index, at };
        }
        let sure = self.strings.iter().map(|string| text.len() - overlap(text, string)).min();
        Found::Nothing { sure: sure.unwrap_or(text.len()) }
    }
}

/// The length of the longest end of `text` with which `string` begins.
fn overlap(text: &str, string: &str) -> usize {
    let longest = text.len().min(string.len() - 1);
    (1..=longest)
        .rev()
        .find(|&len| text.as_bytes().ends_with(&string.as_bytes()[..len]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str]) -> StopStrings {
        StopStrings::new(strings.iter().map(|&string| string.into()).collect()).unwrap()
    }

    /// Hands `text` over in pieces that end where `cut` says; what is handed out, and the string that stopped it.
    fn stream(
        stops: &StopStrings,
        text: &str,
        cut: impl Fn(usize) -> bool,
    ) -> (String, Option<usize>) {
        let (mut out, mut held) = (String::new(), String::new());
        for (at, c) in text.char_indices() {
            held.push(c);
            if !cut(at) && at + c.len_utf8() < text.len() {
                continue;
            }
            match stops.find(&held) {
                Found::Stop { index, at } => return (out + &held[..at], Some(index)),
                Found::Nothing { sure } => out.extend(held.drain(..sure)),
            }
        }
        (out + &held, None)
    }

    /// However the text is cut, it ends at the same place by the same string.
    #[track_caller]
    fn check(strings: &[&str], text: &str, expected: &str, stopped_by: Option<usize>) {
        let stops = stops(strings);
        let expected = (expected.to_string(), stopped_by);
        for pattern in 0..1_u32 << text.len().min(12) {
            let got = stream(&stops, text, |at| pattern >> (at % 12) & 1 == 1);
            assert_eq!(got, expected, "{strings:?} in {text:?}, cut by {pattern:b}");
        }
    }

    #[test]
    fn a_text_ends_before_its_stop_string_however_it_is_cut() {
        check(&["END"], "the END of it", "the ", Some(0));
        check(&["END"], "the EN", "the EN", None);
        check(&["END"], "ENEND", "EN", Some(0));
        check(&["aab"], "aaaab", "aa", Some(0));
        check(&["\n\n", "---"], "a\nb--\n\n", "a\nb--", Some(0));
        check(&["你好"], "说你好吗", "说", Some(0));
        check(&[], "anything", "anything", None);
    }

    #[test]
    fn the_first_that_is_complete_counts_and_of_these_the_longest() {
        check(&["abcd", "c"], "xabcd", "xab", Some(1));
        check(&["bc", "abc"], "xabcd", "x", Some(1));
        check(&["abc", "bc"], "xabcd", "x", Some(0));
        check(&["d", "bc"], "abcd", "a", Some(1));
    }

    #[test]
    fn only_what_may_begin_a_stop_string_is_held_back() {
        assert_eq!(stops(&["END"]).find("the E"), Found::Nothing { sure: 4 });
        assert_eq!(stops(&["END"]).find("the Ex"), Found::Nothing { sure: 6 });
        assert_eq!(stops(&["EXIT", "xx"]).find("EXx"), Found::Nothing { sure: 2 });
        assert_eq!(stops(&[]).find("the E"), Found::Nothing { sure: 5 });
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopStrings::new(vec!["a".into(), String::new()]).unwrap_err();
        assert!(matches!(error, Error::EmptyStop) && error.hint().is_some());
    }
}
