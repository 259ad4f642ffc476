//! Settings that nobody gave, decided from the corpus, the length of the run and, for a budget, the speed of the machine.
//!
//! Plain rules, each in one place with its reason.

use recurra_data::{Predictability, TokenizerSpec};
use recurra_metrics::readable::rounded;
use recurra_models::CellKind;

use crate::averaging::Averaging;
use crate::error::Error;
use crate::optimizer::OptimizerSettings;
use crate::recipe::{Length, Recipe, RecipeOptions};
use crate::schedule::{Decay, Schedule};
use crate::speed::Speed;

pub(crate) use sizes::UPDATES_SHARE;
use sizes::{GUESSED_FLOPS, Sizes, Sizing};

mod sizes;

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
    /// What it tells of the validation text, where that was measured.
    pub predictability: Option<Predictability>,
    /// What the tokenizer makes of it, where that is there already.
    pub tokenizer: Option<TokenizerFacts>,
}

/// What the rules know of a tokenizer that is there before the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenizerFacts {
    /// Ids.
    pub vocabulary: usize,
    /// Bytes of the training text that a token stands for.
    pub bytes_per_token: f64,
    /// Whether a token is a word.
    pub is_word: bool,
}

impl CorpusFacts {
    /// How long a run is of which that was not said.
    pub fn usual_length(&self) -> Length {
        Length::Budget(if self.is_storybook { 90.0 } else { 600.0 })
    }
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

/// Words of a text from which words are worth a look, and the part of the validation text's words that may be unknown if words
/// are to say all that there is.
const ENOUGH_WORDS: u64 = 50_000;
const FEW_UNKNOWN: f64 = 0.0005;

/// A learning rate from which on the steps of an optimizer that scales gradients would be as large as the weights.
const STEEP: f64 = 0.3;

/// The families that are chosen from where none is asked for, the usual one first.
pub const CHOSEN_FAMILIES: [CellKind; 2] = [CellKind::Lstm, CellKind::Mogrifier];

/// Bytes that a token of BPE stands for, about.
const BYTES_OF_A_PIECE: f64 = 4.0;

/// Passes over a text from which a model learns it by heart, so that dropout pays.
const UNHARMED_PASSES: f64 = 4.0;

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// All settings.
    pub recipe: Recipe,
    /// Those that nobody gave.
    pub choices: Vec<Choice>,
    /// Operations a second that the machine makes of them, where there is a budget.
    pub flops: f64,
    /// Passes over the text, about.
    pub passes: f64,
}

/// Fills the gaps of `options`, and says how.
///
/// # Errors
/// [`Error::OutOfRange`] for a setting that was given and makes no sense; what [`Speed::flops`] returns.
pub fn choose(
    options: &RecipeOptions,
    facts: &CorpusFacts,
    speed: &dyn Speed,
) -> Result<Plan, Error> {
    options.check()?;
    let mut choices = Choices::default();
    let length = options.length.unwrap_or_else(|| choices.length(facts));
    let tokenizer = options.tokenizer.clone().unwrap_or_else(|| choices.tokenizer(facts));
    let text = TextEstimate::new(&tokenizer, facts);
    let cell = options.cell.unwrap_or_else(|| choices.family(options, &text, length));
    let optimizer = options.optimizer.unwrap_or_else(|| choices.optimizer(options, &text, cell));
    let sizing = Sizing { options, text: &text, length, cell };
    let (sizes, flops) = match length {
        Length::Budget(_) => {
            let measured = |sizes: &Sizes| match sizes.window().len() as u64 > facts.bytes {
                true => Ok(GUESSED_FLOPS), // windows longer than the text are refused later, by name
                false => speed.flops(&sizing.network(sizes), sizes.window(), &optimizer),
            };
            let guess = sizing.sizes(GUESSED_FLOPS, &mut Choices::default());
            let flops = measured(&guess)?;
            let sizes = sizing.sizes(flops, &mut choices);
            let flops = if sizes == guess { flops } else { measured(&sizes)? };
            choices.speed(flops / sizing.network(&sizes).flops_per_token() as f64);
            (sizes, flops)
        }
        // As long as it takes.
        _ => (sizing.sizes(GUESSED_FLOPS, &mut choices), GUESSED_FLOPS),
    };
    let tokens_seen = sizing.tokens_seen(&sizes, flops);
    let passes = tokens_seen / text.tokens;
    let dropout = options.dropout.unwrap_or_else(|| choices.dropout(passes, &sizes.hidden));
    let Sizes { batch, bptt, hidden, tied, embed } = sizes;
    let learning_rate =
        options.learning_rate.unwrap_or_else(|| choices.learning_rate(&optimizer, cell, &hidden));
    let clip = options.clip.unwrap_or_else(|| choices.clip(&optimizer));
    let averaging = options.averaging.unwrap_or_default();
    let schedule =
        options.schedule.clone().unwrap_or_else(|| choices.schedule(&optimizer, averaging, length));
    optimizer.expect_to_follow(&schedule)?;

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
        accumulate: options.accumulate.unwrap_or(1),
        length,
        validate_every: options.validate_every,
        patience: options.patience.unwrap_or(0),
        seed: options.seed.unwrap_or(1),
    };
    Ok(Plan { recipe, choices: choices.0, flops, passes })
}

