//! How predictable a text is to one who has read another, before any model has.

use std::io::{self, Write};
use std::ops::{Range, RangeInclusive};

use ppmd_rust::Ppmd7Encoder;

use crate::tokens::known_words;
use crate::{Result, Text};

/// What a training text makes known of a validation text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predictability {
    /// Bits that prediction by partial matching needs for a byte of the validation text, after it has read the training text.
    ///
    /// The method (Cleary and Witten 1984; variant H of Shkarin 2002) counts what followed the last eight bytes whenever they
    /// stood there before. What a language model comes to lies close by: below where it can learn for long, above where not.
    pub bits_per_byte: f64,
    /// The part of the words of the validation text, between white space, that the training text does not have.
    pub unknown_words: f64,
    /// Different characters of the training text.
    pub n_characters: usize,
    /// Different words of it, unless there are too many.
    pub n_words: Option<usize>,
}

/// Bytes that predictions go by: 12 are 2 % better on 5 MB of English and take twice as long.
const ORDER: u32 = 8;

/// Memory for the contexts of each byte that is read. Where it is full, counting begins anew.
const MEMORY_A_BYTE: u64 = 16;
const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=160 << 20;

impl Predictability {
    /// Reads the first `most_bytes` of `valid` after the last `most_bytes` of `train`; words are looked up in all of both.
    ///
    /// # Errors
    /// As [`Text::measure`].
    pub fn measure(train: &Text, valid: &Text, most_bytes: u64) -> Result<Predictability> {
        let (n_train, n_valid) = (train.measure()?.bytes, valid.measure()?.bytes.min(most_bytes));
        let mut compressor = Compressor::new(n_train.min(most_bytes) + n_valid);
        let mut is_seen = vec![false; char::MAX as usize + 1];
        compressor.read(train, n_train.saturating_sub(most_bytes)..n_train, |chunk| {
            chunk.chars().for_each(|character| is_seen[character as usize] = true);
        })?;
        let before = compressor.n_bytes();
        compressor.read(valid, 0..n_valid, |_| ())?;
        let bits = 8.0 * (compressor.finish() - before) as f64;
        let words = known_words(train, valid)?;
        Ok(Predictability {
            bits_per_byte: bits / n_valid as f64,
            unknown_words: words.map_or(1.0, |words| words.unknown),
            n_characters: is_seen.into_iter().filter(|&is_seen| is_seen).count(),
            n_words: words.map(|words| words.n_words),
        })
    }
}

/// Prediction by partial matching, of which only the length of what it writes is kept.
struct Compressor(Ppmd7Encoder<Count>);

/// Counts what is written to it.
#[derive(Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressor {
    /// For a text of about `n_bytes`.
    fn new(n_bytes: u64) -> Compressor {
        let (least, most) = MEMORY_BYTES.into_inner();
        let memory_bytes = n_bytes.saturating_mul(MEMORY_A_BYTE).clamp(least, most) as u32;
        let encoder = Ppmd7Encoder::new(Count::default(), ORDER, memory_bytes);
        Compressor(encoder.expect("order and memory are within what the method allows"))
    }

    /// Reads these bytes of a text, and shows all of it to `look`.
    fn read(&mut self, text: &Text, range: Range<u64>, mut look: impl FnMut(&str)) -> Result<()> {
        let mut position = 0;
        text.for_each_chunk(&mut |chunk| {
            let within = |border: u64| border.saturating_sub(position).min(chunk.len() as u64);
            let bytes = &chunk.as_bytes()[within(range.start) as usize..within(range.end) as usize];
            position += chunk.len() as u64;
            self.0.write_all(bytes).expect("counting never fails");
            look(chunk);
            Ok(())
        })
    }

    /// Bytes written so far.
    fn n_bytes(&self) -> u64 {
        self.0.get_ref().0
    }

    /// Bytes written in all.
    fn finish(self) -> u64 {
        self.0.finish(false).expect("counting never fails").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tokenizer, TokenizerSpec};

    const MOST: u64 = 1 << 20;

    fn text(name: &str, content: impl Into<String>) -> Text {
        Text::from_string(name, content.into())
    }

    #[track_caller]
    fn check(train: &str, valid: &str, most_bytes: u64, bits: std::ops::Range<f64>, unknown: f64) {
        let found =
            Predictability::measure(&text("train", train), &text("valid", valid), most_bytes);
        let found = found.unwrap();
        assert!(bits.contains(&found.bits_per_byte), "{found:?}, expected {bits:?}");
        assert!((found.unknown_words - unknown).abs() < 1e-12, "{found:?}, expected {unknown}");
    }

    /// Letters that no one can foresee: each carries 4 bits.
    fn noise(n: usize, mut seed: u64) -> String {
        (0..n)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (b'a' + (seed >> 60) as u8) as char
            })
            .collect()
    }

    #[test]
    fn what_was_read_once_before_costs_a_third_of_what_cannot_be_known() {
        let (known, other) = (noise(20_000, 1), noise(20_000, 2));
        check(&known, &known, MOST, 1.2..1.5, 0.0);
        check(&known, &other, MOST, 3.95..4.3, 1.0);
    }

    #[test]
    fn only_the_end_of_a_long_training_text_is_compressed_but_all_its_words_are_known() {
        let (early, late) = (noise(20_000, 1), noise(20_000, 2));
        let both = format!("{early} {late}");
        check(&both, &late, 20_000, 1.2..1.5, 0.0);
        check(&both, &early, 20_000, 3.9..4.3, 0.0);
    }

    #[test]
    fn characters_are_counted_once_each() {
        let found =
            Predictability::measure(&text("train", "床前明月光\n疑"), &text("v", "床"), MOST);
        assert_eq!(found.unwrap().n_characters, 7);
    }

    #[test]
    fn kinds_of_words_are_those_that_will_be_tokens() {
        let train = text("train", "a rose is a rose\nis a rose\n");
        let found = Predictability::measure(&train, &text("valid", "a"), MOST).unwrap();
        let tokenizer = Tokenizer::train(&TokenizerSpec::Word, &train).unwrap();
        assert_eq!(found.n_words, Some(tokenizer.vocab_size()));
    }

    #[test]
    fn words_are_counted_as_often_as_they_stand_there() {
        check("a rose is a rose\n", "a rose is red\n", MOST, 0.0..9.0, 0.2);
        check("a rose is a rose\n", "a rose\n", MOST, 0.0..9.0, 0.0);
        check("靜夜思", "床前明月光", MOST, 0.0..12.0, 1.0);
    }
}
