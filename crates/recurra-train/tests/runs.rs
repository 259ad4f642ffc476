//! Whole runs on small texts: what they leave behind, and that nothing but texts and recipe decides over the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use recurra_checkpoint::ModelFolder;
use recurra_data::storybook::Language;
use recurra_data::{Text, TokenizerSpec};
use recurra_tensor::{Isa, Precision};
use recurra_train::{
    Corpus, Error, Event, Length, Measurement, OptimizerSettings, RecipeOptions, Report, Settings,
    StopReason, read_measurements, train,
};
use tempfile::TempDir;

/// A folder for one test, with a text that is easy to learn and no two tests share.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self, name: &str) -> Settings {
        Settings {
            cache: Some(self.out("cache")),
            threads: Some(1),
            save_every_seconds: 1e9,
            sample_tokens: 0,
            recipe: small_recipe(),
            ..Settings::new(Corpus::Text(song()), self.out(name))
        }
    }
}

fn song() -> Text {
    let verses = (0..40).map(|n| {
        format!(
            "{n} green bottles hanging on the wall, and if one should fall, there would be {n}\n"
        )
    });
    Text::from_string("a song", verses.collect())
}

fn small_recipe() -> RecipeOptions {
    RecipeOptions {
        tokenizer: Some(TokenizerSpec::Byte),
        embed: Some(8),
        hidden: Some(vec![16, 12]),
        dropout: Some(0.1),
        batch: Some(3),
        bptt: Some(10),
        learning_rate: Some(0.01),
        length: Some(Length::Steps(24)),
        validate_every: Some(7),
        ..RecipeOptions::default()
    }
}

/// Trains in silence and to the end.
#[track_caller]
fn run(settings: Settings) -> Report {
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false)).unwrap()
}

#[track_caller]
fn refused(settings: Settings) -> Error {
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false)).unwrap_err()
}

/// Everything that must not depend on threads, checkpoints and kills.
fn result(report: &Report) -> (String, Option<u64>, Option<u64>, u64, u64) {
    let bits = |number: Option<f64>| number.map(f64::to_bits);
    (
        report.weights_sha256.clone(),
        bits(report.train_loss_nats),
        bits(report.valid_loss_nats),
        report.steps,
        report.tokens,
    )
}

/// The record without what the clock decides.
fn record(out: &Path) -> Vec<(u64, u64)> {
    let measurements = read_measurements(&out.join("training/metrics.jsonl")).unwrap();
    let of = |measurement: &Measurement| match *measurement {
        Measurement::Train { step, loss_nats, .. } | Measurement::Valid { step, loss_nats, .. } => {
            (step, loss_nats.to_bits())
        }
    };
    measurements.iter().map(of).collect()
}

#[test]
fn a_run_learns_and_leaves_a_whole_folder() {
    let place = Place::new();
    let recipe =
        RecipeOptions { length: Some(Length::Steps(120)), validate_every: None, ..small_recipe() };
    let settings =
        Settings { recipe, test: Some(song()), sample_tokens: 20, ..place.settings("song") };
    let report = run(settings);
    assert_eq!((report.steps, &report.stop_reason), (120, &StopReason::Finished));
    let valid = report.valid_loss_nats.unwrap();
    assert!(valid < 0.6 * 256f64.ln(), "it learned less than half of nothing: {valid}");
    assert!((report.valid_perplexity.unwrap() - valid.exp()).abs() < 1e-9);
    // A byte is a token: bits a byte are the loss itself, but for the first byte that nothing predicts.
    assert!((report.valid_bits_per_byte.unwrap() - valid / 2f64.ln()).abs() < 0.05);
    assert!(report.test_loss_nats.is_some());
    let signature = report.valid_score.unwrap().signature.to_string();
    assert!(
        signature.starts_with("lm|unit:byte|tok:byte-") && signature.contains("|state:carried|"),
        "{signature}"
    );

    let out = place.out("song");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "README.md"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    for file in ["last.safetensors", "metrics.jsonl", "events.out.tfevents.recurra", "loss.svg"] {
        assert!(out.join("training").join(file).is_file(), "{file}");
    }
    assert!(fs::read_to_string(out.join("README.md")).unwrap().contains(&signature));
    let notes = ModelFolder::open(&out).unwrap().load_model().unwrap().notes.unwrap();
    assert_eq!(notes.scores["validation"].loss_nats(), valid);
    assert_eq!(record(&out).last().unwrap().0, 120);
}

