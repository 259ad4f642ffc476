//! Counts and hash of a text, taken chunk by chunk.

use std::fmt::Write as _;

use super::outlet::boundary_at_or_before;
use sha2::{Digest, Sha256};

/// Counts and hash of a whole text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TextStats {
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Characters (code points).
    pub chars: u64,
    /// Lines, the last one counted whether or not it ends in `\n`.
    pub lines: u64,
    /// Line ends: characters `\n`.
    pub line_ends: u64,
    /// Words: stretches without white space (Unicode).
    pub words: u64,
    /// SHA-256 of the UTF-8 bytes.
    pub sha256: [u8; 32],
}

impl TextStats {
    /// Words, each line end counted as one more, as perplexities on Penn Treebank and WikiText-2 count them.
    pub fn words_and_line_ends(&self) -> u64 {
        self.words + self.line_ends
    }

    /// The hash in hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

/// Bytes as hexadecimal digits, lower case: how hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

/// Takes the chunks of a text in order.
pub(crate) struct Counter {
    bytes: u64,
    chars: u64,
    line_ends: u64,
    words: u64,
    sha256: Sha256,
    /// White space, or the start of the text, stands before the next chunk.
    after_space: bool,
    ends_in_newline: bool,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self {
            bytes: 0,
            chars: 0,
            line_ends: 0,
            words: 0,
            sha256: Sha256::new(),
            after_space: true,
            ends_in_newline: true,
        }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.sha256.update(text.as_bytes());
        self.bytes += text.len() as u64;
        self.chars += text.chars().count() as u64;
        for block in text.as_bytes().chunks(192) {
            // Fits a byte, which lets the loop run over whole vector registers.
            self.line_ends += u64::from(block.iter().map(|&b| u8::from(b == b'\n')).sum::<u8>());
        }
        self.count_words(text);
        self.ends_in_newline = text.ends_with('\n');
    }

    /// A word begins where a character that is no white space follows one that is.
    fn count_words(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (block, tail) = rest.split_at(boundary_at_or_before(rest, 192));
            rest = tail;
            let bytes = block.as_bytes();
            if block.is_ascii() {
                self.words += u64::from(self.after_space & !is_ascii_space(bytes[0]));
                let pairs = bytes[..bytes.len() - 1].iter().zip(&bytes[1..]);
                let starts = pairs.map(|(&a, &b)| u8::from(is_ascii_space(a) & !is_ascii_space(b)));
                self.words += u64::from(starts.sum::<u8>());
                self.after_space = is_ascii_space(bytes[bytes.len() - 1]);
                continue;
            }
            for (at, &byte) in bytes.iter().enumerate() {
                // The bytes inside a character change nothing.
                if byte & 0xC0 != 0x80 {
                    let is_space = space_len(block, at) > 0;
                    self.words += u64::from(self.after_space & !is_space);
                    self.after_space = is_space;
                }
            }
        }
    }

    pub(crate) fn finish(self) -> TextStats {
        TextStats {
            bytes: self.bytes,
            chars: self.chars,
            lines: self.line_ends + u64::from(!self.ends_in_newline),
            line_ends: self.line_ends,
            words: self.words,
            sha256: self.sha256.finalize().into(),
        }
    }
}

/// The white space of ASCII as Unicode has it.
fn is_ascii_space(byte: u8) -> bool {
    (byte == b' ') | (byte.wrapping_sub(b'\t') < 5)
}

/// The bytes of the white space (Unicode) that begins at `at`; 0 if something else does, or if `at` is inside a character.
pub(crate) fn space_len(text: &str, at: usize) -> usize {
    match text.as_bytes()[at] {
        byte @ 0..0x80 => usize::from(is_ascii_space(byte)),
        // All other white space begins with one of these.
        0xC2 | 0xE1 | 0xE2 | 0xE3 => {
            let first = text[at..].chars().next().filter(|c| c.is_whitespace());
            first.map_or(0, char::len_utf8)
        }
        _ => 0,
    }
}
