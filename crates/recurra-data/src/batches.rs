//! Contiguous streams over a token file, cut into windows for truncated backpropagation through time.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

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
    varied: Option<VariedWindows>,
}

/// Windows of unequal lengths, others in each pass over the text, so that no token always stands at the same place of one.
#[derive(Clone, Debug)]
struct VariedWindows {
    seed: u64,
    /// Where the windows of this pass begin, and where the last one ends.
    bounds: Vec<usize>,
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
        Ok(Self { tokens, batch, bptt, stream_len, varied: None })
    }

    /// The same streams in windows of varied lengths as in AWD-LSTM (Merity, Keskar and Socher 2018): most are near `bptt`, one
    /// of twenty near half of it. Drawn for a pass over the text, they are stretched to fill it, so each pass has as many windows.
    #[must_use]
    pub fn varied(self, seed: u64) -> Self {
        let mut streams = Self { varied: Some(VariedWindows { seed, bounds: Vec::new() }), ..self };
        streams.begin_epoch(0);
        streams
    }

    /// Draws the windows of pass number `epoch`, where they are varied.
    pub fn begin_epoch(&mut self, epoch: u64) {
        let (n_windows, end) = (self.windows_per_epoch(), self.stream_len - 1);
        let Some(varied) = &mut self.varied else { return };
        let mut random = ChaCha8Rng::seed_from_u64(varied.seed);
        random.set_stream(epoch);
        let bptt = self.bptt as f64;
        let mut total = 0.0;
        let ends: Vec<f64> = (0..n_windows)
            .map(|_| {
                total += length(&mut random, bptt);
                total
            })
            .collect();
        varied.bounds.clear();
        varied.bounds.push(0);
        for (idx, until) in ends.into_iter().enumerate() {
            // At least one step each.
            let least = varied.bounds[idx] + 1;
            let most = end - (n_windows - 1 - idx);
            let bound = (until / total * end as f64).round() as usize;
            varied.bounds.push(bound.clamp(least, most));
        }
    }

    /// Windows from the start of the streams to their end: ⌈(N − 1) / T⌉, or about as many as the mean of varied lengths makes.
    pub fn windows_per_epoch(&self) -> usize {
        let end = self.stream_len - 1;
        match self.varied {
            None => end.div_ceil(self.bptt),
            Some(_) => {
                let mean = (1.0 - HALVED / 2.0) * self.bptt as f64;
                ((end as f64 / mean).round() as usize).clamp(1, end)
            }
        }
    }

    /// Fills `out` with window `idx`; the last window of an epoch may be shorter than `bptt`.
    ///
    /// # Panics
    /// `idx` is not below [`Streams::windows_per_epoch`].
    #[track_caller]
    pub fn window(&self, idx: usize, out: &mut Batch) {
        assert!(idx < self.windows_per_epoch(), "window {idx} of {}", self.windows_per_epoch());
        let (start, end) = match &self.varied {
            None => (idx * self.bptt, ((idx + 1) * self.bptt).min(self.stream_len - 1)),
            Some(varied) => (varied.bounds[idx], varied.bounds[idx + 1]),
        };
        let time = end - start;
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
}

/// The part of varied windows that are about half as long.
const HALVED: f64 = 0.05;

/// A length near T with a deviation of 5, or T/7 where that is less, and no less than T/14: 5 of 70.
fn length(random: &mut ChaCha8Rng, bptt: f64) -> f64 {
    let mut unit = || random.next_u64() as f64 / 2f64.powi(64);
    let mean = if unit() < HALVED { bptt / 2.0 } else { bptt };
    // The sum of twelve numbers from 0 to 1 has the deviation 1, and no tails to speak of.
    let normal = (0..12).map(|_| unit()).sum::<f64>() - 6.0;
    (mean + normal * (bptt / 7.0).min(5.0)).max(bptt / 14.0)
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
            "the text has 10 tokens, expected at least 21 (batch 4 × bptt 5 + 1, and 2 a stream)"
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
    fn varied_windows_cover_the_streams_anew_in_each_pass() {
        let text = "abcdefghij".repeat(200);
        for (batch, bptt) in [(1, 70), (3, 35), (2, 1), (7, 3), (1, 1900)] {
            let plain = Streams::new(tokens(&text), batch, bptt).unwrap();
            let mut streams = plain.clone().varied(5);
            let n_windows = streams.windows_per_epoch();
            let mut passes = Vec::new();
            for epoch in [0, 1, 0] {
                streams.begin_epoch(epoch);
                assert_eq!(streams.windows_per_epoch(), n_windows);
                let (mut out, mut times, mut inputs) = (Batch::default(), Vec::new(), Vec::new());
                for idx in 0..n_windows {
                    streams.window(idx, &mut out);
                    times.push(out.time);
                    inputs.extend_from_slice(&out.inputs);
                }
                assert!(times.iter().all(|&time| (1..=2 * bptt + 1).contains(&time)), "{times:?}");
                let mut whole = Vec::new();
                for idx in 0..plain.windows_per_epoch() {
                    plain.window(idx, &mut out);
                    whole.extend_from_slice(&out.inputs);
                }
                assert_eq!(inputs, whole, "{batch} × {bptt}");
                passes.push(times);
            }
            assert_eq!(passes[0], passes[2], "a pass has its windows whatever came before");
            assert!(n_windows < 10 || bptt < 3 || passes[0] != passes[1], "{passes:?}");
        }
        let mut streams = Streams::new(tokens(&text), 1, 70).unwrap().varied(5);
        streams.begin_epoch(3);
        let mut out = Batch::default();
        let times: Vec<usize> = (0..streams.windows_per_epoch())
            .map(|idx| {
                streams.window(idx, &mut out);
                out.time
            })
            .collect();
        assert!(
            times.iter().filter(|time| (55..=85).contains(*time)).count() * 4 > times.len() * 3
        );
    }

    #[test]
    #[should_panic(expected = "window 1 of 1")]
    fn a_window_beyond_the_epoch_is_a_fault() {
        Streams::new(tokens("abcdef"), 1, 5).unwrap().window(1, &mut Batch::default());
    }
}
