//! Settings that nobody gave, decided from the size of the corpus and the length of the run.
//!
//! Plain rules, each in one place with its reason. They look at the text and at what was asked for, and of the machine at
//! the precision of its products only, which decides how much a budget buys: [`assumed_flops`].

use recurra_data::TokenizerSpec;
use recurra_models::CellKind;
use recurra_tensor::Precision;

use crate::averaging::Averaging;
use crate::error::Error;
use crate::optimizer::OptimizerSettings;
use crate::recipe::{Length, Recipe, RecipeOptions};
use crate::schedule::{Decay, Schedule};

/// Arithmetic a second that training is assumed to reach, to turn a budget into a number of tokens: what small models were
/// measured to reach on two cores, less a reserve.
pub fn assumed_flops(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 60e9,
        Precision::Bf16 => 240e9,
    }
}

/// What the rules know of the training text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorpusFacts {
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Characters.
    pub chars: u64,
    /// Lines.
    pub lines: u64,
    /// Words between white space.
    pub words: u64,
    /// Whether it is the corpus inside the program.
    pub is_storybook: bool,
}

/// One decision, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The setting.
    pub name: &'static str,
    /// What it became.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// Hidden sizes to choose from: multiples of 32, so that every kernel's tiles are full.
const HIDDEN: [usize; 10] = [64, 96, 128, 192, 256, 320, 384, 512, 768, 1024];

/// Tokens that a run should see for each parameter, at least, before a larger model pays. Measured at equal arithmetic on
/// a character LSTM: 2.8 and 8.6 tokens a parameter learn equally well, 1.1 much worse.
const TOKENS_PER_PARAMETER: f64 = 5.0;

/// Batch and bptt to choose from, the product doubling. At equal tokens, many small updates were measured to learn far
/// more than few large ones (character LSTM, 0.6 M tokens: 2.00 nats at 16 × 32, 2.20 at 32 × 64).
const SIZES: [(usize, usize); 5] = [(16, 32), (16, 64), (32, 64), (64, 64), (64, 128)];

/// What the storybook needs, whose stories come back to things settled long before: in 90 seconds 0.163 bits a byte; 0.184
/// with one layer of 128 and windows of 32.
const STORYBOOK_SIZES: (usize, usize) = (16, 128);
const STORYBOOK_HIDDEN: usize = 256;

/// Updates that a run should have, at least, before each of them may be larger.
const UPDATES: f64 = 2500.0;

/// Fills the gaps of `options`, and says how.
///
/// # Errors
/// [`Error::OutOfRange`] for a setting that was given and makes no sense.
pub fn choose(
    options: &RecipeOptions,
    facts: &CorpusFacts,
    precision: Precision,
) -> Result<(Recipe, Vec<Choice>), Error> {
    options.check()?;
    let mut choices = Choices(Vec::new());
    let cell = options.cell.unwrap_or(CellKind::Lstm);
    let length = options.length.unwrap_or_else(|| choices.length(facts));
    let tokenizer = options.tokenizer.clone().unwrap_or_else(|| choices.tokenizer(facts));
    let text = TokenEstimate::new(&tokenizer, facts);
    let accumulate = options.accumulate.unwrap_or(1);
    let (batch, bptt) =
        choices.batch_and_bptt(options, &text, expected_tokens(length, &text, precision));
    let tokens_seen = match length {
        Length::Epochs(epochs) => TokensSeen::Known(epochs as f64 * text.tokens),
        Length::Steps(steps) => {
            TokensSeen::Known(steps as f64 * (batch * bptt * accumulate) as f64)
        }
        Length::Budget(seconds) => TokensSeen::Affordable { flop: affordable(seconds, precision) },
    };

    let hidden = choices.hidden(options, &text, tokens_seen);
    // Tied weights need one width for both, and save most of the parameters where the vocabulary is large.
    let can_tie = options.embed.is_none() || options.embed == hidden.last().copied();
    let tied = options.tied.unwrap_or(text.is_large_vocabulary && can_tie);
    let embed = options.embed.unwrap_or_else(|| choices.embed(&hidden, tied));
    let flops = flops_per_token(options, embed, &hidden, text.vocabulary);
    let epochs = tokens_seen.count(flops) / text.tokens;
    let dropout = options.dropout.unwrap_or_else(|| choices.dropout(epochs, &hidden));
    let optimizer = options.optimizer.unwrap_or_else(OptimizerSettings::adamw);
    let learning_rate =
        options.learning_rate.unwrap_or_else(|| choices.learning_rate(&optimizer, &hidden));
    let clip = options.clip.unwrap_or(if optimizer.is_sgd() { 0.25 } else { 1.0 });
    let averaging = options.averaging.unwrap_or_default();
    let schedule =
        options.schedule.clone().unwrap_or_else(|| choices.schedule(&optimizer, averaging));
    expect_beta1(&optimizer, &schedule)?;

    let recipe = Recipe {
        cell,
        tokenizer,
        embed,
        hidden,
        tied,
        dropout,
        cell_options: options.cell_options,
        regularization: options.regularization,
        optimizer,
        learning_rate,
        clip,
        schedule,
        averaging,
        batch,
        bptt,
        vary_windows: options.vary_windows.unwrap_or(false),
        reset_state: options.reset_state.unwrap_or(0.0),
        accumulate,
        length,
        validate_every: options.validate_every,
        patience: options.patience.unwrap_or(0),
        seed: options.seed.unwrap_or(1),
    };
    Ok((recipe, choices.0))
}

