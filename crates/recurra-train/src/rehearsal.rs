//! A short run before the run: what it comes to foretells what the run will come to.

use std::sync::atomic::{AtomicBool, Ordering};

use recurra_data::Streams;
use recurra_tensor::{Cpu, Optimizer};

use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::recipe::Recipe;
use crate::schedule::PlateauMemory;
use crate::trial::Trial;
use crate::validation::Validation;

/// What a short run came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rehearsal {
    /// Bits for a byte of the validation text.
    pub bits_per_byte: f64,
    /// What went into learning.
    pub effort: Effort,
}

/// What goes into learning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    /// Operations.
    pub flop: f64,
    /// Passes over the training text.
    pub passes: f64,
}

/// The part of a rehearsal that its validation may take.
const VALIDATION_SHARE: f64 = 0.1;
/// What a token costs to score, of what it costs to learn from.
const SCORED_TOKEN: f64 = 1.0 / 3.0;

impl Rehearsal {
    /// Follows a recipe, its schedule included, for so many seconds; nothing where `stop` is set meanwhile.
    ///
    /// # Errors
    /// The text is too short for the recipe, or there can be no such network.
    pub fn of(
        recipe: &Recipe,
        corpus: &TokenizedCorpus,
        cpu: &Cpu,
        seconds: f64,
        stop: &AtomicBool,
    ) -> Result<Option<Rehearsal>, Error> {
        let streams = Streams::new(corpus.train.tokens.clone(), recipe.batch, recipe.bptt)?;
        let n_windows = streams.windows_per_epoch();
        let optimizer = Optimizer::from(recipe.optimizer);
        let config = recipe.network(corpus.tokenizer.vocab_size());
        let counts = corpus.token_counts();
        let (clip, seed) = (recipe.clip, recipe.seed);
        let trial = Trial { config: &config, optimizer, clip, token_counts: Some(&counts), seed };
        let rate = |_, spent: f64| {
            let progress = spent / ((1.0 - VALIDATION_SHARE) * seconds);
            let multiple = recipe.schedule.multiple(progress, &PlateauMemory::default());
            let goes_on = progress < 1.0 && !stop.load(Ordering::Relaxed);
            goes_on.then_some(recipe.learning_rate * multiple)
        };
        let outcome = trial.run(cpu, rate, |idx, batch| streams.window(idx % n_windows, batch))?;
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let n_updates = outcome.seconds.len() as f64;
        let mut validation = Validation::new(&corpus.valid, recipe.batch, recipe.bptt)?;
        let n_scored = (VALIDATION_SHARE / SCORED_TOKEN * n_updates).ceil() as usize;
        let loss_nats = validation.loss_nats(cpu, &outcome.model, &outcome.parameters, n_scored);
        let tokens = n_updates * (recipe.batch * recipe.bptt) as f64;
        let flop = tokens * config.flops_per_token() as f64;
        Ok(Some(Rehearsal {
            bits_per_byte: corpus.valid.bits_per_byte(loss_nats),
            effort: Effort { flop, passes: n_updates / n_windows as f64 },
        }))
    }
}
