//! A run as it left itself in its folder: sizes, scores, and the course of its validation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use recurra_checkpoint::{ModelDescription, ModelFolder};
use recurra_inference::signature_of;
use recurra_metrics::{LanguageScore, Signature};
use recurra_models::LanguageModelConfig;
use serde::Serialize;

use super::curve::{CurvePoint, curve};
use crate::error::Error;
use crate::position::Position;
use crate::record::{METRICS, Measurement, Record, read_record};

/// A run, ended or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedRun {
    /// The name of its folder, or as much of the path as tells it from the others.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Family and sizes.
    pub model: LanguageModelConfig,
    /// Numbers that it learns.
    pub parameters: u64,
    /// Floating-point operations of training on a token.
    pub flops_per_token: u64,
    /// Updates.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Wall clock from the first update, pauses between resumed parts left out.
    pub seconds: f64,
    /// Floating-point operations of training on these tokens.
    pub flops: f64,
    /// Tokens a second of the updates alone; `None` where the record does not tell.
    pub tokens_per_second: Option<f64>,
    /// Whether the run has come to its end, where it is scored.
    pub has_ended: bool,
    /// The lowest validation on the way.
    pub best: CurvePoint,
    /// The scores of the best weights, by text: `validation`, `test`.
    pub scores: BTreeMap<String, LanguageScore>,
    /// How the validations on the way were measured.
    pub signature: Signature,
    /// The least part of the validation text that a validation on the way read; `None` where the record does not tell.
    pub text_part: Option<f64>,
    /// Streams and tokens of the windows that validations read; `None` where the checkpoint is not there to tell.
    pub windows: Option<[usize; 2]>,
    /// How much of its way it has gone, up to 1; as far as it is known.
    pub part_done: f64,
    /// The line of the record that is damaged, which ends what is known of the run.
    pub damaged_line: Option<usize>,
    /// Every validation on the way.
    pub curve: Vec<CurvePoint>,
}

impl ComparedRun {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// When the folder holds no run, or a damaged one, or one that has not been validated yet.
    pub(super) fn open(path: &Path) -> Result<ComparedRun, Error> {
        let folder = ModelFolder::open(path)?;
        let record = read_training_record(&folder)?;
        let description = folder.describe_model()?;
        let position = position(&folder);
        let signature = signature(&folder, &description, position.as_ref())?;
        let scores = description.notes.map(|notes| notes.scores).unwrap_or_default();
        let run = ComparedRun::new(path, description.config, record, signature, scores)?;
        Ok(match position {
            Ok(position) => run.at(&position),
            Err(_) => run,
        })
    }

    /// The same with what its checkpoint knows: when the first update began, before which a text may have been tokenised or the
    /// run rehearsed, how validations read their text, and how much of the way is done.
    pub(super) fn at(mut self, position: &Position) -> ComparedRun {
        let Position { begun_seconds, fraction, recipe, .. } = position;
        self.curve.iter_mut().chain([&mut self.best]).for_each(|point| {
            point.seconds -= begun_seconds;
        });
        self.seconds -= begun_seconds;
        self.windows = Some([recipe.batch, recipe.bptt]);
        self.part_done = if self.has_ended { 1.0 } else { fraction.clamp(0.0, 1.0) };
        self
    }

