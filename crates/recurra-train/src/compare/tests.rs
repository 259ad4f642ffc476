//! Comparisons of made-up runs: values at equal cost, what may stand side by side, and the picture.

use std::collections::BTreeMap;

use recurra_metrics::LanguageScore;
use recurra_models::LanguageModelConfig;

use super::*;
use crate::position::{Position, TextNames};
use crate::recipe::Recipe;
use crate::record::{Measurement, Record};

const SIGNATURE: &str =
    "lm|unit:char|tok:char-aa|ctx:unbounded|state:carried|data:bb|prec:f32|v:0.1.0";

fn valid(step: u64, tokens: Option<u64>, seconds: f64, bits_per_byte: f64) -> Measurement {
    let (loss_nats, text_part) = (bits_per_byte * 0.7, Some(1.0));
    Measurement::Valid {
        step,
        epoch: 0.0,
        tokens,
        seconds,
        loss_nats,
        bits_per_byte,
        text_part,
        is_best: true,
    }
}

fn train(step: u64, tokens: u64, seconds: f64, tokens_per_second: f64) -> Measurement {
    Measurement::Train {
        step,
        epoch: 0.0,
        tokens,
        seconds,
        loss_nats: 1.0,
        bits_per_byte: 1.0,
        learning_rate: 0.1,
        gradient_norm: 1.0,
        tokens_per_second,
    }
}

fn run_of(name: &str, signature: &str, measurements: Vec<Measurement>) -> ComparedRun {
    let signature: recurra_metrics::Signature = signature.parse().unwrap();
    let score = LanguageScore {
        tokens: 100,
        bytes: 100,
        words: 20,
        total_nats: 140.0,
        signature: signature.clone(),
    };
    let scores = BTreeMap::from([("validation".to_owned(), score)]);
    let record = Record { measurements, damaged_line: None };
    let model = LanguageModelConfig::new(96);
    ComparedRun::new(Path::new(name), model, record, signature, scores).unwrap()
}

/// 1,000 tokens a second, a validation every `every` seconds, falling by one bit each time that the time doubles.
fn falling(name: &str, every: u64, until: u64, bits_after_a_second: f64) -> ComparedRun {
    let validations = (1..=until / every).map(|idx| {
        let seconds = (every * idx) as f64;
        valid(idx, Some(1000 * every * idx), seconds, bits_after_a_second - seconds.log2())
    });
    run_of(name, SIGNATURE, validations.collect())
}

#[test]
fn values_are_read_where_the_shortest_run_ends() {
    let runs = vec![falling("long", 7, 700, 12.0), falling("short", 10, 100, 11.5)];
    let comparison = Comparison::of(runs).unwrap();
    let time = comparison.at_equal(Axis::Time).unwrap();
    assert_eq!((time.at, &time.best[..]), (100.0, &[1][..]));
    let [long, short] = [0, 1].map(|idx| time.values[idx].unwrap());
    // What falls straight over the logarithm is straight between two validations.
    assert!((long.bits_per_byte - (12.0 - 100f64.log2())).abs() < 1e-9, "{long:?}");
    assert!((short.bits_per_byte - (11.5 - 100f64.log2())).abs() < 1e-9, "{short:?}");
    assert_eq!((long.part_of_run, short.part_of_run), (1.0 / 7.0, 1.0));
    let flops = comparison.at_equal(Axis::Flops).unwrap();
    assert_eq!(flops.at, 100_000.0 * comparison.runs[0].flops_per_token as f64);
    assert!(comparison.notes.is_empty(), "{:?}", comparison.notes);
}

#[test]
fn a_run_that_is_validated_later_has_no_value_and_one_alone_has_no_rival() {
    let late = run_of("late", SIGNATURE, vec![valid(9, Some(9000), 500.0, 2.0)]);
    let comparison = Comparison::of(vec![falling("early", 10, 100, 9.0), late]).unwrap();
    let time = comparison.at_equal(Axis::Time).unwrap();
    assert!(time.values[0].is_some() && time.values[1].is_none() && time.best.is_empty());
    // By tokens it is the one that ends first, and was validated once.
    let tokens = comparison.at_equal(Axis::Tokens).unwrap();
    assert_eq!((tokens.at, tokens.values[1].unwrap().bits_per_byte), (9000.0, 2.0));
    assert!(tokens.values[0].is_none());
    let alone = Comparison::of(vec![falling("alone", 10, 100, 9.0)]).unwrap();
    assert!(alone.equal.iter().all(|point| point.best.is_empty() && point.values[0].is_some()));
    assert_eq!(Comparison::of(vec![]).unwrap().runs, []);
}

