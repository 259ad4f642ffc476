//! The loop: text → tokens → batches → model → loss → update → validate → save.
//!
//! Read it from top to bottom. [`train`] is the whole of it; each stage is a method below, in the order in which it runs.
//! What a run is given stands in [`crate::settings`], what it decides by itself in [`crate::choose`], how it knows when
//! something is due in [`crate::pace`], and all that it must remember over a kill in [`crate::position`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use recurra_checkpoint::{ModelFolder, ModelNotes, TrainingState};
use recurra_data::{Batch, Streams};
use recurra_models::{LanguageModel, State};
use recurra_tensor::{Cpu, Optimizer, Parameters, Random, Step, Tape, Window, Workspace};

use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::observer::{Event, Observer, Progress, StopReason};
use crate::pace::Pace;
use crate::position::Position;
use crate::recipe::{Length, Recipe};
use crate::record::{Measurement, Recorder};
use crate::report::Report;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::validation::Validation;

/// Trains a language model and leaves it in the folder `settings.out`.
///
/// The result is a function of texts, recipe, precision and instruction set (with a budget, of the clock as well): not of the
/// number of threads, of when checkpoints were made, or of how often the run was stopped and resumed. `stop` may be set from
/// anywhere at any time: the run saves, reports and returns.
///
/// # Errors
/// Whatever is wrong with texts, settings, folder or disk; and [`Error::Diverged`], with the last good checkpoint kept.
pub fn train(
    settings: Settings,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report, Error> {
    let mut run = Run::prepare(settings, observer, stop)?; // text → tokens → batches, model
    let stop_reason = loop {
        if let Some(reason) = run.reason_to_stop(stop)
            && !(reason == StopReason::Finished && run.has_time_after_all()?)
        {
            break reason;
        }
        run.update()?; // batches → model → loss → update
        run.record()?;
        if run.pace.validation_is_due(run.latest.fraction_before, &run.position) {
            run.validate()?;
        }
        if run.pace.saving_is_due() && run.is_sound() {
            run.save()?;
        }
    };
    run.finish(stop_reason, stop) // validate, save → score, report
}

/// A run in progress.
pub(crate) struct Run<'a> {
    pub observer: &'a mut dyn Observer,
    pub settings: Settings,
    pub folder: ModelFolder,
    pub recorder: Recorder,
    // What is computed, and how far it is.
    pub recipe: Recipe,
    pub position: Position,
    pub pace: Pace,
    // Text, tokens, batches.
    pub cache: PathBuf,
    pub corpus: TokenizedCorpus,
    pub true_valid_nats: Option<f64>,
    pub streams: Streams,
    pub batch: Batch,
    pub validation: Validation,
    // Model, memory, arithmetic.
    pub cpu: Cpu,
    pub model: LanguageModel,
    pub parameters: Parameters<f32>,
    pub carried: State<f32>,
    pub optimizer: Optimizer,
    pub workspace: Workspace<f32>,
    pub latest: Update,
    /// The largest part of the run that was done: with a budget it falls where the end becomes more expensive.
    pub furthest: f64,
    /// The step of the checkpoint on disk.
    pub saved_step: Option<u64>,
    /// The part of the validation text that the final score is of.
    pub scored_part: f64,
    /// What the model wrote last, and where the run stood then.
    pub sample: Option<Sample>,
}

/// Decides the dropout masks of a window: a function of seed and window, so a resumed run has the same.
pub(crate) fn dropout_key(seed: u64, window: u64) -> u64 {
    seed ^ window.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Lets each stream forget what it remembers with the recipe's probability (Melis, Dyer and Blunsom 2018), so that a model learns
/// to begin. Which ones do is a function of seed and window, so a resumed run has the same.
fn reset_some(recipe: &Recipe, window: u64, carried: &mut State<f32>, n_streams: usize) {
    /// Keeps these numbers apart from those that weights are drawn from.
    const RESETS: u64 = 0x7265_7365_7473;
    if recipe.reset_state > 0.0 {
        let mut random = Random::new(recipe.seed ^ RESETS, window);
        for stream in 0..n_streams {
            if random.unit() < recipe.reset_state {
                carried.clear_stream(stream, n_streams);
            }
        }
    }
}

/// What the latest update did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Update {
    /// The furthest that the run was before.
    pub fraction_before: f64,
    pub learning_rate: f64,
    pub gradient_norm: f64,
}