#[test]
fn threads_and_checkpoints_do_not_change_the_result() {
    let place = Place::new();
    let expected = result(&run(place.settings("one")));
    for threads in [2, 3] {
        let settings = Settings { threads: Some(threads), ..place.settings(&format!("{threads}")) };
        assert_eq!(result(&run(settings)), expected, "{threads} threads");
    }
    let settings =
        Settings { save_every_seconds: 0.0, sample_tokens: 5, ..place.settings("saving") };
    assert_eq!(result(&run(settings)), expected, "a checkpoint after every step");
    let other_seed = RecipeOptions { seed: Some(2), ..small_recipe() };
    let other = run(Settings { recipe: other_seed, ..place.settings("seed") });
    assert_ne!(result(&other).0, expected.0, "another seed gives other weights");
}

/// A run that dies at its n-th event, as by a kill: nothing is saved on the way out.
fn run_until_killed(settings: Settings, n_events: usize) -> Option<Report> {
    let mut left = n_events;
    let mut observer = |_: &Event| {
        if left == 0 {
            std::panic::panic_any("killed");
        }
        left -= 1;
    };
    let attempt = std::panic::AssertUnwindSafe(|| {
        train(settings, &mut observer, &AtomicBool::new(false)).unwrap()
    });
    std::panic::catch_unwind(attempt).ok()
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    let place = Place::new();
    let recipes = [
        small_recipe(),
        // Ends of epochs inside of an accumulation, a plateau, momentum: all that a position has to carry.
        RecipeOptions {
            optimizer: Some(OptimizerSettings::Sgd { momentum: 0.5, weight_decay: 1e-4 }),
            learning_rate: Some(0.5),
            accumulate: Some(4),
            bptt: Some(30),
            schedule: Some("plateau:4".parse().unwrap()),
            validate_every: None,
            length: Some(Length::Epochs(2)),
            ..small_recipe()
        },
    ];
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"killed") {
            eprintln!("{info}");
        }
    }));
    for (idx, recipe) in recipes.into_iter().enumerate() {
        let settings = |name: &str| Settings {
            recipe: recipe.clone(),
            ..place.settings(&format!("{idx}-{name}"))
        };
        let expected = result(&run(settings("whole")));
        let expected_record = record(&place.out(&format!("{idx}-whole")));
        for kill_at in 0..60 {
            let name = format!("{kill_at}");
            // A checkpoint after every step, at validations only, and from time to time with another number of threads.
            let settings = |resume| Settings {
                resume,
                save_every_seconds: if kill_at % 2 == 0 { 0.0 } else { 1e9 },
                threads: Some(1 + kill_at % 3),
                ..settings(&name)
            };
            if run_until_killed(settings(false), kill_at).is_some() {
                assert!(kill_at > 20, "a run of {kill_at} events tests nothing");
                break;
            }
            // Killed once more while it goes on, and then left alone.
            run_until_killed(settings(true), 3 + kill_at % 7);
            let report = run(settings(true));
            assert_eq!(result(&report), expected, "recipe {idx}, killed at event {kill_at}");
            assert_eq!(
                record(&place.out(&format!("{idx}-{name}"))),
                expected_record,
                "recipe {idx}, killed at event {kill_at}"
            );
        }
    }
}

#[test]
fn a_stopped_run_saves_reports_and_goes_on() {
    let place = Place::new();
    let expected = result(&run(place.settings("whole")));
    let stop = AtomicBool::new(false);
    let mut observer = |event: &Event| {
        if let Event::Progress(progress) = event {
            stop.store(progress.step == 11, Ordering::Relaxed);
        }
    };
    let report = train(place.settings("stopped"), &mut observer, &stop).unwrap();
    assert_eq!(
        (report.steps, &report.stop_reason),
        (11, &StopReason::Interrupted { out: place.out("stopped") })
    );
    assert!(
        report.valid_loss_nats.is_some() && report.valid_score.is_none(),
        "the validation of step 7 stands for the score"
    );
    assert!(fs::read_to_string(place.out("stopped/README.md")).unwrap().contains("Not scored yet"));
    let resumed = Settings { resume: true, ..place.settings("stopped") };
    assert_eq!(result(&run(resumed)), expected);
    // Once more after its end: nothing is left to do, and the report is the same.
    let again = Settings { resume: true, ..place.settings("stopped") };
    assert_eq!(result(&run(again)), expected);
}

