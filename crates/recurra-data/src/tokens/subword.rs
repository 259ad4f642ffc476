//! BPE trained here, and every tokenizer that somebody else made: both run by the `tokenizers` crate.

use super::blocks::{after_white_space, map_blocks};
use super::byte;
use crate::text::{boundary_at_or_before, space_len};
use crate::{Error, Result, Text};
use ahash::{AHashMap, AHashSet, RandomState};
use serde_json::Value;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// How much text BPE is trained on: an even sample of a longer one.
const SAMPLE_BYTES: u64 = 64 << 20;

/// How many bytes of different words BPE is trained on. Training takes about 80 times as much memory; scripts without
/// spaces, where every line is a word, would take it all.
const SAMPLE_WORD_BYTES: usize = 4 << 20;

/// How many units, and how long ones, a worker remembers the tokens of.
const MOST_REMEMBERED: usize = 1 << 16;
const LONGEST_REMEMBERED: usize = 64;

/// The largest vocabulary that is accepted from a file.
const MOST_TOKENS: usize = 1 << 24;

/// A vocabulary of the `tokenizers` crate.
pub(super) struct Subwords {
    tokenizer: tokenizers::Tokenizer,
    vocab_size: usize,
    /// Laid out as [`train`] does it, which tells where a text can be cut without a change of tokens.
    is_plain_bpe: bool,
    /// Whether what is no token becomes bytes.
    falls_back_to_bytes: bool,
    /// The bytes of each token, where decoding is nothing but joining bytes.
    bytes: Option<Vec<Box<[u8]>>>,
    unknown: Option<u32>,
    end_of_line: Option<u32>,
}

/// Learns byte-level BPE with at most `size` tokens, from an even sample: 64 MiB, or 4 MiB of different words.
pub(super) fn train(text: &Text, size: usize) -> Result<String> {
    let total = text.measure()?.bytes;
    let (mut sample, mut position, mut taken) = (Vec::new(), 0u64, 0u64);
    let copy = || |block: &str| Ok(block.to_owned());
    map_blocks(text, before_white_space, copy, &mut |block: String| {
        position += block.len() as u64;
        // Keeps the part that was taken in step with the part that was read.
        let due = u128::from(position) * u128::from(SAMPLE_BYTES.min(total)) / u128::from(total);
        if taken + block.len() as u64 <= due as u64 {
            taken += block.len() as u64;
            sample.push(block);
        }
        Ok(())
    })?;
    let sample = with_few_words(sample);
    let alphabet = (0..=255).map(byte::visible).collect();
    let trainer = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(alphabet)
        .build();
    let byte_level = ByteLevel::new(false, false, true);
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    tokenizer
        .train(&mut TrainerWrapper::from(trainer), sample.iter())
        .and_then(|trained| trained.to_string(false))
        .map_err(|e| Error::Tokenize { kind: "bpe", message: e.to_string() })
}

/// Blocks from all over the sample, until the different words in them are enough.
fn with_few_words(sample: Vec<String>) -> Vec<String> {
    // The same choice on every run.
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let (mut seen, mut n_bytes) = (AHashSet::new(), 0);
    let mut order: Vec<(u32, String)> = (0..).zip(sample).collect();
    // Numbers with their bits reversed lie evenly however early the loop ends.
    order.sort_by_key(|&(idx, _)| idx.reverse_bits());
    let mut chosen = Vec::new();
    for (_, block) in order {
        if n_bytes >= SAMPLE_WORD_BYTES {
            break;
        }
        for word in block.split_whitespace() {
            if seen.insert(hasher.hash_one(word)) {
                n_bytes += word.len();
            }
        }
        chosen.push(block);
    }
    chosen
}

