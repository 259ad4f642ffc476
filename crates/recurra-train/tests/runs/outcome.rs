//! What a run leaves behind, how it ends, and which texts it refuses.

use std::fs;
use std::sync::atomic::AtomicBool;

use recurra_checkpoint::ModelFolder;
use recurra_data::Text;
use recurra_data::storybook::Language;
use recurra_train::{
    Corpus, Error, Event, Length, OptimizerSettings, RecipeOptions, Settings, StopReason, train,
};

use crate::place::{Place, record, refused, run, small_recipe, song};

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
fn the_average_is_what_is_validated_saved_and_scored() {
    let place = Place::new();
    let recipe = RecipeOptions { averaging: Some("tail:0.5".parse().unwrap()), ..small_recipe() };
    let report = run(Settings { recipe, ..place.settings("a") });
    let folder = ModelFolder::resume(place.out("a")).unwrap();
    let training = folder.load_training().unwrap().0;
    assert_eq!(training.progress["average"]["n"], 12);
    assert_eq!(training.progress["best"]["step"], 24, "the last average is the best");
    let (weights, model) = (&training.parameters, folder.load_model().unwrap());
    for id in weights.ids() {
        let name = weights.name(id);
        assert_eq!(model.parameters.value(id), weights.average(id), "{name}");
        assert_ne!(weights.value(id), weights.average(id), "{name}");
    }
    assert_eq!(report.weights_sha256, model.weights_sha256);
    // Scored as one stream, validated as three: near, not the same.
    let validated = training.progress["best"]["loss_nats"].as_f64().unwrap();
    assert!((report.valid_loss_nats.unwrap() / validated - 1.0).abs() < 0.05);
}

/// At a rate of 30, gates of a network whose output layer knows the frequencies already are shut by the first steps.
#[test]
fn plain_gradient_descent_begins_with_half_the_log_frequencies() {
    let place = Place::new();
    let bias = |name, optimizer: OptimizerSettings| {
        let recipe = RecipeOptions {
            optimizer: Some(optimizer),
            learning_rate: Some(1e-9),
            length: Some(Length::Steps(1)),
            ..small_recipe()
        };
        run(Settings { recipe, ..place.settings(name) });
        let folder = ModelFolder::open(place.out(name)).unwrap();
        let parameters = folder.load_model().unwrap().parameters;
        let id = parameters.ids().find(|&id| parameters.name(id) == "output.bias").unwrap();
        parameters.value(id).to_vec()
    };
    let frequencies = bias("adam", OptimizerSettings::adam());
    let sum: f32 = frequencies.iter().map(|ln| ln.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    let check = |name, optimizer, power: f32| {
        for (&found, &ln) in bias(name, optimizer).iter().zip(&frequencies) {
            assert!((found - power * ln).abs() < 1e-4, "{name}: {found}, expected {power} · {ln}");
        }
    };
    check("sgd", OptimizerSettings::sgd(), 0.5);
    check("muon", OptimizerSettings::muon(), 1.0);
}

#[test]
fn divergence_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let place = Place::new();
    let recipe = RecipeOptions {
        optimizer: Some(OptimizerSettings::sgd()),
        schedule: Some("linear:0.5".parse().unwrap()),
        learning_rate: Some(1e6),
        clip: Some(0.0),
        cell: Some("rnn-relu".parse().unwrap()),
        length: Some(Length::Steps(200)),
        ..small_recipe()
    };
    let error = refused(Settings { recipe, save_every_seconds: 0.0, ..place.settings("a") });
    let Error::Diverged { step, kept_step, .. } = error else { panic!("{error}") };
    assert!(step > kept_step, "{error}");
    // A quarter of the rate that was asked for, wherever the schedule stood.
    assert!(
        error.hint().unwrap().contains("lower the learning rate (from 1000000 to, say, 250000)")
    );
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