#[test]
fn a_finished_run_may_be_made_longer_but_nothing_else() {
    let place = Place::new();
    run(place.settings("a"));
    let resume = |change: &dyn Fn(&mut RecipeOptions)| {
        let mut settings = Settings { resume: true, ..place.settings("a") };
        change(&mut settings.recipe);
        settings
    };
    let message = |change: &dyn Fn(&mut RecipeOptions)| refused(resume(change)).to_string();
    let out = place.out("a").display().to_string();
    assert_eq!(
        message(&|recipe| recipe.batch = Some(4)),
        format!("the run in `{out}` has batch 3, but batch 4 was asked for")
    );
    assert_eq!(
        message(&|recipe| recipe.seed = Some(9)),
        format!("the run in `{out}` has seed 1, but seed 9 was asked for")
    );
    assert!(
        message(&|recipe| recipe.hidden = Some(vec![16]))
            .contains("has hidden 16, 12, but hidden 16, 16")
    );
    let mut warnings = vec![];
    let mut observer = |event: &Event| {
        if let Event::Warned { message } = event {
            warnings.push(message.clone());
        }
    };
    let settings = resume(&|recipe| recipe.length = Some(Length::Steps(30)));
    let longer = train(settings, &mut observer, &AtomicBool::new(false)).unwrap();
    assert_eq!(longer.steps, 30);
    assert!(
        matches!(&warnings[..], [told] if told.contains("24 steps, now 30 steps: the schedule `cosine")),
        "{warnings:?}"
    );
    // What is not asked for again is as it was.
    let settings =
        Settings { resume: true, recipe: RecipeOptions::default(), ..place.settings("a") };
    assert_eq!(run(settings).weights_sha256, longer.weights_sha256);

    let other_text = Text::from_string("another", "la ".repeat(1000));
    let error = refused(Settings { corpus: Corpus::Text(other_text), ..resume(&|_| {}) });
    assert!(error.to_string().contains("has training text of sha256"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_run_that_goes_on_with_another_precision_is_told_that_its_bits_will_differ() {
    if Isa::best(Some(Precision::Bf16)).is_none() {
        println!("this machine has no `bf16`: not tested");
        return;
    }
    let place = Place::new();
    let warnings_of = |precision, steps, resume| {
        let mut settings = Settings { precision: Some(precision), resume, ..place.settings("a") };
        settings.recipe.length = Some(Length::Steps(steps));
        settings.recipe.schedule = Some("constant".parse().unwrap());
        let mut warnings = vec![];
        let mut observer = |event: &Event| {
            if let Event::Warned { message } = event {
                warnings.push(message.clone());
            }
        };
        train(settings, &mut observer, &AtomicBool::new(false)).unwrap();
        warnings
    };
    assert_eq!(warnings_of(Precision::F32, 3, false), [""; 0]);
    assert_eq!(warnings_of(Precision::F32, 4, true), [""; 0]);
    let warnings = warnings_of(Precision::Bf16, 5, true);
    assert!(
        matches!(&warnings[..], [told] if told.contains("in f32 so far and goes on with `amx` in bf16")),
        "{warnings:?}"
    );
    // From there on it is a run in bf16.
    assert_eq!(warnings_of(Precision::Bf16, 6, true), [""; 0]);
}

#[test]
fn resume_begins_where_there_is_nothing_and_a_new_run_overwrites_nothing() {
    let place = Place::new();
    let mut warnings = vec![];
    let mut observer = |event: &Event| {
        if let Event::Warned { message } = event {
            warnings.push(message.clone());
        }
    };
    let settings = Settings { resume: true, ..place.settings("new") };
    train(settings, &mut observer, &AtomicBool::new(false)).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let before = fs::read(place.out("new/model.safetensors")).unwrap();
    let error = refused(place.settings("new"));
    assert!(error.to_string().contains("already holds a run"), "{error}");
    assert_eq!(fs::read(place.out("new/model.safetensors")).unwrap(), before);
}

#[test]
fn divergence_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let place = Place::new();
    let recipe = RecipeOptions {
        optimizer: Some(OptimizerSettings::sgd()),
        schedule: Some("constant".parse().unwrap()),
        learning_rate: Some(1e6),
        clip: Some(0.0),
        cell: Some("rnn-relu".parse().unwrap()),
        length: Some(Length::Steps(200)),
        ..small_recipe()
    };
    let error = refused(Settings { recipe, save_every_seconds: 0.0, ..place.settings("a") });
    let Error::Diverged { step, kept_step, .. } = error else { panic!("{error}") };
    assert!(step > kept_step, "{error}");
    assert!(error.hint().unwrap().contains("lower the learning rate"));
    let (saved, warning) = ModelFolder::resume(place.out("a")).unwrap().load_training().unwrap();
    assert!(warning.is_none());
    assert_eq!(saved.progress["step"], kept_step);
    let is_finite = |id| saved.parameters.value(id).iter().all(|value| value.is_finite());
    assert!(saved.parameters.ids().all(is_finite));
}

#[test]
fn the_model_writes_at_first_and_some_times_later_and_at_last() {
    let place = Place::new();
    let recipe = RecipeOptions {
        length: Some(Length::Steps(200)),
        validate_every: Some(10),
        ..small_recipe()
    };
    let mut steps = vec![];
    let mut observer = |event: &Event| {
        if let Event::Sampled { step, .. } = event {
            steps.push(*step);
        }
    };
    let settings = Settings { recipe, sample_tokens: 3, ..place.settings("a") };
    train(settings, &mut observer, &AtomicBool::new(false)).unwrap();
    assert_eq!(steps, [10, 80, 150, 200]);
}

#[test]
fn patience_ends_a_run_that_no_longer_improves() {
    let place = Place::new();
    // A rate of zero never improves: the first validation is the best for ever.
    let recipe = RecipeOptions {
        learning_rate: Some(0.0),
        patience: Some(2),
        length: Some(Length::Steps(1000)),
        ..small_recipe()
    };
    let report = run(Settings { recipe, ..place.settings("a") });
    assert_eq!(
        (report.steps, report.stop_reason),
        (21, StopReason::NoImprovement { validations: 2 })
    );
}

#[test]
fn a_budget_is_kept() {
    let place = Place::new();
    let recipe =
        RecipeOptions { length: Some(Length::Budget(4.0)), validate_every: None, ..small_recipe() };
    let mut last_rate = f64::NAN;
    let mut observer = |event: &Event| {
        if let Event::Progress(progress) = event {
            last_rate = progress.learning_rate;
        }
    };
    let settings = Settings { recipe, ..place.settings("a") };
    let report = train(settings, &mut observer, &AtomicBool::new(false)).unwrap();
    // On a machine with nothing else to do it is within 5 %; tests have to bear with neighbours.
    let tolerance = if std::env::var_os("SLOW_TESTS").is_some() { 0.05 } else { 0.4 };
    assert!((report.seconds - 4.0).abs() < 4.0 * tolerance, "{} seconds", report.seconds);
    assert!(last_rate < 0.1 * 0.01, "the schedule ends as the budget ends, not at {last_rate}");
    assert_eq!(report.stop_reason, StopReason::Finished);
}

#[test]
fn a_budget_that_is_resumed_after_a_validation_does_not_begin_with_another() {
    let place = Place::new();
    let recipe =
        RecipeOptions { length: Some(Length::Budget(4.0)), validate_every: None, ..small_recipe() };
    let stopped_after = |is_last: fn(&Event) -> bool, resume| {
        let stop = AtomicBool::new(false);
        let mut validated: Vec<u64> = vec![];
        let mut observer = |event: &Event| {
            if let Event::Validated { step, .. } = event {
                validated.push(*step);
            }
            if is_last(event) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        // A test text, so that the end of the run takes a time that counts.
        let test = Some(Text::from_string("a long test", "one green bottle\n".repeat(20_000)));
        let settings = Settings { recipe: recipe.clone(), resume, test, ..place.settings("a") };
        let report = train(settings, &mut observer, &stop).unwrap();
        (validated, report.steps)
    };
    let (validated, steps) = stopped_after(|event| matches!(event, Event::Validated { .. }), false);
    assert_eq!(validated, [steps]);
    let (validated, steps) = stopped_after(|event| matches!(event, Event::Progress(_)), true);
    assert!(validated.is_empty(), "{validated:?} of {steps}");
}

#[test]
fn a_budget_is_scored_in_the_precision_of_the_run() {
    let place = Place::new();
    for precision in [Precision::F32, Precision::Bf16] {
        if Isa::best(Some(precision)).is_none() {
            println!("this machine has no `{precision}`: not tested");
            continue;
        }
        let mut settings = place.settings(precision.name());
        settings.precision = Some(precision);
        settings.recipe.length = Some(Length::Budget(2.0));
        let report = run(settings);
        let score = report.valid_score.unwrap();
        assert_eq!(score.signature.precision, precision.name());
        assert_eq!(report.precision, precision.name());
    }
}

#[test]
fn the_storybook_states_its_distance_to_the_truth() {
    let place = Place::new();
    let corpus = Corpus::Storybook { language: Language::English, bytes: 20_000 };
    let report = run(Settings { corpus, ..place.settings("a") });
    let (limit, excess) =
        (report.true_bits_per_byte.unwrap(), report.excess_bits_per_byte.unwrap());
    assert!(limit > 0.05 && limit < 2.0, "{limit}");
    assert!(excess > 0.0, "no model is better than the truth: {excess}");
    assert!((limit + excess - report.valid_bits_per_byte.unwrap()).abs() < 1e-9);
}

#[test]
fn texts_that_cannot_be_learned_are_refused() {
    let place = Place::new();
    let error = |text: &str| {
        let corpus = Corpus::Text(Text::from_string("a text", text.to_owned()));
        let error = refused(Settings { corpus, ..place.settings("a") });
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    assert!(error("").contains("holds no text"), "{}", error(""));
    assert!(error("abcabc").contains("expected at least 31"), "{}", error("abcabc"));
    assert!(
        error(&"a".repeat(5000)).contains("holds one symbol only, `a`, 4500 times"),
        "{}",
        error(&"a".repeat(5000))
    );
    // Nothing of this is in the way of a run with a better text.
    run(place.settings("a"));
}