/// How many tokens a text will have, and how many kinds: known before it is tokenised, so a guess for BPE.
struct TextEstimate {
    tokens: f64,
    vocabulary: f64,
    is_large_vocabulary: bool,
    is_word: bool,
    is_storybook: bool,
}

impl TextEstimate {
    fn new(tokenizer: &TokenizerSpec, facts: &CorpusFacts) -> TextEstimate {
        let (bytes, chars, words) =
            (facts.bytes as f64, facts.chars as f64, (facts.words + facts.lines) as f64);
        let (tokens, vocabulary) = match tokenizer {
            TokenizerSpec::Byte => (bytes, 256.0),
            // The 256 bytes and the script: hundreds of characters where each takes one byte or two, thousands where it takes three.
            TokenizerSpec::Char => {
                let guessed = if bytes > 2.5 * chars { 4000.0 } else { 350.0 };
                let counted = facts.predictability.map(|found| 256.0 + found.n_characters as f64);
                (chars, counted.unwrap_or(guessed))
            }
            // Heaps' law with the constants of English text: 10,000 kinds in a million words.
            TokenizerSpec::Word => {
                let counted = facts.predictability.and_then(|found| found.n_words);
                let guessed = (10.0 * words.sqrt()).min(300_000.0);
                (words, counted.map_or(guessed, |counted| counted as f64))
            }
            TokenizerSpec::Bpe(size) => (bytes / BYTES_OF_A_PIECE, *size as f64),
            TokenizerSpec::File(_) => match facts.tokenizer {
                Some(found) => (bytes / found.bytes_per_token, found.vocabulary as f64),
                None => (bytes / BYTES_OF_A_PIECE, 30_000.0),
            },
        };
        let is_word = match tokenizer {
            TokenizerSpec::File(_) => facts.tokenizer.is_some_and(|found| found.is_word),
            _ => *tokenizer == TokenizerSpec::Word,
        };
        TextEstimate {
            tokens: tokens.max(1.0),
            vocabulary,
            is_large_vocabulary: vocabulary > 1000.0,
            is_word,
            is_storybook: facts.is_storybook,
        }
    }
}

