//! `recurra eval`: how well a model predicts a text.

use std::fs;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use recurra::data::{Text, TokenFile, cache_dir, expect_one_stdin};
use recurra::inference::AddOns;
use recurra::metrics::readable::{fixed, grouped};
use recurra::metrics::{Incomparable, LanguageScore, Quantity};
use serde::Serialize;

use crate::add_on_flags::{AddOnFlags, Helped};
use crate::failure::Failure;
use crate::machine_flags::UseFlags;
use crate::text_flags::TextFlags;
use crate::{interrupt, output};

/// Score a model on texts: loss, perplexity, bits per byte, and a signature of how it was measured
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // so that `--threads -1` is told what it may be
pub struct Eval {
    /// Folder of the model
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// Files and folders to score on, read as one text; - is standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// A score to put beside this one: a file with the JSON line of another eval
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    add_ons: AddOnFlags,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    machine: UseFlags,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Scored<'a> {
    #[serde(flatten)]
    score: &'a LanguageScore,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_ons: Option<Helped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a Beside>,
}

/// Largest file with a score.
const MAX_SCORE_BYTES: u64 = 16 << 20;

impl Eval {
    /// Scores, and compares if asked to.
    pub fn run(self) -> Result<(), Failure> {
        self.add_ons.check()?;
        expect_one_stdin(self.paths.iter().chain(self.add_ons.paths()))?;
        let model = self.machine.open_to_read(&self.model)?;
        let mut evaluation = model.evaluation();
        self.add_ons.check_for(&evaluation)?;
        let other = self.against.as_deref().map(read_score).transpose()?;
        let stop = Arc::default();
        let open = |paths: &[PathBuf]| -> Result<Text, Failure> {
            Ok(Text::open(paths, &self.text.options())?.stopped_by(&stop))
        };
        let text = open(&self.paths)?;
        let help = self.add_ons.open(open)?;
        interrupt::set(&stop)?;
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5)),
            false => ProgressBar::hidden(),
        };
        let mut progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let read = |text: &Text| -> Result<TokenFile, Failure> {
            Ok(TokenFile::open_or_build(&cache_dir(), text, &model.saved().tokenizer)?)
        };
        let tokens = read(&text)?;
        let started = Instant::now();
        let plain = evaluation.score(&tokens, &AddOns::default(), &mut progress);
        let plain_seconds = started.elapsed().as_secs_f64();
        let scored = plain.map_err(Failure::from).and_then(|plain| {
            match self.add_ons.score(&mut evaluation, &tokens, &help, read, &mut progress)? {
                None => Ok((plain, None)),
                Some((score, cost)) => {
                    let helped = Helped::new(&score, &plain, plain_seconds, cost);
                    Ok((score, Some(helped)))
                }
            }
        });
        bar.finish_and_clear();
        let (score, helped) = scored?;

        tell!("{}", for_people(&score, &text.describe()));
        if let Some(helped) = &helped {
            tell!("{}", helped.for_people());
        }
        let beside = other.map(|other| Beside::new(&score, &other)).transpose();
        if let Ok(Some(beside)) = &beside {
            tell!("{}", beside.for_people());
        }
        if self.json {
            let against = beside.as_ref().ok().and_then(Option::as_ref);
            output::write_json(&Scored { score: &score, add_ons: helped, against })?;
        }
        beside.map(|_| ())
    }
}

fn for_people(score: &LanguageScore, text: &str) -> String {
    let by_word = match score.has_words() {
        true => format!(", {} by word", fixed(score.word_perplexity(), 2)),
        false => String::new(),
    };
    let rows = [
        (
            "text",
            format!("{text}, {} tokens, {} bytes", grouped(score.tokens), grouped(score.bytes)),
        ),
        ("loss", format!("{:.4} nats a token", score.loss_nats())),
        ("perplexity", format!("{} by token{by_word}", fixed(score.perplexity(), 2))),
        ("bits per byte", format!("{:.4}", score.bits_per_byte())),
        ("signature", score.signature.to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<13} {value}\n")).collect()
}

/// The score in the last line of a file.
fn read_score(path: &Path) -> Result<LanguageScore, Failure> {
    let refused = |why: String| {
        let message = format!("cannot read a score from `{}`: {why}", path.display());
        Failure::of_data(message, "give a file that `recurra eval --json > FILE` wrote")
    };
    let length = fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if length > MAX_SCORE_BYTES {
        return Err(refused(format!("it has {length} bytes, at most {MAX_SCORE_BYTES} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .ok_or_else(|| refused("it is empty".to_owned()))?;
    serde_json::from_str(line).map_err(|error| refused(error.to_string()))
}

/// A number of each score, that of ours first.
#[derive(Serialize)]
struct Pair {
    here: f64,
    there: f64,
}

/// Another score beside this one, in every quantity in which that means something.
#[derive(Serialize)]
struct Beside {
    #[serde(skip_serializing_if = "Option::is_none")]
    bits_per_byte: Option<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    word_perplexity: Option<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<Pair>,
    /// Why other quantities do not compare.
    not_compared: Vec<String>,
    warnings: Vec<String>,
    signature: String,
}

impl Beside {
    fn new(ours: &LanguageScore, theirs: &LanguageScore) -> Result<Beside, Failure> {
        let mut refused: Vec<Incomparable> = Vec::new();
        let mut pair = |quantity, value: fn(&LanguageScore) -> f64| match ours
            .signature
            .comparable_in(quantity, &theirs.signature)
        {
            Ok(()) => Some(Pair { here: value(ours), there: value(theirs) }),
            Err(incomparable) => {
                refused.push(incomparable);
                None
            }
        };
        let bits_per_byte = pair(Quantity::BitsPerByte, LanguageScore::bits_per_byte);
        let word_perplexity = pair(Quantity::WordPerplexity, LanguageScore::word_perplexity);
        let perplexity = pair(Quantity::TokenPerplexity, LanguageScore::perplexity);
        if bits_per_byte.is_none() && word_perplexity.is_none() && perplexity.is_none() {
            // The first depends on the least: what stands in its way stands in the way of all.
            let first = refused.swap_remove(0);
            let hint = first.hint();
            return Err(Failure::from(first).with_hint(hint));
        }
        // Where there are no words to speak of, there is no perplexity by word.
        let has_words = ours.has_words() && theirs.has_words();
        let caveats = ours.signature.caveats(&theirs.signature);
        Ok(Beside {
            bits_per_byte,
            word_perplexity: word_perplexity.filter(|_| has_words),
            perplexity,
            not_compared: refused.iter().map(Incomparable::to_string).collect(),
            warnings: caveats.iter().map(ToString::to_string).collect(),
            signature: theirs.signature.to_string(),
        })
    }

    fn for_people(&self) -> String {
        let pairs = [
            (Quantity::BitsPerByte, &self.bits_per_byte),
            (Quantity::WordPerplexity, &self.word_perplexity),
            (Quantity::TokenPerplexity, &self.perplexity),
        ];
        let compared = pairs.into_iter().filter_map(|(quantity, pair)| {
            let Pair { here, there } = pair.as_ref()?;
            Some(format!("{quantity}: {} here, {} there\n", fixed(*here, 4), fixed(*there, 4)))
        });
        let refused = self.not_compared.iter().map(|why| format!("not compared: {why}\n"));
        let warnings = self.warnings.iter().map(|caveat| format!("warning: {caveat}\n"));
        compared.chain(refused).chain(warnings).collect()
    }
}
