//! The start of a run: text → tokens → batches, and a model, new or as the checkpoint has it.

use std::time::Instant;

use recurra_checkpoint::{ModelFolder, ModelNotes, SavedTraining};
use recurra_data::{Batch, Streams, Tokenizer, cache_dir};
use recurra_models::{LanguageModel, LanguageModelConfig};
use recurra_tensor::{Cpu, Optimizer, Parameters, Workspace};

use crate::choose::choose;
use crate::corpus::{Texts, TokenizedCorpus};
use crate::error::Error;
use crate::observer::{Event, Observer};
use crate::pace::Pace;
use crate::position::{Arithmetic, Position};
use crate::recipe::Recipe;
use crate::record::Recorder;
use crate::room::{Purpose, expect_room, machine_memory_bytes};
use crate::run::{Run, Update};
use crate::settings::Settings;
use crate::validation::Validation;

impl<'a> Run<'a> {
    /// Text → tokens → batches, and a model: new, or as the checkpoint has it.
    pub(crate) fn prepare(
        settings: Settings,
        observer: &'a mut dyn Observer,
    ) -> Result<Run<'a>, Error> {
        let started = Instant::now();
        let threads = settings
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let cpu = Cpu::with_precision(settings.precision, threads)?;
        let cache = settings.cache.clone().unwrap_or_else(cache_dir);
        let (folder, checkpoint) = open_folder(&settings, observer)?;

        // Text, and what to do with it.
        let texts = Texts::open(&settings)?;
        let (recipe, choices) = match &checkpoint {
            Some((_, position)) => {
                (position.recipe.resumed_with(&settings.recipe, &settings.out)?, vec![])
            }
            None => choose(&settings.recipe, &texts.facts, cpu.isa().precision())?,
        };
        observer.observe(&Event::Chosen { choices: &choices, recipe: &recipe });

        // Text → tokens → batches.
        let tokenizer = match &checkpoint {
            Some((saved, _)) => Tokenizer::from_json(&saved.tokenizer_json)?,
            None => Tokenizer::open_or_train(&cache, &recipe.tokenizer, &texts.train)?,
        };
        let config = model_config(&recipe, tokenizer.vocab_size());
        config.check()?;
        expect_room(&config, Purpose::Training, machine_memory_bytes())?; // before a long text is tokenised for a model that cannot be
        let corpus = TokenizedCorpus::open(&texts, tokenizer, &cache, observer)?;
        let streams = Streams::new(corpus.train.tokens.clone(), recipe.batch, recipe.bptt)?;
        let validation = Validation::new(&corpus.valid, recipe.batch, recipe.bptt)?;

        // The model, and where it stands.
        let optimizer = Optimizer::from(recipe.optimizer);
        let resumed_step = checkpoint.as_ref().map(|(_, position)| position.step);
        let (model, parameters, carried, mut position) = match checkpoint {
            Some((saved, mut position)) => {
                position.expect_texts(&settings.out, &corpus)?;
                if let Some(message) = told_of_new_length(&position.recipe, &recipe) {
                    observer.observe(&Event::Warned { message });
                }
                position.recipe = recipe.clone();
                (saved.model, saved.parameters, saved.carried, position)
            }
            None => {
                let mut parameters = Parameters::new();
                let model = LanguageModel::new(&config, &mut parameters)?;
                model.initialize(&mut parameters, recipe.seed);
                let counts = corpus.train.token_counts(config.vocab_size);
                model.start_from_counts(&mut parameters, &counts);
                parameters.set_n_moments(optimizer.n_moments());
                let carried = model.zero_state(recipe.batch);
                (model, parameters, carried, Position::start(recipe.clone(), corpus.names()))
            }
        };
        let fits = |(part, zero): (&Vec<f32>, &Vec<f32>)| part.len() == zero.len();
        let state_fits = carried.parts().zip(model.zero_state(recipe.batch).parts()).all(fits);
        if position.window >= streams.windows_per_epoch() || recipe.accumulate == 0 || !state_fits {
            let reason = "its position is none of this recipe and text".to_owned();
            return Err(Error::Position { out: settings.out, reason });
        }

        let pace = Pace::new(
            &recipe,
            streams.windows_per_epoch(),
            settings.save_every_seconds,
            Box::new(move || started.elapsed().as_secs_f64()),
            &position,
        );
        let arithmetic = Arithmetic::from(cpu.isa());
        if let Some(message) = told_of_new_arithmetic(position.arithmetic.as_ref(), &arithmetic) {
            observer.observe(&Event::Warned { message });
        }
        position.arithmetic = Some(arithmetic);
        position.fraction = pace.fraction(&position); // of a new length it is another part
        let recorder = match resumed_step {
            Some(step) => Recorder::resume(&folder.training_path(), step)?,
            None => Recorder::create(&folder.training_path())?,
        };
        observer.observe(&Event::Started {
            recipe: &recipe,
            parameters: parameters.n_values() as u64,
            flops_per_token: config.flops_per_token(),
            resumed_step,
            steps_total: pace.steps_total(),
            isa: cpu.isa().to_string(),
            threads: cpu.threads(),
        });
        if resumed_step.is_none() {
            position.begun_seconds = pace.elapsed_seconds();
        }
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
        run.expect_the_end();
        if resumed_step.is_none() {
            run.save_model(&ModelNotes::default())?;
            run.save()?;
        }
        Ok(run)
    }
}

/// The folder of the run, locked, with its checkpoint if the run goes on.
fn open_folder(
    settings: &Settings,
    observer: &mut dyn Observer,
) -> Result<(ModelFolder, Option<(SavedTraining, Position)>), Error> {
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
        // It was stopped before its first checkpoint.
        Err(NoTrainingState { .. }) => Ok((folder, None)),
        Err(error) => Err(error.into()),
    }
}

/// What a resumed run with another length does to the learning rate.
fn told_of_new_length(stored: &Recipe, resumed: &Recipe) -> Option<String> {
    (stored.length != resumed.length && resumed.schedule.follows_length()).then(|| {
        format!(
            "the run was to have {}, now {}: the schedule `{}` spreads over the new length, so the learning rate goes on elsewhere than it stopped",
            stored.length, resumed.length, resumed.schedule
        )
    })
}

/// What a resumed run on another instruction set does to its result.
fn told_of_new_arithmetic(stored: Option<&Arithmetic>, present: &Arithmetic) -> Option<String> {
    stored.filter(|stored| *stored != present).map(|stored| {
        format!(
            "the run was computed with {stored} so far and goes on with {present}: it will not end with the bits of a run on one of them"
        )
    })
}

fn model_config(recipe: &Recipe, vocab_size: usize) -> LanguageModelConfig {
    LanguageModelConfig {
        cell: recipe.cell,
        vocab_size,
        embed_size: recipe.embed,
        hidden_sizes: recipe.hidden.clone(),
        tied: recipe.tied,
        dropout: recipe.dropout,
        forget_bias: recipe.forget_bias,
    }
}