/// The decisions so far; each method takes one.
#[derive(Default)]
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
        let length = facts.usual_length();
        let reason = match facts.is_storybook {
            true => "a first run should end soon",
            false => "no epochs, steps or budget given",
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
        let unknown_words = facts.predictability.map_or(1.0, |found| found.unknown_words);
        let (spec, reason) = match facts.bytes {
            _ if facts.is_storybook => (
                TokenizerSpec::Bpe(2000),
                "names as single tokens bring what was said long ago nearer".to_owned(),
            ),
            _ if unknown_words <= FEW_UNKNOWN && facts.words >= ENOUGH_WORDS => (
                TokenizerSpec::Word,
                match unknown_words {
                    0.0 => {
                        "the validation text has no word that the training text lacks".to_owned()
                    }
                    _ => format!(
                        "of the validation text's words, {:.3} % are none of the training text",
                        100.0 * unknown_words
                    ),
                },
            ),
            0..30_000_000 => {
                (TokenizerSpec::Char, format!("a text of {size}: characters need the least data"))
            }
            _ => (TokenizerSpec::Bpe(8000), format!("a text of {size} can carry pieces of words")),
        };
        let shown = spec.to_string();
        self.take("tokenizer", spec, shown, reason)
    }

    /// An LSTM, unless the time is what is given and another one, which knows all that is asked for, was measured to come further;
    /// or unless only that one knows it.
    fn family(&mut self, options: &RecipeOptions, text: &TextEstimate, length: Length) -> CellKind {
        let unknown = CHOSEN_FAMILIES
            .map(|cell| cell.unknown(&options.cell_options).first().map(|(name, _)| *name));
        let has_a_budget = matches!(length, Length::Budget(_));
        // Measured, LSTM and Mogrifier: WikiText-2 by word in 10 minutes, perplexity 132.2 and 126.9, both from a bias of 0; by
        // character in 3 minutes, tiny-shakespeare 1.444 and 1.433 nats, Tang poems 112.1 and 112.6.
        let (cell, reason) = match unknown {
            [Some(name), None] => (CellKind::Mogrifier, format!("an LSTM does not know `{name}`")),
            _ if !has_a_budget => return CellKind::Lstm,
            _ if !text.is_word => {
                (CellKind::Lstm, "none was found to learn clearly more in a given time".to_owned())
            }
            [None, None] => (
                CellKind::Mogrifier,
                "of words it learns more in a given time than an LSTM".to_owned(),
            ),
            [_, Some(name)] => (CellKind::Lstm, format!("a Mogrifier does not know `{name}`")),
        };
        self.take("model", cell, cell.to_string(), reason)
    }

    fn speed(&mut self, tokens_per_second: f64) {
        let shown = format!("{} tokens/s", rounded(tokens_per_second));
        self.take("speed", (), shown, "of a few updates of this network on this machine");
    }

    fn dropout(&mut self, passes: f64, hidden: &[usize]) -> f32 {
        let smallest = hidden.iter().copied().min().unwrap_or(0);
        // A tenth more with each doubling. Measured on 0.4 MB of Russian, 58 passes, one layer of 320: 0.25 came to 1.104 bits a
        // byte, 0.4 to 1.101, 0.5 to 1.141.
        let wanted = (0.1 * (passes / UNHARMED_PASSES).log2()).clamp(0.0, 0.5);
        // A narrow layer has nothing to spare.
        let wanted = if smallest < 128 { wanted / 2.0 } else { wanted };
        let dropout = (wanted * 100.0).round() as f32 / 100.0;
        self.take(
            "dropout",
            dropout,
            dropout.to_string(),
            format!("about {passes:.1} passes over the text"),
        )
    }

    /// Plain gradient descent for the families of which its rate was measured, on words, and for a rate that only it bears.
    fn optimizer(
        &mut self,
        options: &RecipeOptions,
        text: &TextEstimate,
        cell: CellKind,
    ) -> OptimizerSettings {
        let (sgd, adamw) = (OptimizerSettings::sgd(), OptimizerSettings::adamw());
        let is_followed = options.learning_rate.is_some() || options.schedule.is_some();
        let is_steep = options.learning_rate.is_some_and(|rate| rate >= STEEP);
        let is_published = matches!(cell, CellKind::Lstm | CellKind::Mogrifier);
        let (optimizer, reason) = match text.is_word && is_published {
            _ if is_steep => (sgd, "no other one bears such a rate"),
            true if is_followed => (adamw, "what rates and schedules are mostly meant for"),
            true => (sgd, "as in the published word recipes"),
            false => (adamw, "learns fast at one rate for all weights"),
        };
        self.take("optimizer", optimizer, optimizer.to_string(), reason)
    }

    fn clip(&mut self, optimizer: &OptimizerSettings) -> f64 {
        let (clip, reason) = match optimizer.is_sgd() {
            true => (0.25, "as in the published word recipes"),
            false => (1.0, "the usual one; it is the rate that limits an update"),
        };
        self.take("clip", clip, clip.to_string(), reason)
    }

    /// By character, a Mogrifier of 320 units fell apart at the rate of an LSTM, 0.0054, and came further than one at 0.0025; one of
    /// 128 units learned worse at 0.0025 than at 0.005.
    fn learning_rate(
        &mut self,
        optimizer: &OptimizerSettings,
        cell: CellKind,
        hidden: &[usize],
    ) -> f64 {
        let widest = hidden.iter().copied().max().unwrap_or(1).max(1) as f64;
        let (rate, reason) = match cell {
            _ if optimizer.is_sgd() => (20.0, "plain gradient descent on the mean loss a token"),
            CellKind::RnnRelu | CellKind::RnnTanh => (
                1e-3 * (512.0 / widest).min(1.0),
                "falls with the width: nothing but its weights holds its state back",
            ),
            CellKind::Mogrifier => {
                (5e-3 * (160.0 / widest).min(1.0), "falls with the width: its rounds multiply")
            }
            _ => (6e-3 * (256.0 / widest).sqrt().min(1.0), "falls with the root of the width"),
        };
        let rate = (rate * 1e5).round() / 1e5;
        self.take("learning rate", rate, rate.to_string(), reason)
    }

    fn schedule(
        &mut self,
        optimizer: &OptimizerSettings,
        averaging: Averaging,
        length: Length,
    ) -> Schedule {
        let (schedule, reason) = match (optimizer.is_sgd(), averaging) {
            (true, Averaging::NonMonotone { .. }) => {
                (Schedule::new(Decay::Constant), "averages take the place of a falling rate")
            }
            (true, _) if !matches!(length, Length::Budget(_)) => (
                Schedule::new(Decay::Plateau { factor: 4.0 }),
                "the usual one for plain gradient descent",
            ),
            (true, _) => (Schedule::new(Decay::Cosine { floor: 0.02 }), "ends low as the run ends"),
            (false, _) => (
                Schedule { decay: Decay::Cosine { floor: 0.02 }, warmup: 0.03 },
                "ends low as the run ends",
            ),
        };
        let shown = schedule.to_string();
        self.take("schedule", schedule, shown, reason)
    }
}

#[cfg(test)]
mod tests;