/// Refuses a schedule of β₁ for an optimizer that has none to change.
fn expect_beta1(optimizer: &OptimizerSettings, schedule: &Schedule) -> Result<(), Error> {
    if !schedule.has_beta1() || optimizer.has_beta1() {
        return Ok(());
    }
    Err(Error::OutOfRange {
        name: "schedule".to_owned(),
        value: schedule.to_string(),
        expected: format!(
            "one without β₁ (`@`): only adam and adamw with a β₁ above 0 follow it, not {optimizer}"
        ),
    })
}

/// How many tokens a text will have, and how many kinds: known before it is tokenised, so a guess for BPE.
struct TokenEstimate {
    tokens: f64,
    vocabulary: f64,
    is_large_vocabulary: bool,
    is_word: bool,
    is_storybook: bool,
}

impl TokenEstimate {
    fn new(tokenizer: &TokenizerSpec, facts: &CorpusFacts) -> TokenEstimate {
        let (bytes, chars, words) =
            (facts.bytes as f64, facts.chars as f64, (facts.words + facts.lines) as f64);
        let (tokens, vocabulary) = match tokenizer {
            TokenizerSpec::Byte => (bytes, 256.0),
            // The 256 bytes and the script: few characters where each takes one byte, thousands where it takes three.
            TokenizerSpec::Char => (chars, if bytes > 1.5 * chars { 4000.0 } else { 350.0 }),
            // Heaps' law with the constants of English text: 10,000 kinds in a million words.
            TokenizerSpec::Word => (words, (10.0 * words.sqrt()).min(300_000.0)),
            TokenizerSpec::Bpe(size) => (bytes / 4.0, *size as f64),
            TokenizerSpec::File(_) => (bytes / 4.0, 30_000.0),
        };
        TokenEstimate {
            tokens: tokens.max(1.0),
            vocabulary,
            is_large_vocabulary: vocabulary > 1000.0,
            is_word: matches!(tokenizer, TokenizerSpec::Word),
            is_storybook: facts.is_storybook,
        }
    }
}

/// How many tokens a run will see.
#[derive(Clone, Copy)]
enum TokensSeen {
    Known(f64),
    Affordable { flop: f64 },
}

impl TokensSeen {
    fn count(self, flops_per_token: f64) -> f64 {
        match self {
            TokensSeen::Known(tokens) => tokens,
            TokensSeen::Affordable { flop } => flop / flops_per_token,
        }
    }
}

/// Operations that a budget buys; a tenth of it goes into validation and saving.
fn affordable(seconds: f64, precision: Precision) -> f64 {
    0.9 * seconds * assumed_flops(precision)
}

/// Tokens that a run will see, before the sizes of its model are known.
fn expected_tokens(length: Length, text: &TokenEstimate, precision: Precision) -> f64 {
    match length {
        Length::Epochs(epochs) => epochs as f64 * text.tokens,
        // A number of updates is what was asked for: each of them of the size below the middle one.
        Length::Steps(_) => 1.5 * UPDATES * 1024.0,
        // The model will be so large that it sees k tokens a parameter, so F = 6 P N with N = k P.
        Length::Budget(seconds) => {
            (TOKENS_PER_PARAMETER * affordable(seconds, precision) / 6.0).sqrt()
        }
    }
}

