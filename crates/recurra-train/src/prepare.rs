//! The start of a run: text → tokens → batches, and a model, new or as the checkpoint has it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use recurra_checkpoint::{ModelFolder, ModelNotes};
use recurra_data::{Batch, Streams, Tokenizer, TokenizerSpec, cache_dir};
use recurra_tensor::{Cpu, Optimizer, Window, Workspace};

use crate::choose::{Plan, choose};
use crate::corpus::{Texts, TokenizedCorpus};
use crate::error::Error;
use crate::forecast::Prospect;
use crate::observer::{Event, Observer};
use crate::pace::Pace;
use crate::position::Position;
use crate::recipe::{Length, Recipe, RecipeOptions};
use crate::record::Recorder;
use crate::room::{Purpose, expect_room, machine_memory_bytes};
use crate::run::{Run, Update};
use crate::settings::Settings;
use crate::speed::Measured;
use crate::start::{Checkpoint, Start};
use crate::validation::Validation;

impl<'a> Run<'a> {
    /// Text → tokens → batches, and a model: new, or as the checkpoint has it.
    pub(crate) fn prepare(
        settings: Settings,
        observer: &'a mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Run<'a>, Error> {
        let started = Instant::now();
        let cpu = cpu(&settings)?;
        let cache = settings.cache.clone().unwrap_or_else(cache_dir);
        let (folder, checkpoint) = open_folder(&settings, observer)?;

        // Text, and what to do with it.
        let texts = Texts::open(&settings)?;
        let tokenizer = given_tokenizer(&settings, checkpoint.as_ref())?;
        let (recipe, prospect) = match &checkpoint {
            Some(checkpoint) => (resumed_recipe(&settings, checkpoint, observer)?, None),
            None => recipe(&settings, &texts, tokenizer.as_ref(), &cpu, observer)?,
        };

        // Text → tokens → batches.
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => Tokenizer::open_or_train(&cache, &recipe.tokenizer, &texts.train)?,
        };
        let config = recipe.network(tokenizer.vocab_size());
        let window = Window { time: recipe.bptt, batch: recipe.batch };
        let purpose = Purpose::Training { moments: recipe.n_moments(), window };
        expect_room(&config, purpose, machine_memory_bytes())?; // before a long text is tokenised for a model that cannot be
        let corpus = TokenizedCorpus::open(&texts, tokenizer, &cache, observer)?;
        let forecast = prospect
            .map(|prospect| {
                observer.observe(&Event::Rehearsing { seconds: prospect.rehearsal_seconds() });
                prospect.forecast(&recipe, &corpus, &cpu, stop)
            })
            .transpose()?
            .flatten()
            .or(checkpoint.as_ref().and_then(|(_, position)| position.forecast_for(&recipe)));
        if let Some(forecast) = forecast {
            observer.observe(&Event::Forecast(forecast));
        }
        let mut streams = Streams::new(corpus.train.tokens.clone(), recipe.batch, recipe.bptt)?;
        if recipe.vary_windows {
            streams = streams.varied(recipe.seed);
        }
        let validation = Validation::new(&corpus.valid, recipe.batch, recipe.bptt)?;

        // The model, and where it stands.
        let optimizer = Optimizer::from(recipe.optimizer);
        let start = match checkpoint {
            Some(checkpoint) => {
                Start::resumed(checkpoint, &recipe, &corpus, &settings.out, observer)?
            }
            None => Start::anew(&recipe, &config, &corpus, optimizer)?,
        };
        start.expect_within(&streams, &settings.out)?;
        streams.begin_epoch(start.position.epoch);
        let Start { model, parameters, carried, mut position, resumed_step, is_of_new_length } =
            start.with_arithmetic(cpu.isa(), observer);
        position.forecast = forecast;
        let pace = Pace::new(
            &recipe,
            streams.windows_per_epoch(),
            settings.save_every_seconds,
            Box::new(move || started.elapsed().as_secs_f64()),
            &position,
        );
        if is_of_new_length {
            position.fraction = pace.fraction(&position);
        }
        let recorder = match resumed_step {
            Some(step) => Recorder::resume(&folder.training_path(), step)?,
            None => Recorder::create(&folder.training_path())?,
        };
        let mut run = Run {
            observer,
            settings,
            folder,
            recorder,
            recipe,
            pace,
            cache,
            corpus,
            true_valid_nats: texts.true_valid_nats,
            streams,
            batch: Batch::default(),
            validation,
            cpu,
            model,
            parameters,
            carried,
            optimizer,
            workspace: Workspace::new(),
            latest: Update::default(),
            furthest: position.fraction,
            position,
            saved_step: resumed_step,
            scored_part: 1.0,
            sample: None,
        };
        run.tell_of_the_start();
        match resumed_step {
            None => run.begin()?,
            Some(_) => run.go_on(is_of_new_length)?,
        }
        Ok(run)
    }

    fn tell_of_the_start(&mut self) {
        self.observer.observe(&Event::Started {
            recipe: &self.recipe,
            parameters: self.parameters.n_values() as u64,
            flops_per_token: self.model.config().flops_per_token(),
            resumed_step: self.saved_step,
            steps_total: self.pace.steps_total(),
            isa: self.cpu.isa().to_string(),
            threads: self.cpu.threads(),
        });
    }

    /// Saves the run before its first step: a folder that nothing can be saved in is better known now. Nothing is left
    /// then that another run would have to go around.
    fn begin(&mut self) -> Result<(), Error> {
        self.position.begun_seconds = self.pace.elapsed_seconds();
        self.expect_the_end();
        let saved = self.save_beginning();
        if saved.is_err() {
            self.folder.forget_the_run()?;
        }
        saved
    }

