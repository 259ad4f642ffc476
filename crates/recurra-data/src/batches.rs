//! Contiguous streams over a token file, cut into windows for truncated backpropagation through time.

use crate::{Error, Result, TokenFile};

/// One window of all streams, time-major: position (t, b) stands at `t * batch + b`.
///
/// # Shapes
/// `inputs`, `targets`: (T, B).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids that the model reads.
    pub inputs: Vec<u32>,
    /// The token after each input: what the model has to say.
    pub targets: Vec<u32>,
    /// T, positions in this window.
    pub time: usize,
    /// B, streams.
    pub batch: usize,
}

/// B contiguous streams of equal length, as `batchify` of PyTorch's word_language_model cuts them.
///
/// Stream b holds the tokens from b·N to (b+1)·N with N = ⌊tokens / B⌋; the tail that does not fill B streams is dropped.
/// A model carries its state from one window to the next, so that it reads each stream from end to end.
#[derive(Clone, Debug)]
pub struct Streams {
    tokens: TokenFile,
    batch: usize,
    bptt: usize,
    /// N, tokens a stream.
    stream_len: usize,
}

impl Streams {
    /// Cuts a token file into `batch` streams, read `bptt` tokens at a time.
    ///
    /// # Errors
    /// A size is zero, or the text is shorter than B × T + 1 tokens.
    pub fn new(tokens: TokenFile, batch: usize, bptt: usize) -> Result<Self> {
        for (what, size) in [("batch", batch), ("bptt", bptt)] {
            if size == 0 {
                return Err(Error::Zero { what });
            }
        }
        // Two tokens a stream are the least that has an input and its target.
        let needed = batch.saturating_mul(bptt).saturating_add(1).max(batch.saturating_mul(2));
        if tokens.len() < needed {
            return Err(Error::TooShort { tokens: tokens.len(), needed, batch, bptt });
        }
        let stream_len = tokens.len() / batch;
        Ok(Self { tokens, batch, bptt, stream_len })
    }

    /// Windows from the start of the streams to their end: ⌈(N − 1) / T⌉.
    pub fn windows_per_epoch(&self) -> usize {
        (self.stream_len - 1).div_ceil(self.bptt)
    }

    /// Fills `out` with window `idx`; the last window of an epoch may be shorter than `bptt`.
    ///
    /// # Panics
    /// `idx` is not below [`Streams::windows_per_epoch`].
    #[track_caller]
    pub fn window(&self, idx: usize, out: &mut Batch) {
        assert!(idx < self.windows_per_epoch(), "window {idx} of {}", self.windows_per_epoch());
        let start = idx * self.bptt;
        let time = self.bptt.min(self.stream_len - 1 - start);
        let (batch, size) = (self.batch, time * self.batch);
        (out.time, out.batch) = (time, batch);
        out.inputs.resize(size, 0);
        out.targets.resize(size, 0);
        for b in 0..batch {
            let first = b * self.stream_len + start;
            // Consecutive positions of a stream stand `batch` apart in the time-major window.
            self.tokens.read_strided(first, time, &mut out.inputs[b..], batch);
            self.tokens.read_strided(first + 1, time, &mut out.targets[b..], batch);
        }
    }

    /// The tokens under the streams.
    pub fn tokens(&self) -> &TokenFile {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Text, Tokenizer, TokenizerSpec};

    fn tokens(text: &str) -> TokenFile {
        let cache = tempfile::tempdir().unwrap();
        let text = Text::from_string("t", text.into());
        let tokenizer = Tokenizer::train(&TokenizerSpec::Byte, &text).unwrap();
        TokenFile::open_or_build(cache.path(), &text, &tokenizer).unwrap()
    }

    /// The windows of these streams as (inputs, targets), each position a column of letters.
    #[track_caller]
    fn check(text: &str, batch: usize, bptt: usize, expected: &[(&str, &str)]) {
        let streams = Streams::new(tokens(text), batch, bptt).unwrap();
        assert_eq!(streams.windows_per_epoch(), expected.len());
        let mut out = Batch::default();
        let letters = |ids: &[u32]| -> String {
            let rows: Vec<String> = ids
                .chunks(batch)
                .map(|row| row.iter().map(|&id| char::from(id as u8)).collect())
                .collect();
            rows.join(" ")
        };
        let mut n_targets = 0;
        for (idx, &(inputs, targets)) in expected.iter().enumerate() {
            streams.window(idx, &mut out);
            assert_eq!(
                (letters(&out.inputs).as_str(), letters(&out.targets).as_str()),
                (inputs, targets)
            );
            assert_eq!((out.time * out.batch, out.batch), (out.inputs.len(), batch));
            n_targets += out.targets.len();
        }
        assert_eq!(n_targets, batch * (text.len() / batch - 1)); // B · (N − 1)
    }

    #[test]
    fn streams_are_cut_as_in_word_language_model() {
        // The alphabet example in the comment of PyTorch's word_language_model: a g m s / b h n t / …
        let alphabet = "abcdefghijklmnopqrstuvwxyz";
        check(
            alphabet,
            4,
            2,
            &[("agms bhnt", "bhnt ciou"), ("ciou djpv", "djpv ekqw"), ("ekqw", "flrx")],
        );
        check(alphabet, 4, 5, &[("agms bhnt ciou djpv ekqw", "bhnt ciou djpv ekqw flrx")]);
        check("abc", 1, 1, &[("a", "b"), ("b", "c")]);
    }

    #[test]
    fn short_texts_and_zero_sizes_are_errors() {
        let error = |batch, bptt| Streams::new(tokens("abcdefghij"), batch, bptt).unwrap_err();
        let short = error(4, 5);
        assert_eq!(
            short.to_string(),
            "the text has 10 tokens, expected at least 21 (batch 4 × bptt 5 + 1)"
        );
        assert_eq!(
            short.hint().unwrap(),
            "give more text, or smaller sizes such as `--batch 1 --bptt 9`"
        );
        assert!(matches!(error(0, 5), Error::Zero { what: "batch" }));
        assert!(matches!(error(4, 0), Error::Zero { what: "bptt" }));
        assert!(matches!(error(usize::MAX, usize::MAX), Error::TooShort { .. }));
        assert!(matches!(error(9, 1), Error::TooShort { needed: 18, .. }));
        assert!(Streams::new(tokens("abcdefghij"), 3, 3).is_ok());
        let one = Streams::new(tokens("a"), 1, 1).unwrap_err();
        assert_eq!(one.hint().unwrap(), "give more text");
    }

    #[test]
    #[should_panic(expected = "window 1 of 1")]
    fn a_window_beyond_the_epoch_is_a_fault() {
        Streams::new(tokens("abcdef"), 1, 5).unwrap().window(1, &mut Batch::default());
    }
}