/// 6 (Σ P + V E): forward and backward of the layers and of the output.
fn flops_per_token(
    options: &RecipeOptions,
    embed: usize,
    hidden: &[usize],
    vocabulary: f64,
) -> f64 {
    let cell = options.cell.unwrap_or(CellKind::Lstm);
    let inputs = std::iter::once(embed).chain(hidden.iter().copied());
    let layers: f64 = inputs
        .zip(hidden)
        .map(|(inputs, &size)| cell.size(inputs, size, &options.cell_options))
        .map(|size| size.multiplications as f64)
        .sum();
    6.0 * (layers + vocabulary * hidden.last().copied().unwrap_or(embed) as f64)
}

/// The decisions so far; each method takes one.
struct Choices(Vec<Choice>);

impl Choices {
    fn take<T>(
        &mut self,
        name: &'static str,
        value: T,
        shown: String,
        reason: impl Into<String>,
    ) -> T {
        self.0.push(Choice { name, value: shown, reason: reason.into() });
        value
    }

    fn length(&mut self, facts: &CorpusFacts) -> Length {
        let (length, reason) = match facts.is_storybook {
            true => (Length::Budget(90.0), "a first run should end soon"),
            false => (Length::Budget(600.0), "no epochs, steps or budget given"),
        };
        self.take("length", length, length.to_string(), reason)
    }

    fn tokenizer(&mut self, facts: &CorpusFacts) -> TokenizerSpec {
        let size = match facts.bytes as f64 {
            bytes @ ..1e3 => format!("{bytes:.0} bytes"),
            bytes @ ..1e6 => format!("{:.0} kB", bytes / 1e3),
            bytes @ ..1e7 => format!("{:.1} MB", bytes / 1e6),
            bytes => format!("{:.0} MB", bytes / 1e6),
        };
        let (spec, reason) = match facts.bytes {
            _ if facts.is_storybook => (
                TokenizerSpec::Bpe(2000),
                "names as single tokens bring what was said long ago nearer".to_owned(),
            ),
            0..30_000_000 => {
                (TokenizerSpec::Char, format!("a text of {size}: characters need the least data"))
            }
            _ => (TokenizerSpec::Bpe(8000), format!("a text of {size} can carry pieces of words")),
        };
        let shown = spec.to_string();
        self.take("tokenizer", spec, shown, reason)
    }

    /// Batch and bptt go together: their product is what an update costs, and a run needs many updates.
    fn batch_and_bptt(
        &mut self,
        options: &RecipeOptions,
        text: &TokenEstimate,
        seen: f64,
    ) -> (usize, usize) {
        let sizes = match text.is_word {
            true => (20, 35),
            false if text.is_storybook => STORYBOOK_SIZES,
            false => {
                let leaves_enough =
                    |(batch, bptt): &(usize, usize)| seen >= UPDATES * (batch * bptt) as f64;
                SIZES.into_iter().rev().find(leaves_enough).unwrap_or(SIZES[0])
            }
        };
        let most = |part: usize| ((text.tokens / part as f64) as usize).max(1);
        // Streams should be long enough to be worth carrying a state along.
        let batch = options.batch.unwrap_or(sizes.0.min(most(8 * options.bptt.unwrap_or(32))));
        let bptt = options.bptt.unwrap_or(sizes.1.min(most(4 * batch)));
        let reason = match text.is_word {
            _ if batch < sizes.0 || bptt < sizes.1 => "the text is short",
            true => "as in the published word recipes",
            false if text.is_storybook => "stories come back to what was settled long before",
            false => "batch × bptt is the largest that leaves some thousand updates",
        };
        if options.batch.is_none() {
            self.take("batch", (), batch.to_string(), reason);
        }
        if options.bptt.is_none() {
            self.take("bptt", (), bptt.to_string(), reason);
        }
        (batch, bptt)
    }

