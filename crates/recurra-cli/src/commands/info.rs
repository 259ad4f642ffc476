//! `recurra info`: what is in a model folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use recurra::checkpoint::{ModelFolder, ModelNotes, SavedModel};
use recurra::metrics::LanguageScore;
use recurra::metrics::readable::{self, grouped};
use recurra::models::{CellOptions, Regularization};
use recurra::train::{Measurement, read_measurements};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// Tell what is in a model folder: sizes, FLOPs and bytes per token, tokenizer, training history
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // a folder may have such a name
pub struct Info {
    /// Folder of the model
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
}

/// Most validations to tell people of.
const SHOWN_VALIDATIONS: usize = 10;

/// What is in the folder.
#[derive(Debug, Serialize)]
struct Contents {
    path: String,
    cell: String,
    vocab_size: usize,
    embed_size: usize,
    hidden_sizes: Vec<usize>,
    tied: bool,
    dropout: f32,
    /// What the family was told beyond its widths, and kinds of dropout.
    #[serde(flatten)]
    options: CellOptions,
    #[serde(flatten)]
    regularization: Regularization,
    parameters: u64,
    /// Of training; writing takes a third.
    flops_per_token: u64,
    /// Weights that are read to write one token, in `f32`.
    bytes_per_token: u64,
    /// All that the model remembers of a text.
    state_bytes: u64,
    tokenizer: String,
    tokenizer_sha256: String,
    weights_sha256: String,
    version: Option<String>,
    data: Option<String>,
    steps: Option<u64>,
    tokens: Option<u64>,
    seconds: Option<f64>,
    seed: Option<u64>,
    scores: BTreeMap<String, LanguageScore>,
    validations: Vec<Validation>,
}

/// One validation on the way.
#[derive(Debug, Serialize)]
struct Validation {
    step: u64,
    epoch: f64,
    seconds: f64,
    loss_nats: f64,
    bits_per_byte: f64,
    is_best: bool,
}

impl Info {
    /// Looks; changes nothing.
    pub fn run(self) -> Result<(), Failure> {
        let folder = ModelFolder::open(&self.model)?;
        let saved = folder.load_model()?;
        // A folder that was copied without its training history is still a model.
        let measurements =
            read_measurements(&folder.training_path().join("metrics.jsonl")).unwrap_or_default();
        let contents = Contents::new(folder.path(), saved, &measurements);
        tell!("{}", contents.for_people());
        if self.json { output::write_json(&contents) } else { Ok(()) }
    }
}

impl Contents {
    fn new(path: &Path, saved: SavedModel, measurements: &[Measurement]) -> Contents {
        let config = &saved.config;
        let n_parameters = config.n_parameters() as u64;
        // Of an embedding that is not the output layer too, one row is read.
        let unread = if config.tied {
            0
        } else {
            (config.vocab_size.saturating_sub(1) * config.embed_size) as u64
        };
        let notes = saved.notes.filter(|notes| *notes != ModelNotes::default());
        let noted = notes.as_ref();
        Contents {
            path: path.display().to_string(),
            cell: config.cell.to_string(),
            vocab_size: config.vocab_size,
            embed_size: config.embed_size,
            hidden_sizes: config.hidden_sizes.clone(),
            tied: config.tied,
            dropout: config.dropout,
            options: config.options,
            regularization: config.regularization,
            parameters: n_parameters,
            flops_per_token: config.flops_per_token(),
            bytes_per_token: (n_parameters - unread) * size_of::<f32>() as u64,
            state_bytes: config.state_values() as u64 * size_of::<f32>() as u64,
            tokenizer: saved.tokenizer.kind().to_owned(),
            tokenizer_sha256: saved.tokenizer.hash(),
            weights_sha256: saved.weights_sha256,
            version: noted.map(|notes| notes.version.clone()),
            data: noted.map(|notes| notes.data.clone()),
            steps: noted.map(|notes| notes.step),
            tokens: noted.map(|notes| notes.tokens),
            seconds: noted.map(|notes| notes.seconds),
            seed: noted.map(|notes| notes.seed),
            scores: notes.map(|notes| notes.scores).unwrap_or_default(),
            validations: measurements.iter().filter_map(Validation::of).collect(),
        }
    }

    fn for_people(&self) -> String {
        let hidden: Vec<String> = self.hidden_sizes.iter().map(usize::to_string).collect();
        let tied = if self.tied { ", tied" } else { "" };
        let told = [self.options.given(), self.regularization.given()].concat();
        let told =
            told.into_iter().map(|(name, value)| format!(", {} {value}", name.replace('_', " ")));
        let mut rows = vec![
            ("model", format!("`{}`", self.path)),
            (
                "network",
                format!(
                    "{}, vocabulary {}, embedding {}, hidden {}{tied}, dropout {}{}",
                    self.cell,
                    grouped(self.vocab_size as u64),
                    self.embed_size,
                    hidden.join(" → "),
                    self.dropout,
                    told.collect::<String>()
                ),
            ),
            ("parameters", grouped(self.parameters)),
            (
                "a token",
                format!(
                    "{} floating-point operations to learn, {} to write; {} of weights read for each token written in f32",
                    readable::rounded(self.flops_per_token as f64),
                    readable::rounded(self.flops_per_token as f64 / 3.0),
                    readable::memory(self.bytes_per_token)
                ),
            ),
            ("state", format!("{} a text", readable::memory(self.state_bytes))),
            (
                "tokenizer",
                format!(
                    "{}, {} tokens, {}",
                    self.tokenizer,
                    grouped(self.vocab_size as u64),
                    self.tokenizer_sha256
                ),
            ),
            ("weights", self.weights_sha256.clone()),
        ];
        if let (Some(data), Some(steps), Some(tokens), Some(seconds)) =
            (&self.data, self.steps, self.tokens, self.seconds)
        {
            let (steps, tokens) = (grouped(steps), grouped(tokens));
            rows.push((
                "trained on",
                format!("{data}: {steps} steps, {tokens} tokens, {}", readable::duration(seconds)),
            ));
        }
        if let (Some(version), Some(seed)) = (&self.version, self.seed) {
            rows.push(("made by", format!("recurra {version}, seed {seed}")));
        }
        let mut text: String =
            rows.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
        for (name, score) in &self.scores {
            text += &format!("{name:<11} {score}\n{:<11} {}\n", "", score.signature);
        }
        let every = self.validations.len().div_ceil(SHOWN_VALIDATIONS).max(1);
        // The last one is always among them.
        let shown = self.validations.iter().rev().step_by(every).collect::<Vec<_>>();
        for validation in shown.into_iter().rev() {
            text += &format!(
                "step {:>6} validation loss {:.4}, {:.3} bits/byte, after {}{}\n",
                grouped(validation.step),
                validation.loss_nats,
                validation.bits_per_byte,
                readable::duration(validation.seconds),
                if validation.is_best { " (best so far)" } else { "" }
            );
        }
        text
    }
}

impl Validation {
    fn of(measurement: &Measurement) -> Option<Validation> {
        match *measurement {
            Measurement::Valid {
                step, epoch, seconds, loss_nats, bits_per_byte, is_best, ..
            } => Some(Validation { step, epoch, seconds, loss_nats, bits_per_byte, is_best }),
            _ => None,
        }
    }
}
