//! One token a character, with the bytes of those that the training text does not have.

use super::blocks::{anywhere, map_blocks};
use super::json::{BpeModel, TokenizerJson, tokens_in_order};
use crate::{Result, Text};
use serde_json::{Value, json};

/// The first ids stand for bytes.
pub(super) const N_BYTES: usize = 256;

const PAGE: usize = 256;
const N_CODE_POINTS: usize = 0x11_0000;
const MISSING: u32 = u32::MAX;

/// Ids 0 to 255 are the bytes, those after them the characters in the order of their code points.
#[derive(Clone, Debug)]
pub(super) struct CharVocabulary {
    chars: Vec<char>,
    /// The page of each 256 code points; page 0 is empty.
    page_of: Vec<u16>,
    pages: Vec<[u32; PAGE]>,
}

impl CharVocabulary {
    /// A vocabulary of these characters, which must be sorted and different.
    fn new(chars: Vec<char>) -> Self {
        let mut page_of = vec![0u16; N_CODE_POINTS / PAGE];
        let mut pages = vec![[MISSING; PAGE]];
        for (id, &c) in (N_BYTES as u32..).zip(&chars) {
            let page = &mut page_of[c as usize / PAGE];
            if *page == 0 {
                *page = pages.len() as u16; // at most 4,352 pages
                pages.push([MISSING; PAGE]);
            }
            pages[usize::from(*page)][c as usize % PAGE] = id;
        }
        Self { chars, page_of, pages }
    }

    /// The characters of a text.
    pub(super) fn train(text: &Text) -> Result<Self> {
        let mut seen = CharSet::new();
        let new_chars = || {
            let mut seen = CharSet::new();
            move |block: &str| Ok(block.chars().filter(|&c| seen.insert(c)).collect::<Vec<char>>())
        };
        map_blocks(text, anywhere, new_chars, &mut |chars| {
            for c in chars {
                seen.insert(c);
            }
            Ok(())
        })?;
        Ok(Self::new(seen.in_order()))
    }

    /// Reads what [`CharVocabulary::to_json`] wrote; `None` if it may be anything else.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let tokens = tokens_in_order(json)?;
        let chars: Vec<char> = tokens
            .get(N_BYTES..)?
            .iter()
            .map(|token| {
                let mut chars = token.chars();
                chars.next().filter(|_| chars.as_str().is_empty())
            })
            .collect::<Option<_>>()?;
        chars.is_sorted_by(|a, b| a < b).then(|| Self::new(chars))
    }

    pub(super) fn to_json(&self) -> String {
        let bytes = (0..N_BYTES).map(|byte| format!("<0x{byte:02X}>"));
        let tokens = bytes.chain(self.chars.iter().map(char::to_string));
        let model = BpeModel::without_merges(true, tokens);
        let decoder =
            json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]});
        TokenizerJson::write(Value::Null, Value::Null, decoder, model)
    }

    pub(super) fn vocab_size(&self) -> usize {
        N_BYTES + self.chars.len()
    }

    pub(super) fn id_of(&self, c: char) -> Option<u32> {
        let page = usize::from(self.page_of[c as usize / PAGE]);
        Some(self.pages[page][c as usize % PAGE]).filter(|&id| id != MISSING)
    }

    pub(super) fn char_of(&self, id: u32) -> Option<char> {
        self.chars.get((id as usize).checked_sub(N_BYTES)?).copied()
    }

    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        ids.reserve(text.len());
        for c in text.chars() {
            match self.id_of(c) {
                Some(id) => ids.push(id),
                None => super::byte::encode(c.encode_utf8(&mut [0; 4]), ids),
            }
        }
    }
}

/// A bit for each code point.
struct CharSet(Vec<u64>);

impl CharSet {
    fn new() -> Self {
        Self(vec![0; N_CODE_POINTS / 64])
    }

    /// Whether the character is new.
    fn insert(&mut self, c: char) -> bool {
        let (word, bit) = (&mut self.0[c as usize / 64], 1 << (c as usize % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn in_order(&self) -> Vec<char> {
        let is_set = |c: &char| self.0[*c as usize / 64] >> (*c as usize % 64) & 1 == 1;
        ('\0'..=char::MAX).filter(is_set).collect()
    }
}