impl Subwords {
    /// Loads a vocabulary; `json` is `text`, parsed.
    pub(super) fn from_json(text: &str, json: &Value) -> Result<Self> {
        let wrong = |message| Error::TokenizerJson { name: "tokenizer.json".into(), message };
        let mut tokenizer = guarded(|| tokenizers::Tokenizer::from_str(text)).map_err(wrong)?;
        // A text is tokenized whole, whatever its length was limited to elsewhere.
        tokenizer.with_truncation(None).map_err(|e| wrong(e.to_string()))?;
        tokenizer.with_padding(None);
        let vocab_size = tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        if !(1..=MOST_TOKENS).contains(&vocab_size) {
            return Err(wrong(format!("expected 1 to {MOST_TOKENS} tokens, came {vocab_size}")));
        }
        let is_byte_level = json["decoder"]["type"] == "ByteLevel";
        let bytes = is_byte_level.then(|| {
            let bytes_of = |id| tokenizer.id_to_token(id).map(|token| byte::bytes_of(&token));
            (0..vocab_size as u32).map(|id| bytes_of(id).unwrap_or_default().into()).collect()
        });
        let is_plain_bpe = is_byte_level
            && json["model"]["type"] == "BPE"
            && json["pre_tokenizer"] == byte::byte_level(true)
            && json["normalizer"].is_null()
            && json["post_processor"].is_null()
            && json["added_tokens"].as_array().is_none_or(Vec::is_empty);
        let unknown = match &json["model"]["unk_token"] {
            Value::String(token) => tokenizer.token_to_id(token),
            _ => json["model"]["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        };
        let falls_back_to_bytes = json["model"]["byte_fallback"] == true;
        let mut subwords = Self {
            tokenizer,
            vocab_size,
            is_plain_bpe,
            falls_back_to_bytes,
            bytes,
            unknown,
            end_of_line: None,
        };
        let line_end = subwords.encode("\n").ok().filter(|ids| ids.len() == 1);
        subwords.end_of_line = line_end
            .map(|ids| ids[0])
            .filter(|&id| Some(id) != subwords.unknown && subwords.decode(&[id]) == "\n");
        Ok(subwords)
    }

    /// `unk-json` where text may become a token that does not say which text it was.
    pub(super) fn kind(&self) -> &'static str {
        match self.unknown {
            _ if self.is_plain_bpe => "bpe",
            Some(_) if !self.falls_back_to_bytes => "unk-json",
            _ => "json",
        }
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub(super) fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    pub(super) fn end_of_line(&self) -> Option<u32> {
        self.end_of_line
    }

    /// The bytes of a token; `None` where decoding is more than joining bytes.
    pub(super) fn bytes_of(&self, id: u32) -> Option<&[u8]> {
        self.bytes.as_ref().map(|bytes| bytes.get(id as usize).map_or(&[][..], |bytes| bytes))
    }

    /// The token as the file spells it.
    pub(super) fn spelling_of(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        guarded(|| self.tokenizer.encode_fast(text, false))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|message| Error::Tokenize { kind: self.kind(), message })
    }

    /// Encodes block after block of a text.
    pub(super) fn worker(&self) -> impl FnMut(&str) -> Result<Vec<u32>> + Send + '_ {
        let mut remembered = AHashMap::<Box<str>, Box<[u32]>>::new();
        move |block| {
            if !self.is_plain_bpe {
                return self.encode(block);
            }
            // Most units of a text have come before.
            let mut all = Vec::with_capacity(block.len() / 2);
            for unit in units(block) {
                if let Some(ids) = remembered.get(unit) {
                    all.extend_from_slice(ids);
                    continue;
                }
                let ids = self.encode(unit)?;
                all.extend_from_slice(&ids);
                if unit.len() <= LONGEST_REMEMBERED && remembered.len() < MOST_REMEMBERED {
                    remembered.insert(unit.into(), ids.into());
                }
            }
            Ok(all)
        }
    }

    /// Decodes as the `tokenizers` crate does.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        guarded(|| self.tokenizer.decode(ids, false)).unwrap_or_default()
    }

    /// Where the tokenizer may be given a text in parts.
    ///
    /// BPE trained here loses nothing by it. What another tokenizer does at the border of a part is its own affair; it is
    /// cut where this matters least, at line ends.
    pub(super) fn cut(&self) -> super::blocks::Cut {
        if self.is_plain_bpe { before_white_space } else { after_line }
    }
}

/// Before white space that follows something else: the splitting expression of GPT-2 always cuts there.
fn before_white_space(text: &str, is_forced: bool) -> Result<usize> {
    let mut after: Option<(usize, bool)> = None;
    for (at, c) in text.char_indices().rev() {
        let is_space = c.is_whitespace();
        match after {
            Some((cut, true)) if !is_space => return Ok(cut),
            _ => after = Some((at, is_space)),
        }
    }
    Ok(if is_forced { boundary_at_or_before(text, text.len()) } else { 0 })
}

/// The parts of a text that begin with white space, each up to the next, cut as [`before_white_space`] does.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let (mut start, mut at) = (0, 0);
    std::iter::from_fn(move || {
        let mut after_space = true;
        while at < text.len() {
            let space = space_len(text, at);
            if space > 0 && !after_space {
                break;
            }
            after_space = space > 0;
            at += space.max(1);
        }
        let unit = &text[start..at];
        start = at;
        (!unit.is_empty()).then_some(unit)
    })
}

fn after_line(text: &str, is_forced: bool) -> Result<usize> {
    Ok(match text.rfind('\n') {
        Some(at) => at + 1,
        None if is_forced => after_white_space(text, true),
        None => 0,
    })
}

thread_local! {
    /// Whether [`guarded`] runs in this thread.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught and become an error of a file, so that nobody need be told of it.
pub fn panics_are_caught() -> bool {
    CAUGHT.get()
}

/// Runs code over a file from elsewhere: a panic in it is an error in the file.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(outer);
    match result {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("its parts do not fit together".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_cut_where_blocks_are() {
        let text = "  so much\n\ndepends　upon a\u{85} red x\n ";
        let all: Vec<&str> = units(text).collect();
        assert_eq!(
            all,
            ["  so", " much", "\n\ndepends", "　upon", " a", "\u{85} red", " x", "\n "]
        );
        let mut at = text.len();
        for unit in all[1..].iter().rev() {
            let cut = before_white_space(&text[..at], false).unwrap();
            assert_eq!(&text[cut..at], *unit);
            at = cut;
        }
        assert_eq!(before_white_space(&text[..at], false).unwrap(), 0);
    }

    #[test]
    fn a_sample_with_too_many_words_is_thinned_evenly() {
        let block =
            |i: usize| (0..1000).map(|k| format!("word-{i}-{k:0>100} ")).collect::<String>();
        let few = with_few_words(vec!["the same words ".repeat(100_000); 20]);
        assert_eq!(few.len(), 20);
        let many = with_few_words((0..80).map(block).collect());
        assert!((30..60).contains(&many.len()), "{} blocks of 100 kB", many.len());
        let n_late = many.iter().filter(|block| block.as_str() >= "word-40").count();
        assert!(n_late > many.len() / 3, "{n_late} of {}", many.len());
    }
}