    fn hidden(
        &mut self,
        options: &RecipeOptions,
        text: &TokenEstimate,
        seen: TokensSeen,
    ) -> Vec<usize> {
        let asked = options.hidden.as_deref().unwrap_or(&[]);
        if asked.len() > 1 {
            return asked.to_vec();
        }
        let layers_of = |size: usize| options.layers.unwrap_or(if size >= 384 { 2 } else { 1 });
        if let [size] = *asked {
            return vec![size; layers_of(size)];
        }
        // A small text is learned by heart by a large model, so its size sets an upper end.
        let most = match text.tokens {
            ..30e3 => 96,
            30e3..200e3 => 192,
            200e3..1.5e6 => 384,
            1.5e6..20e6 => 768,
            _ => 1024,
        };
        let pays = |size: usize| {
            let embed = options.embed.unwrap_or(embed_for(size, text.is_large_vocabulary));
            let flops =
                flops_per_token(options, embed, &vec![size; layers_of(size)], text.vocabulary);
            seen.count(flops) >= TOKENS_PER_PARAMETER * flops / 6.0
        };
        let least = if text.is_storybook { STORYBOOK_HIDDEN } else { HIDDEN[0] };
        let size = HIDDEN.into_iter().rev().find(|&size| size <= most && pays(size));
        let size = size.unwrap_or(least).max(least);
        let hidden = vec![size; layers_of(size)];
        let reason = match size == most {
            _ if size == least && text.is_storybook => "enough to remember a story by".to_owned(),
            _ if !pays(size) => "the smallest there is, for so short a run".to_owned(),
            true => format!("the most for a text of about {} tokens", round(text.tokens)),
            false => format!(
                "the largest that sees {TOKENS_PER_PARAMETER} tokens a parameter in this run"
            ),
        };
        self.take("hidden", hidden.clone(), format!("{} × {size}", hidden.len()), reason)
    }

    fn embed(&mut self, hidden: &[usize], tied: bool) -> usize {
        let size = hidden.last().copied().unwrap_or(0);
        let (embed, reason) = match tied {
            true => (size, "tied weights need the width of the last layer"),
            false => (embed_for(size, false), "few symbols need few dimensions"),
        };
        self.take("embed", embed, embed.to_string(), reason)
    }

    fn dropout(&mut self, epochs: f64, hidden: &[usize]) -> f32 {
        let smallest = hidden.iter().copied().min().unwrap_or(0);
        let dropout = match epochs {
            ..4.0 => 0.0,
            4.0..12.0 => 0.1,
            12.0..40.0 => 0.25,
            _ => 0.5,
        };
        // A narrow layer has nothing to spare.
        let dropout = if smallest < 128 { dropout / 2.0 } else { dropout };
        self.take(
            "dropout",
            dropout,
            dropout.to_string(),
            format!("about {epochs:.1} passes over the text"),
        )
    }

    fn learning_rate(&mut self, optimizer: &OptimizerSettings, hidden: &[usize]) -> f64 {
        let widest = hidden.iter().copied().max().unwrap_or(1).max(1) as f64;
        let (rate, reason) = match optimizer.is_sgd() {
            true => (20.0, "plain gradient descent on the mean loss a token"),
            false => (6e-3 * (256.0 / widest).sqrt().min(1.0), "falls with the root of the width"),
        };
        let rate = (rate * 1e5).round() / 1e5;
        self.take("learning rate", rate, rate.to_string(), reason)
    }

    fn schedule(&mut self, optimizer: &OptimizerSettings, averaging: Averaging) -> Schedule {
        let (schedule, reason) = match (optimizer.is_sgd(), averaging) {
            (true, Averaging::NonMonotone { .. }) => {
                (Schedule::new(Decay::Constant), "averages take the place of a falling rate")
            }
            (true, _) => (
                Schedule::new(Decay::Plateau { factor: 4.0 }),
                "the usual one for plain gradient descent",
            ),
            (false, _) => (
                Schedule { decay: Decay::Cosine { floor: 0.02 }, warmup: 0.03 },
                "ends low as the run ends",
            ),
        };
        let shown = schedule.to_string();
        self.take("schedule", schedule, shown, reason)
    }
}

fn embed_for(hidden: usize, tied: bool) -> usize {
    if tied { hidden } else { hidden.min(128) }
}

/// A count for people, with two digits: 1.1 M.
fn round(count: f64) -> String {
    match count {
        1e6.. => format!("{:.1} M", count / 1e6),
        1e3.. => format!("{:.0} k", count / 1e3),
        _ => format!("{count:.0}"),
    }
}

#[cfg(test)]
mod tests;
