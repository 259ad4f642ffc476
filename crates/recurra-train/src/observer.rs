//! What a run tells the program around it; the library itself prints nothing.

use std::path::PathBuf;

use recurra_metrics::LanguageScore;

use crate::choose::Choice;
use crate::forecast::Forecast;
use crate::recipe::Recipe;

/// Something that happened in a run: first `Chosen`, `Tokenized` and `Started`, last `Stopped` and `Scored`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Settings that were not given have been decided.
    Chosen {
        /// Each with its reason.
        choices: &'a [Choice],
        /// All settings of the run.
        recipe: &'a Recipe,
    },
    /// A short run begins by which the long one is foretold, where there is a budget and nothing else was asked for.
    Rehearsing {
        /// Wall clock that it will take.
        seconds: f64,
    },
    /// What the run will come to, where there is a budget and nothing else was asked for.
    Forecast(Forecast),
    /// Text became tokens, or they were in the cache already.
    Tokenized {
        /// Which text: `training`, `validation` or `test`.
        role: &'static str,
        /// The text for people.
        text: String,
        /// Bytes of text.
        bytes: u64,
        /// Tokens.
        tokens: u64,
        /// Ids that the tokenizer has.
        vocab_size: usize,
        /// Wall clock that it took.
        seconds: f64,
    },
    /// The first step comes next.
    Started {
        /// All settings of the run.
        recipe: &'a Recipe,
        /// Numbers that are learned.
        parameters: u64,
        /// Arithmetic a token, forward and backward.
        flops_per_token: u64,
        /// Steps already done, if the run was resumed.
        resumed_step: Option<u64>,
        /// Steps of the whole run, where the length is not a budget.
        steps_total: Option<u64>,
        /// The instruction set of the kernels.
        isa: String,
        /// Threads.
        threads: usize,
    },
    /// One update is done.
    Progress(Progress),
    /// The validation text has been scored, in parallel streams.
    Validated {
        /// Updates so far.
        step: u64,
        /// Loss a token.
        loss_nats: f64,
        /// The same in bits a byte of text.
        bits_per_byte: f64,
        /// Whether it is the best so far.
        is_best: bool,
    },
    /// A checkpoint is on disk.
    Saved {
        /// Updates so far.
        step: u64,
        /// Wall clock that it took.
        seconds: f64,
    },
    /// The model has written something.
    Sampled {
        /// Updates so far.
        step: u64,
        /// What it wrote.
        text: &'a str,
    },
    /// Something that the user should know, and that did not stop the run.
    Warned {
        /// In one sentence.
        message: String,
    },
    /// No further update will be made; the final scores come next.
    Stopped {
        /// Updates in all.
        step: u64,
        /// Why.
        reason: &'a StopReason,
    },
    /// A text is being scored with the best weights.
    Scoring {
        /// Which text: `validation` or `test`.
        role: &'static str,
        /// Tokens done.
        done: u64,
        /// Tokens in all.
        total: u64,
    },
    /// A text has been scored with the best weights, at batch 1 with the state carried.
    Scored {
        /// Which text: `validation` or `test`.
        role: &'static str,
        /// The score with its signature.
        score: &'a LanguageScore,
    },
}

/// Where a run stands after an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Updates so far.
    pub step: u64,
    /// Updates of the whole run, where the length is not a budget.
    pub steps_total: Option<u64>,
    /// Passes over the text, with a fraction.
    pub epoch: f64,
    /// Part of the run that is done, from 0 to 1.
    pub fraction: f64,
    /// Mean loss a token over about the last hundred updates.
    pub loss_nats: f64,
    /// The same in bits a byte of text.
    pub bits_per_byte: f64,
    /// Speed of the updates alone.
    pub tokens_per_second: f64,
    /// Wall clock that is left, as far as one can tell.
    pub seconds_left: f64,
    /// The rate of this update.
    pub learning_rate: f64,
    /// Global norm of the gradient, before clipping.
    pub gradient_norm: f64,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs or steps are done, or the budget is used up.
    Finished,
    /// Validation has not improved for as long as the patience lasts.
    NoImprovement {
        /// Validations since the best.
        validations: u32,
    },
    /// The stop flag was set; the run can be resumed.
    Interrupted {
        /// The folder to resume.
        out: PathBuf,
    },
}

/// Hears of the events of a run. Any `FnMut(&Event)` is one.
pub trait Observer {
    /// Called on the thread that trains; the run waits for it.
    fn observe(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Observer for F {
    fn observe(&mut self, event: &Event<'_>) {
        self(event);
    }
}
