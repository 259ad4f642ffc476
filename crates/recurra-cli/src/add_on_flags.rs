//! The flags of what helps a score without training, and what they cost.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use recurra::data::{Text, TokenFile};
use recurra::inference::{self, AddOns, DynamicEvaluation, Evaluation, NeuralCache, Tuned};
use recurra::metrics::LanguageScore;
use recurra::metrics::readable::{duration, rounded};
use serde::Serialize;

use crate::failure::Failure;
use crate::values;

/// What helps a score without training; each part stands in the signature.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Adaptation while scoring (each part stands in the signature)")]
pub struct AddOnFlags {
    /// Divide the logits by this before the softmax; `tuned` chooses it by the text of --tune
    #[arg(long, value_parser = temperature, value_name = "F|tuned")]
    temperature: Option<Temperature>,
    /// Neural cache of the last W positions: θ is how much likeness counts, λ the share of the cache [default: 1,0.1, or what
    /// --tune finds]
    #[arg(long, value_parser = values::with_numbers, value_name = "W[:θ,λ]")]
    cache: Option<(usize, Vec<f64>)>,
    /// Dynamic evaluation: after each N tokens the weights learn from them, with the rate η and the decay λ; needs --train
    /// [default: η 5e-5·N/5, λ 2e-3·N/5, or what --tune finds; ε 2e-5]
    #[arg(long, value_parser = values::with_numbers, value_name = "N[:η,λ[,ε]]")]
    dynamic: Option<(usize, Vec<f64>)>,
    /// The text that the model was trained on, for the statistics of dynamic evaluation; may be given several times
    #[arg(long, value_name = "PATH")]
    train: Vec<PathBuf>,
    /// A validation text; what --temperature tuned, --cache and --dynamic leave open is chosen by its first tokens; may be
    /// given several times
    #[arg(long, value_name = "PATH")]
    tune: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Temperature {
    Tuned,
    Given(f64),
}

fn temperature(text: &str) -> values::Parsed<Temperature> {
    match text {
        "tuned" => Ok(Temperature::Tuned),
        number => values::softmax_temperature(number).map(Temperature::Given),
    }
}

/// The texts that help comes from.
#[derive(Clone, Debug)]
pub struct HelpTexts {
    /// That of `--train`.
    train: Option<Text>,
    /// That of `--tune`.
    tune: Option<Text>,
}

/// Seconds that each stage took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    add_ons: AddOns,
    statistics: f64,
    tuning: f64,
    scoring: f64,
}

/// What helped a score, what it cost, and what the score is without it.
#[derive(Debug, Serialize)]
pub struct Helped {
    #[serde(flatten)]
    add_ons: AddOns,
    seconds: f64,
    tokens_per_second: f64,
    plain_tokens_per_second: f64,
    times_as_long: f64,
    statistics_seconds: f64,
    tuning_seconds: f64,
    plain_loss_nats: f64,
    plain_perplexity: f64,
    plain_bits_per_byte: f64,
}

impl AddOnFlags {
    /// Refuses numbers that make no sense and flags without those that they need.
    pub fn check(&self) -> Result<(), Failure> {
        let (add_ons, tuned) = self.read()?;
        let refuse = |message: &str, hint: &str| Err(Failure::of_arguments(message, hint));
        if add_ons.dynamic.is_some() && self.train.is_empty() {
            return refuse(
                "`--dynamic` needs the text that the model was trained on",
                "give it with `--train PATH`",
            );
        }
        if add_ons.dynamic.is_none() && !self.train.is_empty() {
            return refuse(
                "`--train` is for `--dynamic` only",
                "leave it out, or add `--dynamic 20`",
            );
        }
        match (tuned == Tuned::default(), self.tune.is_empty()) {
            (true, false) => refuse(
                "`--tune` has nothing to choose",
                "add `--temperature tuned`, or `--cache W` or `--dynamic N` without further numbers",
            ),
            (false, true) if self.temperature == Some(Temperature::Tuned) => refuse(
                "`--temperature tuned` needs a validation text",
                "give it with `--tune PATH`, or give the temperature",
            ),
            _ => Ok(()),
        }
    }

