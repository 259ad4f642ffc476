//! Runs that are given so much time.

use std::sync::atomic::{AtomicBool, Ordering};

use recurra_data::Text;
use recurra_tensor::{Isa, Precision};
use recurra_train::{Event, Length, RecipeOptions, Settings, StopReason, train};

use crate::place::{Place, run, small_recipe};

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
fn a_budget_with_nothing_else_asked_for_is_forecast_once_and_the_forecast_outlives_a_pause() {
    let place = Place::new();
    let forecast_of = |recipe: RecipeOptions, out, resume| {
        let stop = AtomicBool::new(false);
        let mut forecasts = vec![];
        let mut observer = |event: &Event| match event {
            Event::Forecast(forecast) => forecasts.push(forecast.bits_per_byte),
            Event::Progress(_) => stop.store(true, Ordering::Relaxed),
            _ => {}
        };
        let settings = Settings { recipe, resume, ..place.settings(out) };
        train(settings, &mut observer, &stop).unwrap();
        forecasts
    };
    let minutes = |n: f64| RecipeOptions {
        length: Some(Length::Budget(60.0 * n)),
        ..RecipeOptions::default()
    };
    let before = forecast_of(minutes(2.0), "a", false);
    assert!(matches!(before[..], [bits] if bits > 0.0 && bits < 3.0), "{before:?}");
    assert_eq!(forecast_of(minutes(2.0), "a", true), before);
    // A longer run will end otherwise.
    assert!(forecast_of(minutes(3.0), "a", true).is_empty());
    // Too short to be worth it, and a setting of whose effect nothing is known.
    assert!(forecast_of(minutes(0.5), "b", false).is_empty());
    let theirs = RecipeOptions { dropout: Some(0.5), ..minutes(2.0) };
    assert!(forecast_of(theirs, "c", false).is_empty());
}

#[test]
fn a_rehearsal_is_told_and_broken_off_where_somebody_asks() {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    let (mut rehearsals, mut forecasts) = (vec![], 0);
    let mut observer = |event: &Event| match event {
        Event::Rehearsing { seconds } => {
            rehearsals.push(*seconds);
            stop.store(true, Ordering::Relaxed);
        }
        Event::Forecast(_) => forecasts += 1,
        _ => {}
    };
    let recipe = RecipeOptions { length: Some(Length::Budget(7200.0)), ..RecipeOptions::default() };
    let report = train(Settings { recipe, ..place.settings("a") }, &mut observer, &stop).unwrap();
    assert_eq!((rehearsals, forecasts), (vec![288.0], 0));
    assert!(report.seconds < 100.0, "{} s", report.seconds);
}
