//! Ids to text, one at a time, never splitting a character.

/// What a decoder holds back until the next id; a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DecoderState {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ids: Vec<u32>,
    pub(crate) after_word: bool,
}

/// Turns ids into text as they come.
#[derive(Clone, Debug)]
pub struct Decoder {}

impl Decoder {
    /// Takes one id; returns the text that is complete now.
    pub fn push(&mut self, _id: u32) -> &str {
        todo!()
    }
    /// What is still held back; an unfinished character becomes U+FFFD.
    pub fn finish(self) -> String {
        todo!()
    }
    /// What is held back, to go on from later.
    pub fn state(&self) -> DecoderState {
        todo!()
    }
}