impl Run<'_> {
    /// Whether, and why, no further update is to be made.
    fn reason_to_stop(&self, stop: &AtomicBool) -> Option<StopReason> {
        let (patience, validations) = (self.recipe.patience, self.position.validations_since_best);
        if self.pace.is_over(&self.position) {
            Some(StopReason::Finished)
        } else if patience > 0 && validations >= patience {
            Some(StopReason::NoImprovement { validations })
        } else if stop.load(Ordering::Relaxed) {
            Some(StopReason::Interrupted { out: self.settings.out.clone() })
        } else {
            None
        }
    }

    /// Makes the last validation of a budget; less of the budget may then be used up than it seemed.
    fn has_time_after_all(&mut self) -> Result<bool, Error> {
        let is_validated = self.position.validated_step == Some(self.position.step);
        if is_validated || !matches!(self.recipe.length, Length::Budget(_)) {
            return Ok(false);
        }
        self.validate()?;
        Ok(self.pace.may_go_on())
    }

    /// Batches → model → loss → update: one step of truncated backpropagation through time.
    fn update(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let Run { recipe, position, cpu, model, parameters, carried, streams, batch, .. } = self;
        let progress = self.pace.schedule_progress(position);
        let beta1 = recipe.schedule.beta1(progress);
        let optimizer = beta1.map_or(self.optimizer, |beta1| self.optimizer.with_beta1(beta1));
        let average = recipe.averaging.weight(progress, &position.average);
        let fraction_before = self.furthest;
        // An update never reaches over the end of the text.
        let n_windows = recipe.accumulate.min(streams.windows_per_epoch() - position.window);

        let (mut total_nats, mut n_tokens, mut n_steps) = (0.0, 0, 0);
        for _ in 0..n_windows {
            streams.window(position.window, batch);
            let dropout_key = dropout_key(recipe.seed, position.windows_seen);
            let window = Window { time: batch.time, batch: batch.batch };
            reset_some(recipe, position.windows_seen, carried, batch.batch);
            let mut tape = Tape::training(cpu, parameters, &mut self.workspace, dropout_key)
                .with_loss_scale(1.0 / n_windows as f64);
            // `carried` goes in as the last window left it, and comes out detached from this one.
            let loss = model.loss(&mut tape, &batch.inputs, &batch.targets, window, carried);
            tape.backward(loss);
            total_nats += tape.loss(loss) * batch.targets.len() as f64;
            n_tokens += batch.targets.len();
            n_steps += batch.time;
            position.window += 1;
            position.windows_seen += 1;
        }
        // A short window says less: where lengths vary, the rate is in proportion to them (Merity et al. 2018).
        let length = match recipe.vary_windows {
            true => n_steps as f64 / (n_windows * recipe.bptt) as f64,
            false => 1.0,
        };
        let multiple = length * recipe.schedule.multiple(progress, &position.plateau);
        let learning_rate = recipe.learning_rate * multiple;
        let clip = (recipe.clip > 0.0).then_some(recipe.clip);
        let step = Step { number: position.step + 1, lr: learning_rate, clip, average };
        let gradient_norm = optimizer.make(cpu, parameters, &step);

        position.step += 1;
        position.average.n += u64::from(average.is_some());
        let loss_nats = total_nats / n_tokens as f64;
        self.latest = Update { fraction_before, learning_rate, gradient_norm };
        if !(loss_nats.is_finite() && gradient_norm.is_finite()) {
            return Err(self.diverged(loss_nats));
        }
        if position.window == streams.windows_per_epoch() {
            position.epoch += 1;
            position.window = 0;
            streams.begin_epoch(position.epoch);
            carried.clear();
        }
        let seconds = started.elapsed().as_secs_f64();
        position.add_loss(loss_nats, n_tokens as u64, seconds);
        position.fraction = self.pace.fraction(position);
        self.furthest = self.furthest.max(position.fraction);
        self.pace.costs.update.note(seconds);
        Ok(())
    }

    /// Tells the observer, and now and then the record, how it goes.
    fn record(&mut self) -> Result<(), Error> {
        let (position, train, update) = (&mut self.position, &self.corpus.train, self.latest);
        let epoch = position.epochs(self.streams.windows_per_epoch());
        let loss_nats = position.smooth_loss_nats.unwrap_or(f64::NAN);
        self.observer.observe(&Event::Progress(Progress {
            step: position.step,
            steps_total: self.pace.steps_total(),
            epoch,
            fraction: position.fraction,
            loss_nats,
            bits_per_byte: train.bits_per_byte(loss_nats),
            tokens_per_second: position.since_validation.tokens_per_second(),
            seconds_left: self.pace.seconds_left(position),
            learning_rate: update.learning_rate,
            gradient_norm: update.gradient_norm,
        }));
        if !self.pace.record_is_due(update.fraction_before, position) {
            return Ok(());
        }
        let mean = std::mem::take(&mut position.since_record);
        let loss_nats = mean.loss_nats().unwrap_or(loss_nats);
        self.recorder.add(&Measurement::Train {
            step: position.step,
            epoch,
            tokens: position.tokens_seen,
            seconds: self.pace.elapsed_seconds(),
            loss_nats,
            bits_per_byte: train.bits_per_byte(loss_nats),
            learning_rate: update.learning_rate,
            gradient_norm: update.gradient_norm,
            tokens_per_second: mean.tokens_per_second(),
        })
    }

    /// Scores the validation text on the way; the best weights so far become the model.
    pub(crate) fn validate(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let n_windows = match self.position.valid_windows {
            Some(n_windows) => n_windows,
            None => self.choose_validated_part()?,
        };
        let loss_nats = self.with_weights_that_count(|run| {
            run.validation.loss_nats(&run.cpu, &run.model, &run.parameters, n_windows)
        });
        self.pace.costs.validation.note(started.elapsed().as_secs_f64());
        self.measure_scoring();
        if !loss_nats.is_finite() || !self.weights_are_finite() {
            return Err(self.diverged(loss_nats));
        }
        let is_best = self.position.add_validation(loss_nats);
        let (step, bits_per_byte) =
            (self.position.step, self.corpus.valid.bits_per_byte(loss_nats));
        self.observer.observe(&Event::Validated { step, loss_nats, bits_per_byte, is_best });
        self.recorder.add(&Measurement::Valid {
            step,
            epoch: self.position.epochs(self.streams.windows_per_epoch()),
            tokens: Some(self.position.tokens_seen),
            seconds: self.pace.elapsed_seconds(),
            loss_nats,
            bits_per_byte,
            text_part: Some(self.validation.part(n_windows)),
            is_best,
        })?;
        self.recorder.draw_curve(&self.name())?;
        if self.sample_is_due() {
            self.show_sample();
        }
        // A kill in between makes the resumed run save the same best model once more.
        if is_best {
            self.save_model(&self.notes())?;
        }
        self.save()?;
        self.pace.validated(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// The windows that are validated from now on. What was the best so far is measured by them too, and what goes by
    /// validation goes by that: losses of two parts of a text do not compare.
    fn choose_validated_part(&mut self) -> Result<usize, Error> {
        let all = self.validation.n_windows();
        let n_windows = match self.recipe.validate_every {
            Some(_) => all,
            // A validation window costs a third of a training window: at most a sixth of the time goes into them.
            None => all.min((self.position.windows_seen as usize / 2).max(8)),
        };
        self.position.valid_windows = Some(n_windows);
        if self.position.best.is_some() {
            let best = self.folder.load_model()?;
            let loss_nats =
                self.validation.loss_nats(&self.cpu, &best.model, &best.parameters, n_windows);
            self.position.measure_the_best_anew(loss_nats);
        }
        Ok(n_windows)
    }

    /// Saves everything that the run needs to go on.
    pub(crate) fn save(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        self.position.elapsed_seconds = self.pace.elapsed_seconds();
        let progress = self.position.to_json();
        let state = TrainingState {
            parameters: &self.parameters,
            carried: &self.carried,
            progress: &progress,
        };
        self.folder.save_training(&state)?;
        let seconds = started.elapsed().as_secs_f64();
        self.pace.saved(seconds);
        let step = self.position.step;
        self.saved_step = Some(step);
        self.observer.observe(&Event::Saved { step, seconds });
        Ok(())
    }

    /// Makes the weights that count the model of the folder.
    pub(crate) fn save_model(&mut self, notes: &ModelNotes) -> Result<(), Error> {
        let started = Instant::now();
        self.with_weights_that_count(|run| {
            let (config, tokenizer) = (run.model.config(), run.corpus.tokenizer.to_json());
            let saved = run.folder.save_model(config, tokenizer, &run.parameters, notes);
            saved.map_err(Error::from)
        })?;
        self.pace.costs.saving_model.note(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Does something with the weights that are validated, saved as the model and scored: their average where there is one.
    pub(crate) fn with_weights_that_count<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let is_averaged = self.parameters.has_average();
        if is_averaged {
            self.parameters.swap_average();
        }
        let done = act(self);
        if is_averaged {
            self.parameters.swap_average();
        }
        done
    }

    /// Whether the weights still predict anything: a checkpoint that does not must not replace one that does.
    pub(crate) fn is_sound(&mut self) -> bool {
        let loss_nats = self.validation.loss_nats(&self.cpu, &self.model, &self.parameters, 1);
        loss_nats.is_finite() && self.weights_are_finite()
    }

    /// Gates make a number of whatever weights they have, so that a loss alone does not tell.
    fn weights_are_finite(&self) -> bool {
        let mut weights = self.parameters.ids().flat_map(|id| self.parameters.value(id));
        weights.all(|value| value.is_finite())
    }

    fn diverged(&self, loss_nats: f64) -> Error {
        let Update { learning_rate, gradient_norm, .. } = self.latest;
        let kept_step = self.saved_step.unwrap_or(0);
        Error::Diverged {
            step: self.position.step,
            loss_nats,
            gradient_norm,
            learning_rate,
            highest_rate: self.recipe.learning_rate,
            kept_step,
        }
    }

    /// The model's name: that of its folder.
    pub(crate) fn name(&self) -> String {
        let absolute = std::path::absolute(&self.settings.out);
        let path = absolute.as_deref().unwrap_or(&self.settings.out);
        path.file_name().unwrap_or(Path::new("model").as_os_str()).to_string_lossy().into_owned()
    }
}