    /// A run from its parts.
    pub(super) fn new(
        path: &Path,
        model: LanguageModelConfig,
        record: Record,
        signature: Signature,
        scores: BTreeMap<String, LanguageScore>,
    ) -> Result<ComparedRun, Error> {
        let Record { measurements, damaged_line } = record;
        let flops_per_token = model.flops_per_token();
        let curve = curve(&measurements, flops_per_token);
        let steps = measurements.last().map_or(0, Measurement::step);
        let lowest = curve.iter().min_by(|a, b| a.bits_per_byte.total_cmp(&b.bits_per_byte));
        let Some(&best) = lowest else {
            let path = path.to_owned();
            return Err(Error::NotValidated { path, steps, damaged_line });
        };
        let (mut tokens, mut seconds) = curve.last().map_or((0, 0.0), |p| (p.tokens, p.seconds));
        let mut text_part: Option<f64> = None;
        for measurement in &measurements {
            match *measurement {
                Measurement::Train { tokens: seen, seconds: spent, .. } => {
                    (tokens, seconds) = (tokens.max(seen), seconds.max(spent));
                }
                Measurement::Valid { text_part: part, .. } => {
                    text_part = part.map(|part| part.min(text_part.unwrap_or(1.0))).or(text_part);
                }
            }
        }
        Ok(ComparedRun {
            name: name(path),
            path: path.to_owned(),
            parameters: model.n_parameters() as u64,
            flops_per_token,
            model,
            steps,
            tokens,
            seconds,
            flops: tokens as f64 * flops_per_token as f64,
            tokens_per_second: tokens_per_second(&measurements),
            has_ended: scores.contains_key("validation"),
            best,
            scores,
            signature,
            text_part,
            windows: None,
            part_done: 1.0,
            damaged_line,
            curve,
        })
    }

    /// Family and sizes: `lstm 400 → 1150 → 1150 → 400, tied`, `gru 512 × 3`.
    pub fn sizes(&self) -> String {
        let LanguageModelConfig { cell, embed_size, hidden_sizes, tied, .. } = &self.model;
        let sizes = match hidden_sizes.as_slice() {
            [first, rest @ ..] if first == embed_size && rest.iter().all(|each| each == first) => {
                format!("{first} × {}", hidden_sizes.len())
            }
            _ => {
                let all = std::iter::once(embed_size).chain(hidden_sizes).map(usize::to_string);
                all.collect::<Vec<_>>().join(" → ")
            }
        };
        format!("{cell} {sizes}{}", if *tied { ", tied" } else { "" })
    }
}

/// The name of a folder, whatever way its path goes.
fn name(path: &Path) -> String {
    let whole = path.canonicalize();
    let path = whole.as_deref().unwrap_or(path);
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn read_training_record(folder: &ModelFolder) -> Result<Record, Error> {
    let path = folder.training_path().join(METRICS);
    if !path.is_file() {
        return Err(Error::NoRecord { path: folder.path().to_owned() });
    }
    read_record(&path).map_err(|source| Error::Record { action: "read", path, source })
}

/// Where the checkpoint of a run stands, or why that is not known.
fn position(folder: &ModelFolder) -> Result<Position, String> {
    let progress = folder.load_progress().map_err(|error| error.to_string())?;
    Position::from_json(progress)
}

/// How the validations on the way were measured: by the checkpoint of the run, or where that was not copied with the
/// model, by the score of its end.
fn signature(
    folder: &ModelFolder,
    model: &ModelDescription,
    position: Result<&Position, &String>,
) -> Result<Signature, Error> {
    let ModelDescription { tokenizer, notes, .. } = model;
    let noted = notes.as_ref().and_then(|notes| notes.scores.get("validation"));
    let reason = match position {
        Ok(Position { valid_sha256, arithmetic, .. }) => {
            let precision = arithmetic.as_ref().map(|arithmetic| arithmetic.precision.clone());
            let precision = precision.or(noted.map(|score| score.signature.precision.clone()));
            let precision = precision.unwrap_or_else(|| "unknown".to_owned());
            let mut signature = signature_of(tokenizer, valid_sha256, precision);
            if let Some(notes) = notes.as_ref().filter(|notes| !notes.version.is_empty()) {
                signature.version.clone_from(&notes.version);
            }
            return Ok(signature);
        }
        Err(reason) => reason.clone(),
    };
    let unknown = || Error::UnknownText { path: folder.path().to_owned(), reason };
    noted.map(|score| score.signature.clone()).ok_or_else(unknown)
}

/// Tokens over the time that their updates took, by the speed of each line.
fn tokens_per_second(measurements: &[Measurement]) -> Option<f64> {
    let (mut before, mut seconds) = (0, 0.0);
    for measurement in measurements {
        if let Measurement::Train { tokens, tokens_per_second, .. } = *measurement {
            seconds += tokens.saturating_sub(before) as f64 / tokens_per_second;
            before = tokens;
        }
    }
    Some(before as f64 / seconds).filter(|speed| speed.is_finite())
}