#[test]
fn tokens_of_an_older_record_come_from_the_lines_of_training() {
    let measurements = vec![
        train(10, 1000, 1.0, 2000.0),
        valid(10, None, 1.5, 3.0),
        train(20, 2000, 2.0, 1000.0),
        valid(25, None, 3.0, 2.0),
        train(30, 3000, 4.0, 1000.0),
        valid(33, None, 5.0, 1.5),
        // What does not go on is none of the curve.
        valid(33, None, 5.0, 9.0),
    ];
    let run = run_of("old", SIGNATURE, measurements);
    let tokens: Vec<u64> = run.curve.iter().map(|point| point.tokens).collect();
    assert_eq!(tokens, [1000, 2500, 3300]);
    assert_eq!((run.steps, run.tokens, run.seconds), (33, 3300, 5.0));
    assert_eq!(run.tokens_per_second, Some(3000.0 / 2.5));
    assert_eq!((run.best.step, run.best.bits_per_byte), (33, 1.5));
}

#[track_caller]
fn check_unlike(change: (&str, &str), message: &str, hint: &str) {
    let other = SIGNATURE.replace(change.0, change.1);
    let runs = vec![
        falling("first", 10, 100, 9.0),
        run_of("other", &other, vec![valid(1, Some(10), 1.0, 2.0)]),
    ];
    let error = Comparison::of(runs).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
}

#[test]
fn unlike_runs_are_refused_by_name_with_what_differs() {
    check_unlike(
        ("data:bb", "data:cc"),
        "`first` and `other` cannot be compared in bits per byte: `data` is `bb` in `first` and `cc` in `other`",
        "--valid",
    );
    check_unlike(("state:carried", "state:reset"), "`state` is `carried` in `first`", "same carry");
    check_unlike(("unit:char|tok:char-aa", "unit:word|tok:word-dd"), "closed vocabulary", "spell");
}

#[test]
fn other_tokens_leave_bits_per_byte_and_take_perplexity_away() {
    let bpe = SIGNATURE.replace("unit:char|tok:char-aa", "unit:bpe|tok:bpe-dd");
    let bpe = run_of("bpe", &bpe, vec![valid(1, Some(10), 1.0, 2.0)]);
    let runs = vec![falling("char", 1, 10, 9.0), bpe];
    let comparison = Comparison::of(runs).unwrap();
    assert!(!comparison.has_perplexity);
    let expected = ScoreColumn { text: "validation", has_perplexity: false };
    assert_eq!(comparison.score_columns, [expected]);
    let [note] = &comparison.notes[..] else { panic!("{:?}", comparison.notes) };
    assert!(
        note.starts_with("perplexity by token is left out, and equal tokens are not equal text: `unit` is `char` in `char`"),
        "{note}"
    );
    let same = Comparison::of(vec![falling("a", 1, 10, 9.0), falling("b", 1, 10, 9.0)]).unwrap();
    assert!(same.has_perplexity && same.score_columns[0].has_perplexity);
    assert_eq!(same.at_equal(Axis::Time).unwrap().best, [0, 1]);
}

#[test]
fn scores_of_another_part_of_the_text_are_left_out() {
    let mut part = falling("part", 10, 100, 9.0);
    part.scores.get_mut("validation").unwrap().signature.data = "half".into();
    let comparison = Comparison::of(vec![falling("whole", 10, 100, 9.0), part]).unwrap();
    assert!(comparison.score_columns.is_empty());
    assert!(comparison.notes[0].starts_with("the validation scores are left out: `data`"));
}

#[test]
fn what_a_reader_should_know_is_noted() {
    let mut run = falling("a", 10, 100, 9.0);
    (run.has_ended, run.text_part, run.damaged_line) = (false, Some(0.25), Some(7));
    run.signature.precision = "bf16".into();
    let others = ["b", "c"].map(|name| falling(name, 10, 100, 9.0));
    let comparison = Comparison::of([vec![run], others.into()].concat()).unwrap();
    for expected in [
        "the record of `a` is damaged in line 7",
        "`a` has not come to its end",
        "the validations of `a` on the way read 25 % of the text",
        "`prec` is `bf16` in `a`; `f32` in `b`, `c` (rounding",
    ] {
        let found = comparison.notes.iter().any(|note| note.starts_with(expected));
        assert!(found, "{expected}: {:?}", comparison.notes);
    }
}

