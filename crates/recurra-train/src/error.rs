//! What can go wrong in training, and what to do about it.

use std::io;
use std::path::PathBuf;

use recurra_data::nearest;
use recurra_metrics::{Field, Incomparable};

/// Why a run did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside what makes sense.
    #[error("`{name}` is {value}, expected {expected}")]
    OutOfRange {
        /// The setting.
        name: String,
        /// What came.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A name that stands for nothing.
    #[error("unknown {what} `{name}`")]
    UnknownName {
        /// What the name should be of.
        what: &'static str,
        /// What came.
        name: String,
        /// What to do.
        hint: String,
    },
    /// More parameters than the machine has memory for.
    #[error("a network of {parameters} parameters with its states needs at least {} MiB of memory, this machine has {} MiB", needed_bytes >> 20, present_bytes >> 20)]
    NoRoom {
        /// Parameters.
        parameters: u64,
        /// Memory that it takes at least.
        needed_bytes: u64,
        /// Memory that the machine has.
        present_bytes: u64,
    },
    /// A text without a token that could be predicted from another.
    #[error("{text} has {tokens} tokens, expected at least 2: one to predict the other from")]
    TooShort {
        /// Which text.
        text: String,
        /// Tokens it has.
        tokens: usize,
    },
    /// Every token of the text is the same one.
    #[error(
        "{text} holds one symbol only, `{symbol}`, {tokens} times: there is nothing to predict"
    )]
    OneSymbol {
        /// Which text.
        text: String,
        /// The symbol, printable.
        symbol: String,
        /// How often it came.
        tokens: usize,
    },
    /// A setting of the stored run that cannot change any more.
    #[error("the run in `{out}` has {name} {stored}, but {name} {given} was asked for")]
    Changed {
        /// The run's folder.
        out: PathBuf,
        /// The setting.
        name: String,
        /// Its value in the run.
        stored: String,
        /// The value given now.
        given: String,
    },
    /// The stored progress of a run that this version cannot read.
    #[error("the training state in `{out}` cannot be read: {reason}")]
    Position {
        /// The run's folder.
        out: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The loss, or the gradient, is no number any more.
    #[error(
        "training diverged at step {step}: loss {loss_nats}, gradient norm {gradient_norm}, learning rate {learning_rate}; the checkpoint of step {kept_step} is kept"
    )]
    Diverged {
        /// The step whose loss or gradient it was, counted from 1.
        step: u64,
        /// Loss a token.
        loss_nats: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// The rate of the step.
        learning_rate: f64,
        /// The rate that the schedule makes it of.
        highest_rate: f64,
        /// The step of the last good checkpoint.
        kept_step: u64,
    },
    /// A file of the run's record could not be written or read.
    #[error("cannot {action} `{path}`")]
    Record {
        /// "write", "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A model without the record of a run.
    #[error("`{}` holds no record of training: it has no file `training/metrics.jsonl`", path.display())]
    NoRecord {
        /// The model folder.
        path: PathBuf,
    },
    /// A run without a validation.
    #[error("`{}` was not validated in {steps} steps{}", path.display(), damaged_line.map_or(String::new(), |line| format!(", as far as its record is whole: line {line} is damaged")))]
    NotValidated {
        /// The run's folder.
        path: PathBuf,
        /// The last step that is recorded.
        steps: u64,
        /// The line that ends what can be read of its record.
        damaged_line: Option<usize>,
    },
    /// A run of which it is not known what it was validated on.
    #[error("`{}` does not tell which text it was validated on: {reason}", path.display())]
    UnknownText {
        /// The run's folder.
        path: PathBuf,
        /// Why its checkpoint does not tell.
        reason: String,
    },
    /// A run that is to be compared with itself.
    #[error("`{}` and `{}` are the same run", first.display(), again.display())]
    GivenTwice {
        /// As it was given first.
        first: PathBuf,
        /// As it was given again.
        again: PathBuf,
    },
    /// Runs that did not measure the same.
    #[error("`{first}` and `{other}` cannot be compared in {}: {}", unlike.quantity, crate::compare::all_told(unlike, first, other))]
    Unlike {
        /// The first run.
        first: String,
        /// The run that does not fit.
        other: String,
        /// What differs between their signatures.
        unlike: Box<Incomparable>,
    },
    /// Text, tokenizer or token file.
    #[error(transparent)]
    Data(#[from] recurra_data::Error),
    /// Sizes of the model.
    #[error(transparent)]
    Model(#[from] recurra_models::Error),
    /// The model folder.
    #[error(transparent)]
    Checkpoint(Box<recurra_checkpoint::Error>),
    /// Scoring or writing.
    #[error(transparent)]
    Inference(#[from] recurra_inference::Error),
    /// The instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] recurra_tensor::IsaError),
}

impl From<recurra_checkpoint::Error> for Error {
    fn from(error: recurra_checkpoint::Error) -> Error {
        Error::Checkpoint(Box::new(error))
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Data(error) => error.hint(),
            Error::Model(error) => error.hint(),
            Error::Checkpoint(error) => error.hint(),
            Error::Inference(error) => error.hint(),
            Error::Isa(error) => Some(error.hint().to_owned()),
            Error::OutOfRange { name, expected, .. } => Some(format!("give `{name}` {expected}")),
            Error::UnknownName { hint, .. } => Some(hint.clone()),
            Error::NoRoom { .. } => Some("give smaller sizes of hidden layers, embedding, vocabulary, batch or context".to_owned()),
            Error::TooShort { .. } => Some("give a longer text".to_owned()),
            Error::OneSymbol { .. } => Some("train on a text with at least two different symbols".to_owned()),
            Error::Changed { .. } => Some("resume with the run's own settings (only threads, length, patience, learning rate and clip may change), or train into another folder".to_owned()),
            Error::Position { .. } => Some("train into another folder, or resume with the version that wrote it".to_owned()),
            Error::Diverged { highest_rate, .. } => Some(format!("lower the learning rate (from {highest_rate} to, say, {}) or the clip norm, and resume or train anew", highest_rate / 4.0)),
            Error::NoRecord { .. } => Some("name the folder of a run with its `training` folder, as `recurra train --out` made it".to_owned()),
            Error::NotValidated { path, .. } => Some(format!("wait for its first validation, or go on with it: `recurra train … --out {} --resume`", path.display())),
            Error::UnknownText { .. } => Some("copy `training/last.safetensors` of the run too, or resume it to its end".to_owned()),
            Error::GivenTwice { .. } => Some("name each run once".to_owned()),
            Error::Unlike { unlike, .. } => Some(match unlike.differences.iter().any(|difference| difference.field == Field::Data) {
                true => "train both with the same validation text (`--valid`), or score both on one text with `recurra eval … --against`".to_owned(),
                false => unlike.hint(),
            }),
            Error::Record { action: "read", .. } => Some("check that the file can be read".to_owned()),
            Error::Record { .. } => Some("check that the disk is not full and the folder can be written".to_owned()),
        }
    }
}

/// The error for a misspelt name, with the nearest good one.
pub(crate) fn unknown_name(what: &'static str, name: &str, known: &[&str]) -> Error {
    let all = known.join(", ");
    let hint = match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`? known: {all}"),
        None => format!("known: {all}"),
    };
    Error::UnknownName { what, name: name.to_owned(), hint }
}

/// The error for a number that makes no sense.
pub(crate) fn out_of_range(name: &str, value: impl ToString, expected: impl Into<String>) -> Error {
    Error::OutOfRange { name: name.to_owned(), value: value.to_string(), expected: expected.into() }
}

/// Refuses a number outside of `low` to `high`; NaN is outside.
pub(crate) fn check_range<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), Error> {
    match value >= low && value <= high {
        true => Ok(()),
        false => Err(out_of_range(name, value, format!("a number from {low} to {high}"))),
    }
}
