//! Neither threads nor checkpoints nor kills change what comes out.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use recurra_checkpoint::ModelFolder;
use recurra_models::{CellKind, CellOptions, Regularization};
use recurra_train::{
    Averaging, Event, Length, MethodSettings, MomentSettings, OptimizerSettings, RecipeOptions,
    Report, Settings, StopReason, train,
};

use crate::place::{Place, record, result, run, small_recipe};

#[test]
fn threads_and_checkpoints_do_not_change_the_result() {
    let place = Place::new();
    let expected = result(&run(place.settings("one")));
    let optimizers = [("adamw", OptimizerSettings::adamw()), ("muon", OptimizerSettings::muon())];
    for (optimizer, settings) in optimizers {
        let recipe = averaged("exponential", settings);
        let with = |threads: usize| {
            let settings = place.settings(&format!("{optimizer} {threads}"));
            Settings { threads: Some(threads), recipe: recipe.clone(), ..settings }
        };
        let one = result(&run(with(1)));
        for threads in [2, 3] {
            assert_eq!(result(&run(with(threads))), one, "{optimizer}, {threads} threads");
        }
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
    let outcome = std::panic::catch_unwind(attempt);
    outcome.map_err(|panic| assert_eq!(panic.downcast_ref(), Some(&"killed"))).ok()
}

fn averaged(averaging: &str, optimizer: OptimizerSettings) -> RecipeOptions {
    let averaging = Some(averaging.parse().unwrap());
    RecipeOptions { averaging, optimizer: Some(optimizer), ..small_recipe() }
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_same_bits() {
    let place = Place::new();
    let recipes = [
        small_recipe(),
        // Ends of epochs inside of an accumulation, a plateau, momentum: all that a position has to carry.
        RecipeOptions {
            optimizer: Some(OptimizerSettings {
                weight_decay: 1e-4,
                ..OptimizerSettings::new(MethodSettings::Sgd { momentum: 0.5 })
            }),
            learning_rate: Some(0.5),
            accumulate: Some(4),
            bptt: Some(30),
            schedule: Some("plateau:4".parse().unwrap()),
            validate_every: None,
            length: Some(Length::Epochs(2)),
            ..small_recipe()
        },
        averaged(
            "exponential:0.9",
            OptimizerSettings { weight_decay: 1e-3, ..OptimizerSettings::adam() },
        ),
        averaged(
            "tail:0.6",
            OptimizerSettings {
                spare_vectors: true,
                weight_decay: 0.1,
                ..OptimizerSettings::muon()
            },
        ),
        // A rate that is too high, so that a validation is worse than one long before.
        RecipeOptions {
            learning_rate: Some(300.0),
            validate_every: Some(2),
            schedule: Some("constant".parse().unwrap()),
            ..averaged("non-monotone:2", OptimizerSettings::sgd())
        },
        RecipeOptions {
            schedule: Some("phases:0.1@0.8,1=1@0.7,4=1,4=0.1@0.8,1~0".parse().unwrap()),
            ..averaged("none", OptimizerSettings::adamw())
        },
        {
            let moments = MomentSettings { beta1: 0.0, ..MomentSettings::default() };
            averaged("tail:0.3", OptimizerSettings::new(MethodSettings::Adam(moments)))
        },
        // What AWD-LSTM does.
        RecipeOptions {
            vary_windows: Some(true),
            cell_options: CellOptions { weight_dropout: Some(0.5), ..CellOptions::default() },
            regularization: Regularization {
                word_dropout: Some(0.1),
                locked_dropout: Some(true),
                activation_penalty: Some(2.0),
                temporal_penalty: Some(1.0),
                ..Regularization::default()
            },
            length: Some(Length::Epochs(2)),
            bptt: Some(140),
            ..small_recipe()
        },
        // What Melis et al. do.
        RecipeOptions {
            reset_state: Some(0.2),
            hidden: Some(vec![24, 24]),
            cell_options: CellOptions {
                coupled: Some(true),
                state_dropout: Some(0.4),
                summed_outputs: Some(true),
                ..CellOptions::default()
            },
            length: Some(Length::Epochs(2)),
            bptt: Some(140),
            ..small_recipe()
        },
    ];
    expect_the_same_after_kills(&place, &recipes);
}

/// What each family remembers, and all that it learns, comes back from a checkpoint.
#[test]
fn every_family_resumes_with_the_same_bits_on_any_number_of_threads() {
    let families = CellKind::ALL.map(|cell| RecipeOptions {
        cell: Some(cell),
        embed: Some(12),
        hidden: Some(vec![12, 12]),
        ..small_recipe()
    });
    let place = Place::new();
    for (idx, recipe) in families.into_iter().enumerate() {
        let settings = |name: &str| Settings {
            recipe: recipe.clone(),
            ..place.settings(&format!("{idx}-{name}"))
        };
        let expected = result(&run(settings("whole")));
        let stopping = |threads| Settings {
            threads: Some(threads),
            save_every_seconds: 0.0,
            ..settings("stopped")
        };
        let stop = AtomicBool::new(false);
        let mut observer = |event: &Event| {
            if let Event::Progress(progress) = event {
                stop.store(progress.step == 11, Ordering::Relaxed);
            }
        };
        train(stopping(2), &mut observer, &stop).unwrap();
        let resumed = Settings { resume: true, ..stopping(3) };
        assert_eq!(result(&run(resumed)), expected, "{:?}", recipe.cell);
    }
}

fn expect_the_same_after_kills(place: &Place, recipes: &[RecipeOptions]) {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"killed") {
            eprintln!("{info}");
        }
    }));
    for (idx, recipe) in recipes.iter().enumerate() {
        let settings = |name: &str| Settings {
            recipe: recipe.clone(),
            ..place.settings(&format!("{idx}-{name}"))
        };
        let expected = result(&run(settings("whole")));
        let expected_record = record(&place.out(&format!("{idx}-whole")));
        let folder = ModelFolder::resume(place.out(&format!("{idx}-whole"))).unwrap();
        let is_averaged = folder.load_training().unwrap().0.parameters.has_average();
        let is_asked_for = recipe.averaging.unwrap_or_default() != Averaging::None;
        assert_eq!(is_averaged, is_asked_for, "recipe {idx} has begun its average");
        // Every event of the first two, of the others every fifth: other threads and checkpoints each time.
        for kill_at in (0..60).step_by(if idx < 2 { 1 } else { 5 }) {
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
