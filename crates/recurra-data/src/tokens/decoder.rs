//! Ids to text, one at a time, never splitting a character.

use super::{Kind, Tokenizer};
use crate::{Error, Result};

/// Ids that a vocabulary without bytes of its own may leave without text; after so many they are shown as they are.
const MOST_PENDING_IDS: usize = 16;

/// What a decoder holds back until the next id: a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DecoderState {
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// Ids that decide about the text of those after them, the first `n_done` of them already shown.
    ids: Vec<u32>,
    n_done: usize,
    /// A word stands before: a space must come before the next.
    after_word: bool,
}

/// Turns ids into text as they come: what [`Tokenizer::decode`] gives for all of them, in pieces.
///
/// ```
/// use recurra_data::{Text, Tokenizer, TokenizerSpec};
///
/// let tokenizer = Tokenizer::train(&TokenizerSpec::Byte, &Text::from_string("any", "é".into()))?;
/// let mut decoder = tokenizer.decoder();
/// assert_eq!(decoder.push(0xC3), "");
/// assert_eq!(decoder.push(0xA9), "é");
/// # Ok::<(), recurra_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    tokenizer: Tokenizer,
    state: DecoderState,
    text: String,
}

impl Decoder {
    pub(super) fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, state: DecoderState::default(), text: String::new() }
    }

    pub(super) fn restore(tokenizer: Tokenizer, state: DecoderState) -> Result<Self> {
        let unfit = |message: &str| {
            let kind = tokenizer.kind().to_owned();
            Err(Error::DecoderState { kind, message: message.into() })
        };
        let is_word = matches!(tokenizer.inner.kind, Kind::Word(_));
        if state.bytes.len() > 3 || (!state.bytes.is_empty() && !tokenizer.joins_bytes()) {
            return unfit("it holds bytes that begin no character");
        }
        if state.after_word && !is_word {
            return unfit("it was written by a word tokenizer");
        }
        let vocab_size = tokenizer.vocab_size();
        let is_known = |&id: &u32| (id as usize) < vocab_size;
        if state.ids.len() > 4 * MOST_PENDING_IDS
            || state.n_done > state.ids.len()
            || (!state.ids.is_empty() && (tokenizer.joins_bytes() || is_word))
            || !state.ids.iter().all(is_known)
        {
            return unfit("it holds tokens of another vocabulary");
        }
        Ok(Self { tokenizer, state, text: String::new() })
    }

    /// Takes one id; returns the text that is complete now.
    pub fn push(&mut self, id: u32) -> &str {
        self.text.clear();
        let Self { tokenizer, state, text } = self;
        match &tokenizer.inner.kind {
            Kind::Word(words) => match words.word_of(id) {
                _ if id == words.end_of_line() => {
                    text.push('\n');
                    state.after_word = false;
                }
                word => {
                    if std::mem::replace(&mut state.after_word, true) {
                        text.push(' ');
                    }
                    text.push_str(word.unwrap_or("\u{FFFD}"));
                }
            },
            _ if tokenizer.joins_bytes() => {
                tokenizer.append_bytes(id, &mut state.bytes);
                drain_text(&mut state.bytes, text);
            }
            _ => {
                state.ids.push(id);
                let new = tokenizer.new_text(&state.ids, state.n_done);
                let is_cut = new.ends_with('\u{FFFD}') || new.is_empty();
                if !is_cut || state.ids.len() - state.n_done >= MOST_PENDING_IDS {
                    text.push_str(&new);
                    state.ids.drain(..state.n_done);
                    state.n_done = state.ids.len();
                }
            }
        }
        &self.text
    }

    /// What is still held back; an unfinished character becomes U+FFFD.
    pub fn finish(self) -> String {
        let Self { tokenizer, state, .. } = self;
        if !state.bytes.is_empty() {
            return String::from_utf8_lossy(&state.bytes).into_owned();
        }
        if state.ids.len() > state.n_done {
            tokenizer.new_text(&state.ids, state.n_done)
        } else {
            String::new()
        }
    }

    /// What is held back, to go on from with [`Tokenizer::decoder_from`].
    pub fn state(&self) -> DecoderState {
        self.state.clone()
    }
}

impl Tokenizer {
    /// Whether the text of ids is nothing but their bytes joined.
    fn joins_bytes(&self) -> bool {
        match &self.inner.kind {
            Kind::Byte | Kind::Char(_) => true,
            Kind::Word(_) => false,
            Kind::Subword(subwords) => subwords.bytes_of(0).is_some(),
        }
    }

    /// Appends the bytes of an id, for a vocabulary that joins bytes. An id that is none becomes U+FFFD.
    fn append_bytes(&self, id: u32, bytes: &mut Vec<u8>) {
        if id as usize >= self.vocab_size() {
            return bytes.extend("\u{FFFD}".bytes());
        }
        match &self.inner.kind {
            Kind::Char(chars) => match chars.char_of(id) {
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                None => bytes.push(id as u8), // below 256: a byte
            },
            Kind::Subword(subwords) => bytes.extend(subwords.bytes_of(id).unwrap_or_default()),
            Kind::Byte | Kind::Word(_) => bytes.push(id as u8),
        }
    }

    /// The text of all ids after the text of the first `n_done`.
    fn new_text(&self, ids: &[u32], n_done: usize) -> String {
        let Kind::Subword(subwords) = &self.inner.kind else { return String::new() };
        let (done, all) = (subwords.decode(&ids[..n_done]), subwords.decode(ids));
        let common = done.chars().zip(all.chars()).take_while(|(a, b)| a == b);
        let at = common.map(|(c, _)| c.len_utf8()).sum::<usize>();
        all[at..].to_owned()
    }

    /// The text of ids; bytes that are not UTF-8 become U+FFFD, and so do ids that are none.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &self.inner.kind {
            Kind::Subword(subwords) if !self.joins_bytes() => subwords.decode(ids),
            Kind::Word(_) => {
                let mut decoder = self.decoder();
                let mut text = String::new();
                for &id in ids {
                    text.push_str(decoder.push(id));
                }
                text
            }
            _ => {
                let mut bytes = Vec::with_capacity(ids.len());
                for &id in ids {
                    self.append_bytes(id, &mut bytes);
                }
                String::from_utf8(bytes)
                    .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
            }
        }
    }
}

/// Moves every finished character to `text`; a wrong sequence becomes U+FFFD, an unfinished one stays.
fn drain_text(bytes: &mut Vec<u8>, text: &mut String) {
    let mut done = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        done += chunk.valid().len();
        let wrong = chunk.invalid();
        let is_last = done + wrong.len() == bytes.len();
        if is_last && is_unfinished(wrong) {
            break;
        }
        if !wrong.is_empty() {
            text.push('\u{FFFD}');
            done += wrong.len();
        }
    }
    bytes.drain(..done);
}

/// Whether more bytes could make this a character.
fn is_unfinished(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(e) if e.valid_up_to() == 0 && e.error_len().is_none())
}
