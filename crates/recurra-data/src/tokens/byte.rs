//! One token a byte.

use super::json::{BpeModel, TokenizerJson};
use serde_json::{Value, json};

/// The number of ids.
pub(super) const VOCAB_SIZE: usize = 256;

/// The character that stands for a byte in byte-level vocabularies (Radford et al. 2019): printable bytes of Latin-1 stand
/// for themselves, the others for the characters from U+0100 on, in order.
pub(super) fn visible(byte: u8) -> char {
    match HIDDEN.binary_search(&byte) {
        Ok(idx) => char::from_u32(256 + idx as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        Err(_) => char::from(byte),
    }
}

/// The bytes that a byte-level token stands for; a token with any other character stands for itself.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    let byte_of = |c: char| match u8::try_from(c) {
        Ok(byte) => HIDDEN.binary_search(&byte).is_err().then_some(byte),
        Err(_) => HIDDEN.get(c as usize - 256).copied(),
    };
    token.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The bytes that have no printable character of their own in Latin-1, in order.
static HIDDEN: [u8; 68] = {
    let (mut hidden, mut n, mut byte) = ([0; 68], 0, 0);
    while byte < 256 {
        if !matches!(byte as u8, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            hidden[n] = byte as u8;
            n += 1;
        }
        byte += 1;
    }
    hidden
};

/// The byte-level stage of a `tokenizer.json`, with or without the splitting expression of GPT-2.
pub(super) fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex})
}

pub(super) fn to_json() -> String {
    let tokens = (0..=255).map(|byte| visible(byte).to_string());
    let model = BpeModel::without_merges(false, tokens);
    TokenizerJson::write(Value::Null, byte_level(false), byte_level(false), model)
}

pub(super) fn encode(text: &str, ids: &mut Vec<u32>) {
    ids.extend(text.bytes().map(u32::from));
}