    /// Where the texts of `--train` and `--tune` are.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.train.iter().chain(&self.tune)
    }

    /// Refuses a model that nothing can help, where help is asked for.
    pub fn check_for(&self, evaluation: &Evaluation<'_>) -> Result<(), Failure> {
        if self.read()?.0.is_empty() {
            return Ok(());
        }
        let refused = |error: inference::Error| {
            Failure::of_arguments(error.to_string(), error.hint().unwrap_or_default())
        };
        evaluation.expect_training_weights().map_err(refused)
    }

    /// The texts that help comes from; better missed before anything is scored than after.
    pub fn open(
        &self,
        open: impl Fn(&[PathBuf]) -> Result<Text, Failure>,
    ) -> Result<HelpTexts, Failure> {
        let of = |paths: &[PathBuf]| (!paths.is_empty()).then(|| open(paths)).transpose();
        Ok(HelpTexts { train: of(&self.train)?, tune: of(&self.tune)? })
    }

    /// Scores with all that is asked for; nothing where nothing is.
    pub fn score(
        &self,
        evaluation: &mut Evaluation<'_>,
        tokens: &TokenFile,
        texts: &HelpTexts,
        read: impl Fn(&Text) -> Result<TokenFile, Failure>,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<(LanguageScore, Cost)>, Failure> {
        let (mut add_ons, tuned) = self.read()?;
        if add_ons.is_empty() {
            return Ok(None);
        }
        let mut lap = Instant::now();
        let mut seconds = || {
            let before = std::mem::replace(&mut lap, Instant::now());
            (lap - before).as_secs_f64()
        };
        if let (Some(dynamic), Some(train)) = (add_ons.dynamic, &texts.train) {
            evaluation.collect(&read(train)?, dynamic.segment, progress)?;
        }
        let statistics = seconds();
        if let Some(tune) = &texts.tune {
            add_ons = evaluation.tune(&read(tune)?, &add_ons, tuned, progress)?;
        }
        let tuning = seconds();
        let score = evaluation.score(tokens, &add_ons, progress)?;
        Ok(Some((score, Cost { add_ons, statistics, tuning, scoring: seconds() })))
    }

    /// What is asked for, and what of it is left open.
    fn read(&self) -> Result<(AddOns, Tuned), Failure> {
        let wrong = |flag: &str, form: &str| {
            Failure::of_arguments(
                format!(
                    "`{flag}` takes `{form}`, with all numbers after the colon or none of them"
                ),
                format!("write `{flag} {form}`"),
            )
        };
        let temperature = self.temperature.map(|temperature| match temperature {
            Temperature::Tuned => 1.0,
            Temperature::Given(temperature) => temperature,
        });
        let cache = match &self.cache {
            None => None,
            Some((window, numbers)) => Some(match numbers[..] {
                [] => NeuralCache::new(*window),
                [theta, lambda] => NeuralCache { window: *window, theta, lambda },
                _ => return Err(wrong("--cache", "W[:θ,λ]")),
            }),
        };
        let dynamic = match &self.dynamic {
            None => None,
            Some((segment, numbers)) => {
                let first = DynamicEvaluation::new(*segment);
                Some(match numbers[..] {
                    [] => first,
                    [learning_rate, decay] => DynamicEvaluation { learning_rate, decay, ..first },
                    [learning_rate, decay, epsilon] => {
                        DynamicEvaluation { learning_rate, decay, epsilon, ..first }
                    }
                    _ => return Err(wrong("--dynamic", "N[:η,λ[,ε]]")),
                })
            }
        };
        let is_open = |flag: &Option<(usize, Vec<f64>)>| {
            flag.as_ref().is_some_and(|(_, numbers)| numbers.is_empty())
        };
        let tuned = Tuned {
            temperature: self.temperature == Some(Temperature::Tuned),
            cache: is_open(&self.cache),
            dynamic: is_open(&self.dynamic),
        };
        let add_ons = AddOns { temperature, cache, dynamic };
        add_ons.check().map_err(|error| {
            Failure::of_arguments(error.to_string(), error.hint().unwrap_or_default())
        })?;
        Ok((add_ons, tuned))
    }
}

impl Helped {
    /// The cost of a score beside that of the plain one.
    pub fn new(
        score: &LanguageScore,
        plain: &LanguageScore,
        plain_seconds: f64,
        cost: Cost,
    ) -> Self {
        let rate = |seconds: f64| score.tokens as f64 / seconds.max(1e-9);
        Self {
            add_ons: cost.add_ons,
            seconds: cost.scoring,
            tokens_per_second: rate(cost.scoring),
            plain_tokens_per_second: rate(plain_seconds),
            times_as_long: cost.scoring / plain_seconds.max(1e-9),
            statistics_seconds: cost.statistics,
            tuning_seconds: cost.tuning,
            plain_loss_nats: plain.loss_nats(),
            plain_perplexity: plain.perplexity(),
            plain_bits_per_byte: plain.bits_per_byte(),
        }
    }

    /// Two rows: what it is without help, and what the help cost.
    pub fn for_people(&self) -> String {
        let mut cost = format!(
            "{} tokens/s, {} without help ({:.1} times as long)",
            rounded(self.tokens_per_second),
            rounded(self.plain_tokens_per_second),
            self.times_as_long
        );
        if self.add_ons.dynamic.is_some() {
            cost += &format!("; {} for statistics", duration(self.statistics_seconds));
        }
        if self.tuning_seconds > 0.1 {
            cost += &format!("; {} for tuning", duration(self.tuning_seconds));
        }
        format!(
            "{:<13} perplexity {:.2}, {:.4} bits per byte\n{:<13} {cost}\n",
            "without help", self.plain_perplexity, self.plain_bits_per_byte, "cost"
        )
    }
}
