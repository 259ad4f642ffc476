//! The last tokens of a text.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::LARGEST_WINDOW;

/// The last tokens read or written, oldest first; as many as a repetition penalty may look back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recent {
    ids: VecDeque<u32>,
}

impl Recent {
    /// Takes the next token, and forgets the oldest when there are more than `window`.
    pub fn push(&mut self, id: u32, window: usize) {
        self.ids.push_back(id);
        while self.ids.len() > window.min(LARGEST_WINDOW) {
            self.ids.pop_front();
        }
    }

    /// The last `window` tokens, or all when there are fewer.
    pub fn last(&self, window: usize) -> impl Iterator<Item = u32> {
        self.ids.iter().rev().take(window).copied()
    }

    /// Whether every token is below `vocab_size`, and there are no more than any window holds.
    pub(crate) fn fits(&self, vocab_size: usize) -> bool {
        self.ids.len() <= LARGEST_WINDOW && self.ids.iter().all(|&id| (id as usize) < vocab_size)
    }
}
