//! What a run that is resumed may change, what it is told, and what it never overwrites.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use recurra_checkpoint::ModelFolder;
use recurra_data::Text;
use recurra_tensor::{Isa, Precision};
use recurra_train::{
    Corpus, Event, Length, Measurement, RecipeOptions, Settings, read_measurements, train,
};

use crate::place::{Place, refused, run, small_recipe};

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
    let error = refused(resume(&|recipe| recipe.learning_rate = Some(f64::NAN)));
    assert!(error.to_string().contains("`learning rate` is NaN"), "{error}");
}

/// How many scores the model of the run `a` has.
fn n_scores(place: &Place) -> usize {
    let description = ModelFolder::open(place.out("a")).unwrap().describe_model().unwrap();
    description.notes.unwrap().scores.len()
}

#[test]
fn a_score_that_is_not_measured_to_its_end_again_stays() {
    let place = Place::new();
    let long = Text::from_string("a long song", "Row, row, row your boat. ".repeat(1000));
    let settings = || Settings { corpus: Corpus::Text(long.clone()), ..place.settings("a") };
    let before = run(settings());
    let stop = AtomicBool::new(false);
    let mut n_warnings = 0;
    let mut observer = |event: &Event| match event {
        Event::Scoring { .. } => stop.store(true, Ordering::Relaxed),
        Event::Warned { .. } => n_warnings += 1,
        _ => {}
    };
    let again = Settings { resume: true, ..settings() };
    let report = train(again, &mut observer, &stop).unwrap();
    assert_eq!(n_warnings, 1, "it was scored to its end");
    assert_eq!((n_scores(&place), report.valid_score), (1, before.valid_score));
    let card = std::fs::read_to_string(place.out("a").join("README.md")).unwrap();
    assert!(!card.contains("Not scored yet"), "{card}");
}

#[test]
fn the_scores_of_a_finished_run_are_none_of_a_longer_one() {
    let place = Place::new();
    run(place.settings("a"));
    assert_eq!(n_scores(&place), 1);
    let recipe = RecipeOptions { length: Some(Length::Steps(1000)), ..RecipeOptions::default() };
    let longer = Settings { resume: true, recipe, ..place.settings("a") };
    train(longer, &mut |_: &Event| {}, &AtomicBool::new(true)).unwrap();
    assert_eq!(n_scores(&place), 0);
}

#[test]
fn a_longer_run_validates_more_and_measures_its_best_anew() {
    let place = Place::new();
    let go_on = |steps, resume| {
        let recipe = RecipeOptions {
            length: Some(Length::Steps(steps)),
            schedule: Some("constant".parse().unwrap()),
            batch: Some(1),
            bptt: Some(4),
            validate_every: None,
            ..small_recipe()
        };
        run(Settings { resume, recipe, ..place.settings("a") });
        let measurements =
            read_measurements(&place.out("a").join("training/metrics.jsonl")).unwrap();
        let mut parts = measurements.iter().filter_map(|measurement| match measurement {
            Measurement::Valid { text_part, .. } => *text_part,
            Measurement::Train { .. } => None,
        });
        let first = parts.next().unwrap();
        (first, parts.next_back().unwrap())
    };
    let (first, last) = go_on(20, false);
    assert!(first == last && first < 0.5, "{first} {last}");
    let (first, last) = go_on(300, true);
    assert!(last > 1.5 * first, "{first} {last}");
    // The best is that of the greater part: the model in the folder comes to the loss that the run holds against others.
    let (saved, _) = ModelFolder::resume(place.out("a")).unwrap().load_training().unwrap();
    let best = saved.progress["best"]["loss_nats"].as_f64().unwrap();
    let losses = read_measurements(&place.out("a").join("training/metrics.jsonl")).unwrap();
    let of_last_part = losses.iter().filter_map(|measurement| match measurement {
        Measurement::Valid { loss_nats, text_part, .. } if *text_part == Some(last) => {
            Some(*loss_nats)
        }
        _ => None,
    });
    let least = of_last_part.fold(f64::INFINITY, f64::min);
    assert!((best - least).abs() < 1e-12, "{best} {least}");
}

