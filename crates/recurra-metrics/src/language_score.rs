//! How well a model predicts a text, in every unit people quote.

use std::f64::consts::LN_2;
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::Signature;
use crate::readable::fixed;

/// How well a model predicts a text: the sum of its surprise, what it was summed over, and how it was measured.
///
/// Everything else follows from the sum `S = −Σ ln p(token | all before it)`. Serialised, it carries the derived
/// numbers beside the counts; read back, they are computed again. A number that is not finite becomes `null` in JSON.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LanguageScore {
    /// Tokens predicted.
    pub tokens: u64,
    /// Bytes of UTF-8 that these tokens stand for.
    pub bytes: u64,
    /// Words, with one end of line for each line, as for the Penn Treebank (Mikolov, 2010).
    pub words: u64,
    /// The sum over all tokens of −ln p, in nats.
    pub total_nats: f64,
    /// How it was measured.
    pub signature: Signature,
}

/// Bytes a word, at most, in a text that is made of words between spaces. English has 6, Russian 12, and the longest
/// compounds stay far below it; a script without spaces is far above, for its words are whole lines.
const MOST_BYTES_A_WORD: u64 = 25;

impl LanguageScore {
    /// Whether the text is made of words between spaces, so that a perplexity by word says something.
    pub fn has_words(&self) -> bool {
        self.bytes <= MOST_BYTES_A_WORD.saturating_mul(self.words)
    }

    /// Mean loss a token, `S / tokens`, in nats; not a number when there is no token.
    pub fn loss_nats(&self) -> f64 {
        self.total_nats / self.tokens as f64
    }

    /// Perplexity by token, `exp(S / tokens)`.
    pub fn perplexity(&self) -> f64 {
        self.loss_nats().exp()
    }

    /// Perplexity by word, `exp(S / words)`: the same surprise spread over words, whatever the tokens are.
    pub fn word_perplexity(&self) -> f64 {
        (self.total_nats / self.words as f64).exp()
    }

    /// Bits per byte, `S / (ln 2 · bytes)`: does not depend on the tokenizer.
    pub fn bits_per_byte(&self) -> f64 {
        self.total_nats / (LN_2 * self.bytes as f64)
    }
}

impl Serialize for LanguageScore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("LanguageScore", 9)?;
        fields.serialize_field("tokens", &self.tokens)?;
        fields.serialize_field("bytes", &self.bytes)?;
        fields.serialize_field("words", &self.words)?;
        fields.serialize_field("total_nats", &self.total_nats)?;
        fields.serialize_field("loss_nats", &self.loss_nats())?;
        fields.serialize_field("perplexity", &self.perplexity())?;
        fields.serialize_field("word_perplexity", &self.word_perplexity())?;
        fields.serialize_field("bits_per_byte", &self.bits_per_byte())?;
        fields.serialize_field("signature", &self.signature)?;
        fields.end()
    }
}

impl fmt::Display for LanguageScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perplexity {:.2} by token", self.perplexity())?;
        if self.has_words() {
            write!(f, ", {} by word", fixed(self.word_perplexity(), 2))?;
        }
        write!(
            f,
            "; {:.4} bits per byte; loss {:.4} nats over {} tokens",
            self.bits_per_byte(),
            self.loss_nats(),
            self.tokens
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(tokens: u64, bytes: u64, words: u64, total_nats: f64) -> LanguageScore {
        let signature =
            "lm|unit:word|tok:word-aa|ctx:unbounded|state:carried|data:bb|prec:f32|v:0.1.0";
        LanguageScore { tokens, bytes, words, total_nats, signature: signature.parse().unwrap() }
    }

    #[track_caller]
    fn check(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= 1e-12 * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn a_fair_guess_among_n_has_perplexity_n() {
        let score = score(100, 100, 25, 100.0 * 256f64.ln());
        check(score.perplexity(), 256.0);
        check(score.bits_per_byte(), 8.0);
        check(score.word_perplexity(), 256f64.powi(4));
    }

    #[test]
    fn the_published_ptb_numbers_agree_with_each_other() {
        // The Penn Treebank test text: 82,430 tokens, all of them words or ends of lines, in 449,945 bytes. A word
        // perplexity of 110.4 is then 110.4.log2() · 82430 / 449945 bits a byte.
        let score = score(82_430, 449_945, 82_430, 82_430.0 * 110.4f64.ln());
        check(score.perplexity(), 110.4);
        check(score.word_perplexity(), 110.4);
        check(score.bits_per_byte(), 110.4f64.log2() * 82_430.0 / 449_945.0);
    }

    #[test]
    fn no_token_gives_no_number() {
        assert!(score(0, 0, 0, 0.0).perplexity().is_nan());
        assert!(score(0, 0, 0, 0.0).bits_per_byte().is_nan());
    }

    #[test]
    fn json_has_the_keys_of_eval_and_comes_back_to_the_bit() {
        let score = score(7, 31, 3, 12.345_678_901_234_567);
        let json = serde_json::to_string(&score).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for key in [
            "tokens",
            "bytes",
            "loss_nats",
            "perplexity",
            "word_perplexity",
            "bits_per_byte",
            "signature",
        ] {
            assert!(!value[key].is_null(), "`{key}` is absent from {json}");
        }
        assert_eq!(value["loss_nats"].as_f64().unwrap(), score.loss_nats());
        assert_eq!(serde_json::from_str::<LanguageScore>(&json).unwrap(), score);
    }

    #[test]
    fn people_see_perplexity_with_bits_per_byte() {
        let line = score(100, 100, 25, 100.0 * 4f64.ln()).to_string();
        assert_eq!(
            line,
            "perplexity 4.00 by token, 256.00 by word; 2.0000 bits per byte; loss 1.3863 nats over 100 tokens"
        );
        let young = score(100, 100, 10, 100.0 * 8f64.ln()).to_string();
        assert!(young.contains(", 1.07e9 by word;"), "{young}");
    }

    #[test]
    fn a_script_without_spaces_has_no_perplexity_by_word() {
        // A line of Tang poetry: 25 characters of three bytes each, and its end; white space stands around lines only.
        let line = score(25_000, 75_000, 2000, 25_000.0 * 300f64.ln());
        assert!(!line.has_words());
        let line = line.to_string();
        assert!(line.starts_with("perplexity 300.00 by token; 2.7429 bits per byte"), "{line}");
    }
}