/// The first tenth of two streams is another text than that of four.
#[test]
fn validations_of_different_parts_of_a_text_have_no_best() {
    let run = |name, part, windows| {
        let run = falling(name, 10, 100, 9.0);
        ComparedRun { text_part: Some(part), windows, ..run }
    };
    let has_best = |runs: [ComparedRun; 2]| {
        let comparison = Comparison::of(runs.into()).unwrap();
        let is_told = comparison.notes.iter().any(|note| note.contains("different parts"));
        let has_best = !comparison.at_equal(Axis::Time).unwrap().best.is_empty();
        assert_ne!(is_told, has_best, "{:?}", comparison.notes);
        has_best
    };
    let windows = |batch| Some([batch, 35]);
    assert!(has_best([run("a", 1.0, windows(20)), run("b", 1.0, windows(64))]));
    assert!(has_best([run("a", 0.5, windows(20)), run("b", 0.5, windows(20))]));
    let notes =
        Comparison::of(vec![run("a", 1.0, windows(20)), run("b", 1.0, None)]).unwrap().notes;
    assert!(notes.iter().any(|note| note.starts_with("the time of `b` has in it")), "{notes:?}");
    assert!(!has_best([run("a", 0.5, windows(20)), run("b", 0.5, windows(64))]));
    assert!(!has_best([run("a", 0.75, windows(20)), run("b", 0.5, windows(20))]));
    assert!(!has_best([run("a", 0.5, None), run("b", 0.5, None)]));
}

/// A rehearsal, or a text that had to be tokenised, is no part of learning.
#[test]
fn time_is_counted_from_the_first_update_and_the_way_to_the_planned_end() {
    let texts = TextNames {
        train_sha256: String::new(),
        valid_sha256: String::new(),
        train_text: String::new(),
    };
    let mut position = Position::start(Recipe::example(), texts);
    (position.begun_seconds, position.fraction) = (4.0, 0.25);
    let before = falling("a", 10, 100, 9.0);
    let run = before.clone().at(&position);
    assert_eq!((run.curve[0].seconds, run.best.seconds, run.seconds), (6.0, 96.0, 96.0));
    assert_eq!(run.part_done, 1.0, "a run that has ended");
    let run = ComparedRun { has_ended: false, ..before }.at(&position);
    let comparison = Comparison::of(vec![run, falling("b", 10, 200, 9.0)]).unwrap();
    let time = comparison.at_equal(Axis::Time).unwrap();
    let parts = [0, 1].map(|idx| time.values[idx].unwrap().part_of_run);
    assert_eq!(parts, [0.25, 0.48]);
}

#[test]
fn a_run_without_validation_and_one_given_twice_are_refused() {
    let record = Record { measurements: vec![train(5, 50, 1.0, 50.0)], damaged_line: Some(2) };
    let signature = SIGNATURE.parse().unwrap();
    let (path, model) = (Path::new("runs/new"), LanguageModelConfig::new(96));
    let error = ComparedRun::new(path, model, record, signature, BTreeMap::new()).unwrap_err();
    let expected =
        "`runs/new` was not validated in 5 steps, as far as its record is whole: line 2 is damaged";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("--out runs/new --resume"));
    let error = compare(&["none", "other", "none"]).unwrap_err();
    assert!(matches!(error, Error::GivenTwice { .. }), "{error}");
}

#[test]
fn runs_of_one_name_are_told_apart_by_their_paths() {
    let runs = ["a/x", "b/x", "b/y"].map(|name| falling(name, 10, 100, 9.0));
    let names: Vec<String> =
        Comparison::of(runs.into()).unwrap().runs.into_iter().map(|run| run.name).collect();
    assert_eq!(names, ["a/x", "b/x", "y"]);
}

#[test]
fn the_picture_has_a_panel_for_each_axis_and_a_name_for_each_line() {
    let runs = vec![falling("a <b>", 7, 700, 12.0), falling("短い名前", 10, 100, 11.5)];
    let comparison = Comparison::of(runs).unwrap();
    let svg = comparison.svg(&Axis::ALL);
    assert_eq!((svg.matches("<clipPath").count(), svg.matches("<polyline").count()), (3, 6));
    assert_eq!(svg.matches(">a &lt;b&gt;</text>").count(), 3, "{svg}");
    assert!(svg.contains("at 100 seconds, lowest: 短い名前, 4.8561"), "{svg}");
    let one = comparison.svg(&[Axis::Tokens]);
    assert_eq!((one.matches("<clipPath").count(), one.matches("million tokens").count()), (1, 0));
    assert!(one.contains("thousand tokens"), "{one}");
}

#[test]
fn every_picture_is_of_finite_numbers() {
    let many = (0..40).map(|idx| falling(&format!("run {idx}"), 10, 100, 9.0 + f64::from(idx)));
    for runs in [
        many.collect(),
        vec![run_of("once", SIGNATURE, vec![valid(1, Some(1), 1e-3, 2.0)])],
        vec![run_of("flat", SIGNATURE, (1..9).map(|n| valid(n, Some(n), n as f64, 0.0)).collect())],
        vec![run_of(
            "worse",
            SIGNATURE,
            vec![valid(1, Some(1), 1.0, 1.0), valid(2, Some(2), 2.0, 1e30)],
        )],
        vec![],
    ] {
        let svg = Comparison::of(runs).unwrap().svg(&Axis::ALL);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