    /// The checkpoint before the model, so that a model without a checkpoint is never one that did not begin.
    fn save_beginning(&mut self) -> Result<(), Error> {
        self.folder.save_config(self.model.config(), self.corpus.tokenizer.to_json())?;
        self.save()?;
        self.save_model(&ModelNotes::default())
    }

    /// Goes on from the checkpoint, whose weights take the place of a model that is damaged or gone. The scores of a shorter run
    /// are none of a longer one's.
    fn go_on(&mut self, is_of_new_length: bool) -> Result<(), Error> {
        self.expect_the_end();
        // Of a longer run, more may be validated.
        let is_part = |n_windows: &usize| *n_windows < self.validation.n_windows();
        if is_of_new_length && self.position.valid_windows.as_ref().is_some_and(is_part) {
            self.position.valid_windows = None;
        }
        let reason = match self.folder.load_model() {
            Err(reason) if reason.is_lasting_damage() || !self.folder.holds_a_model() => reason,
            Err(error) => return Err(error.into()),
            Ok(best) => {
                let is_scored = best.notes.as_ref().is_some_and(|notes| !notes.scores.is_empty());
                if is_of_new_length && is_scored {
                    self.save_scores(best, BTreeMap::new())?;
                }
                return Ok(());
            }
        };
        let step = self.position.step;
        let message = format!("{reason}; the weights of step {step} take its place");
        self.observer.observe(&Event::Warned { message });
        if self.position.best.is_some_and(|best| best.step != step) {
            self.position.forget_the_best();
        }
        self.save_model(&self.notes())
    }
}

fn cpu(settings: &Settings) -> Result<Cpu, Error> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Cpu::with_precision(settings.precision, settings.threads.unwrap_or_else(cores))?)
}

/// The tokenizer of the run that goes on, or that of a file: there before anything is chosen.
fn given_tokenizer(
    settings: &Settings,
    checkpoint: Option<&Checkpoint>,
) -> Result<Option<Tokenizer>, Error> {
    Ok(match (checkpoint, &settings.recipe.tokenizer) {
        (Some((saved, _)), _) => Some(Tokenizer::from_json(&saved.tokenizer_json)?),
        (None, Some(TokenizerSpec::File(path))) => Some(Tokenizer::open(path)?),
        _ => None,
    })
}

/// The recipe of the run that goes on.
fn resumed_recipe(
    settings: &Settings,
    (_, position): &Checkpoint,
    observer: &mut dyn Observer,
) -> Result<Recipe, Error> {
    let recipe = position.recipe.resumed_with(&settings.recipe, &settings.out)?;
    observer.observe(&Event::Chosen { choices: &[], recipe: &recipe });
    Ok(recipe)
}

/// What was asked for and the rest chosen from the text, and from the tokenizer where that is there already; with what a forecast
/// starts from, where there is a budget and nothing else was asked for.
fn recipe(
    settings: &Settings,
    texts: &Texts,
    tokenizer: Option<&Tokenizer>,
    cpu: &Cpu,
    observer: &mut dyn Observer,
) -> Result<(Recipe, Option<Prospect>), Error> {
    let options = &settings.recipe;
    let mut facts = texts.facts;
    let budget_seconds = match options.length.unwrap_or(facts.usual_length()) {
        Length::Budget(seconds) => Some(seconds),
        _ => None,
    };
    // Text and tokenizer are looked through where a choice goes by them.
    if let Some(tokenizer) = tokenizer {
        facts.tokenizer = Some(texts.tokenizer_facts(tokenizer)?);
    }
    if let (None | Some(TokenizerSpec::Char | TokenizerSpec::Word), Some(seconds)) =
        (&options.tokenizer, budget_seconds)
    {
        facts.predictability = Some(texts.predictability(seconds)?);
    }
    let speed = Measured::for_budget(cpu, budget_seconds.unwrap_or(0.0));
    let Plan { recipe, choices, flops, passes } = choose(options, &facts, &speed)?;
    observer.observe(&Event::Chosen { choices: &choices, recipe: &recipe });
    let RecipeOptions { length, seed, .. } = *options;
    let is_ours = *options == RecipeOptions { length, seed, ..RecipeOptions::default() };
    let prospect = budget_seconds
        .filter(|_| is_ours && !facts.is_storybook)
        .and_then(|budget_seconds| Prospect::of(facts, budget_seconds, flops, passes));
    Ok((recipe, prospect))
}

/// The folder of the run, locked, with its checkpoint if the run goes on.
fn open_folder(
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<(ModelFolder, Option<Checkpoint>), Error> {
    use recurra_checkpoint::Error::{NoTrainingState, NothingToResume};
    if !settings.resume {
        return Ok((ModelFolder::create(&settings.out)?, None));
    }
    let mut warn = |message: String| observer.observe(&Event::Warned { message });
    let folder = match ModelFolder::resume(&settings.out) {
        Err(NothingToResume { .. }) => {
            warn(format!(
                "`{}` holds no run to resume: this one begins it",
                settings.out.display()
            ));
            return Ok((ModelFolder::create(&settings.out)?, None));
        }
        folder => folder?,
    };
    match folder.load_training() {
        Ok((mut saved, warning)) => {
            warning.into_iter().for_each(|warning| warn(warning.to_string()));
            let position = Position::from_json(saved.progress.take())
                .map_err(|reason| Error::Position { out: settings.out.clone(), reason })?;
            Ok((folder, Some((saved, position))))
        }
        // It was stopped before its first checkpoint, which comes before any model.
        Err(NoTrainingState { .. }) if !folder.holds_a_model() => Ok((folder, None)),
        Err(error) => Err(error.into()),
    }
}
