//! Words to ids: the table that word tokenization spends its time in.

use ahash::AHashMap;

/// A text with more different words than this wants another tokenizer, and would take all memory,
pub(super) const MOST_WORDS: usize = 1 << 22;
/// as would one whose different words have more bytes.
pub(super) const MOST_BYTES: usize = 1 << 26;

/// The longest word that is a number by itself.
const SHORT_BYTES: usize = 15;

/// Ids of words. Short ones, which most are, stand in the table itself: one place in memory is read and not two.
#[derive(Clone, Debug, Default)]
pub(super) struct WordIds {
    short: AHashMap<u128, u32>,
    long: AHashMap<Box<str>, u32>,
    n_bytes: usize,
}

impl WordIds {
    /// The id of a word.
    pub(super) fn find(&self, word: &str) -> Option<u32> {
        match pack(word.as_bytes()) {
            Some(packed) => self.short.get(&packed).copied(),
            None => self.long.get(word).copied(),
        }
    }

    /// Gives a word an id, in place of any it had.
    pub(super) fn insert(&mut self, word: &str, id: u32) {
        match pack(word.as_bytes()) {
            Some(packed) => self.short.insert(packed, id),
            None => self.long.insert(word.into(), id),
        };
        self.n_bytes += word.len();
    }

    /// The number of words.
    pub(super) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    /// Whether there are more words, or more bytes of them, than a vocabulary may have.
    pub(super) fn are_too_many(&self) -> bool {
        self.len() > MOST_WORDS || self.n_bytes > MOST_BYTES
    }
}

/// A short word as a number: its bytes, and its length in the highest one.
fn pack(word: &[u8]) -> Option<u128> {
    let len = word.len();
    let bytes = match len {
        // Two reads of fixed size that overlap are faster than a copy of unknown length.
        8..=SHORT_BYTES => {
            let (head, tail) = (word.first_chunk()?, word.last_chunk()?);
            u128::from(u64::from_le_bytes(*head))
                | u128::from(u64::from_le_bytes(*tail)) << ((len - 8) * 8)
        }
        4..8 => {
            let (head, tail) = (word.first_chunk()?, word.last_chunk()?);
            u128::from(u32::from_le_bytes(*head))
                | u128::from(u32::from_le_bytes(*tail)) << ((len - 4) * 8)
        }
        0..4 => word.iter().rev().fold(0, |all, &byte| all << 8 | u128::from(byte)),
        _ => return None,
    };
    Some(bytes | (len as u128) << (SHORT_BYTES * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_words_are_limited_too() {
        let mut ids = WordIds::default();
        for id in 0..64 {
            ids.insert(&format!("{id:02}{}", "x".repeat((1 << 20) - 2)), id);
            assert!(!ids.are_too_many(), "{id}");
        }
        ids.insert("one", 64);
        assert!(ids.are_too_many());
    }

    #[test]
    fn packed_words_are_their_bytes_and_length() {
        let text = "so much depends upon";
        for start in 0..4 {
            for len in 0..=15 {
                let word = &text.as_bytes()[start..start + len];
                let mut bytes = [0; 16];
                bytes[..len].copy_from_slice(word);
                bytes[15] = len as u8;
                assert_eq!(pack(word), Some(u128::from_le_bytes(bytes)), "{start} {len}");
            }
            assert_eq!(pack(&text.as_bytes()[start..start + 16]), None);
        }
    }

    #[test]
    fn every_word_has_its_own_id() {
        let mut ids = WordIds::default();
        let text: String = ('!'..='z').collect();
        let words: Vec<&str> = (0..40)
            .flat_map(|i| (i..i + 40).map(move |j| (i, j)))
            .map(|(i, j)| &text[i..j])
            .collect();
        for (word, id) in words.iter().zip(0..) {
            if ids.find(word).is_none() {
                ids.insert(word, id);
            }
        }
        for word in &words {
            assert_eq!(words[ids.find(word).unwrap() as usize], *word);
        }
        assert_eq!(ids.len(), words.iter().collect::<std::collections::HashSet<_>>().len());
        assert_eq!((ids.find("\0"), ids.find("not there, and long")), (None, None));
    }
}