#[test]
fn a_run_that_is_stopped_while_it_saves_leaves_the_weights_of_then() {
    let place = Place::new();
    let (length, validate_every) = (Some(Length::Steps(10_000_000)), Some(10_000_000));
    let recipe = RecipeOptions { length, validate_every, ..place.settings("a").recipe };
    let settings = Settings { save_every_seconds: 0.0, recipe, ..place.settings("a") };
    let stop = AtomicBool::new(false);
    let mut observer = |event: &Event| {
        if let Event::Saved { step: 1.., .. } = event {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let report = train(settings, &mut observer, &stop).unwrap();
    assert!(report.valid_loss_nats.is_none(), "{report:?}");
    let saved = ModelFolder::open(place.out("a")).unwrap().load_model().unwrap();
    assert_eq!(saved.weights_sha256, report.weights_sha256);
}

#[test]
fn a_run_that_goes_on_with_another_precision_is_told_that_its_bits_will_differ() {
    let Some(isa) = Isa::best(Some(Precision::Bf16)) else {
        println!("this machine has no `bf16`: not tested");
        return;
    };
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
    let expected = format!("in f32 so far and goes on with `{isa}` in bf16");
    assert!(matches!(&warnings[..], [told] if told.contains(&expected)), "{warnings:?}");
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
fn a_run_that_could_not_save_its_beginning_leaves_the_folder_to_another() {
    for blocked in ["training/.last.safetensors.tmp", ".model.safetensors.tmp"] {
        let place = Place::new();
        // A folder under the temporary name, as good as a full disk.
        let (out, blocked) = (place.out("a"), place.out("a").join(blocked));
        fs::create_dir_all(&blocked).unwrap();
        fs::create_dir_all(out.join("training")).unwrap();
        fs::write(out.join("training/lock"), "").unwrap();
        fs::write(out.join("notes.txt"), "mine").unwrap();
        let error = refused(place.settings("a"));
        assert!(error.to_string().contains("cannot create"), "{error}");
        fs::remove_dir(&blocked).unwrap();

        let mut settings = place.settings("a");
        settings.recipe.hidden = Some(vec![5]);
        run(settings);
        assert_eq!(fs::read_to_string(out.join("notes.txt")).unwrap(), "mine");
    }
}

#[test]
fn a_model_whose_checkpoints_were_removed_is_not_overwritten_by_resuming() {
    let place = Place::new();
    run(place.settings("a"));
    let model = place.out("a/model.safetensors");
    let before = fs::read(&model).unwrap();
    for name in ["last", "previous"] {
        fs::remove_file(place.out(&format!("a/training/{name}.safetensors"))).unwrap();
    }
    let error = refused(Settings { resume: true, ..place.settings("a") });
    assert!(error.to_string().contains("holds no training state"), "{error}");
    assert!(error.hint().unwrap().contains("--out"), "{error}");
    assert!(fs::read(&model).unwrap() == before);
}

#[test]
fn a_damaged_model_of_a_finished_run_is_made_again_from_its_checkpoint() {
    // The best weights are the last ones, or ones that the checkpoint does not have.
    for learning_rate in [0.01, 0.0] {
        let place = Place::new();
        let settings = |resume| {
            let mut settings = Settings { resume, ..place.settings("a") };
            settings.recipe.learning_rate = Some(learning_rate);
            settings
        };
        let whole = run(settings(false));
        let model = place.out("a/model.safetensors");
        let bytes = fs::read(&model).unwrap();
        let mut altered = bytes.clone();
        *altered.last_mut().unwrap() ^= 1;
        for damaged in [Some(&altered[..]), Some(&bytes[..bytes.len() / 2]), None] {
            match damaged {
                Some(bytes) => fs::write(&model, bytes).unwrap(),
                None => fs::remove_file(&model).unwrap(),
            }
            let mut warnings = vec![];
            let mut observer = |event: &Event| {
                if let Event::Warned { message } = event {
                    warnings.push(message.clone());
                }
            };
            let report = train(settings(true), &mut observer, &AtomicBool::new(false)).unwrap();
            assert!(
                matches!(&warnings[..], [told] if told.ends_with("the weights of step 24 take its place")),
                "{warnings:?}"
            );
            assert_eq!(report.weights_sha256, whole.weights_sha256);
            assert_eq!(report.valid_loss_nats, whole.valid_loss_nats);
            ModelFolder::open(place.out("a")).unwrap().load_model().unwrap();
        }
    }
}
