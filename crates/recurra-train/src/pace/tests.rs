//! Borders, and budgets on machines that are busy with something else for part of the run: a simulated clock.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::choose::{CorpusFacts, choose};
use crate::position::TextNames;
use crate::recipe::RecipeOptions;
use crate::speed::Assumed;

#[test]
fn borders_are_crossed_once_each() {
    for total in [1, 3, 19, 20, 21, 1000, 12_345] {
        let fraction = |step: u64| step as f64 / total as f64;
        let steps: Vec<u64> =
            (1..=total).filter(|&step| crosses(fraction(step - 1), fraction(step), 20.0)).collect();
        assert_eq!(steps.len() as u64, total.min(20), "{total} steps");
        assert_eq!(*steps.last().unwrap(), total, "the last step is followed by a validation");
    }
}

#[test]
fn the_latest_measurement_weighs_most() {
    let mut cost = Cost::default();
    assert_eq!(cost.seconds(), 0.0);
    cost.note(4.0);
    assert_eq!(cost.seconds(), 4.0);
    (0..5).for_each(|_| cost.note(1.0));
    assert!(cost.seconds() > 1.0 && cost.seconds() < 1.3, "{}", cost.seconds());
}

/// Seconds that the parts of a run take on a machine that does nothing else.
#[derive(Clone, Copy)]
struct Work {
    update: f64,
    validation: f64,
    saving: f64,
    token: f64,
    valid_tokens: f64,
}

/// tiny-shakespeare by character on two cores, about.
const USUAL: Work =
    Work { update: 0.023, validation: 0.25, saving: 0.05, token: 40e-6, valid_tokens: 111_540.0 };

/// A machine whose work takes `load(t)` times as long as it would alone, t in parts of the budget.
struct Machine {
    now: Rc<Cell<f64>>,
    budget: f64,
    load: fn(f64) -> f64,
}

impl Machine {
    /// Works, in slices that are short beside any change of the load, and returns how long it took.
    fn work(&self, seconds: f64) -> f64 {
        let started = self.now.get();
        let n_slices = (seconds / 0.05).ceil().max(1.0);
        for _ in 0..n_slices as usize {
            let now = self.now.get();
            self.now.set(now + seconds / n_slices * (self.load)(now / self.budget));
        }
        self.now.get() - started
    }
}

/// What a run with a budget came to.
#[derive(Debug)]
struct Ended {
    seconds: f64,
    scored_part: f64,
    n_validations: usize,
}

/// The loop of a run and its end, with work that only takes time.
fn run(budget: f64, work: Work, load: fn(f64) -> f64) -> Ended {
    let options =
        RecipeOptions { length: Some(Length::Budget(budget)), ..RecipeOptions::default() };
    let recipe = choose(&options, &CorpusFacts::SHAKESPEARE, &Assumed(60e9)).unwrap().recipe;
    let now = Rc::new(Cell::new(0.0));
    let machine = Machine { now: now.clone(), budget, load };
    let mut position = Position::start(recipe.clone(), TextNames::default());
    let mut pace = Pace::new(&recipe, 500, 30.0, Box::new(move || now.get()), &position);

    machine.work(0.3); // text, tokens, model
    position.begun_seconds = pace.elapsed_seconds();
    let measure_scoring = |pace: &mut Pace| {
        let token_seconds = machine.work(1024.0 * work.token) / 1024.0;
        pace.costs.scored_token.note(token_seconds);
        token_seconds
    };
    let save = |pace: &mut Pace| {
        let seconds = machine.work(work.saving);
        pace.saved(seconds);
        pace.costs.saving_model.note(machine.work(work.saving / 3.0));
    };
    let validate = |pace: &mut Pace| {
        let started = machine.now.get();
        pace.costs.validation.note(machine.work(work.validation));
        measure_scoring(pace);
        save(pace);
        pace.validated(machine.now.get() - started);
    };
    pace.costs.valid_tokens = work.valid_tokens;
    pace.costs.validation.note(20.0 * machine.work(work.validation / 20.0));
    measure_scoring(&mut pace);
    save(&mut pace);
    let (mut n_validations, mut furthest) = (0, 0.0f64);
    loop {
        if pace.is_over(&position) {
            validate(&mut pace);
            n_validations += 1;
            if !pace.may_go_on() {
                break;
            }
        }
        pace.costs.update.note(machine.work(work.update));
        position.step += 1;
        position.fraction = pace.fraction(&position);
        let is_due = pace.validation_is_due(furthest, &position);
        furthest = furthest.max(position.fraction);
        if is_due {
            validate(&mut pace);
            n_validations += 1;
        }
    }
    let token_seconds = measure_scoring(&mut pace);
    let scored_part = pace.affordable_part(token_seconds);
    machine.work(scored_part * work.valid_tokens * work.token + work.saving / 3.0);
    Ended { seconds: machine.now.get(), scored_part, n_validations }
}

#[track_caller]
fn check(load: fn(f64) -> f64) {
    for budget in [60.0, 180.0, 600.0] {
        let ended = run(budget, USUAL, load);
        let late = ended.seconds / budget - 1.0;
        assert!(late.abs() <= 0.05, "{:.1} % late: {ended:?} of {budget}", 100.0 * late);
        assert!(ended.scored_part > 0.3, "{ended:?} of {budget}");
        assert!(ended.n_validations >= 3, "{ended:?} of {budget}");
    }
}

/// After which of so many steps a run whose rate follows validation is validated.
fn validated_steps(steps: u64, steps_per_epoch: usize) -> Vec<u64> {
    let options = RecipeOptions {
        length: Some(Length::Steps(steps)),
        schedule: Some("plateau:4".parse().unwrap()),
        ..RecipeOptions::default()
    };
    let recipe = choose(&options, &CorpusFacts::SHAKESPEARE, &Assumed(60e9)).unwrap().recipe;
    let mut position = Position::start(recipe.clone(), TextNames::default());
    let pace = Pace::new(&recipe, steps_per_epoch, 30.0, Box::new(|| 0.0), &position);
    (1..=steps)
        .filter(|&step| {
            let before = position.fraction;
            position.step = step;
            position.window = step as usize % steps_per_epoch;
            position.fraction = pace.fraction(&position);
            pace.validation_is_due(before, &position)
        })
        .collect()
}

#[test]
fn a_rate_that_follows_validation_gets_one_an_epoch_and_some_within_the_only_one() {
    assert_eq!(validated_steps(1000, 300), [300, 600, 900]);
    assert_eq!(validated_steps(300, 300), [300]);
    let within = validated_steps(299, 300);
    assert!(within.len() > 1 && within.last() == Some(&299), "{within:?}");
}

#[test]
fn a_budget_is_kept_on_a_quiet_machine() {
    check(|_| 1.0);
    assert_eq!(run(180.0, USUAL, |_| 1.0).scored_part, 1.0);
}

#[test]
fn a_budget_is_kept_where_the_machine_is_busy_for_part_of_the_time() {
    check(|_| 4.0);
    check(|t| if t < 0.5 { 4.0 } else { 1.0 });
    check(|t| if t > 0.5 { 4.0 } else { 1.0 });
    check(|t| if t < 0.85 { 5.0 } else { 1.0 }); // what was kept free for the end is too much
    check(|t| if (t * 7.0).fract() < 0.4 { 4.0 } else { 1.0 });
}

#[test]
fn a_budget_is_kept_where_single_moments_take_very_long() {
    // One slice in fifty is taken away for ten times as long, as by something that wakes up now and then.
    check(|t| {
        if (t * 1e6).to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < (1 << 32) / 50 {
            10.0
        } else {
            1.5
        }
    });
}

#[test]
fn a_slow_disk_does_not_eat_a_budget() {
    let ended = run(60.0, Work { saving: 2.0, ..USUAL }, |_| 1.0);
    assert!((ended.seconds - 60.0).abs() <= 3.0, "{ended:?}");
    assert!((2..=5).contains(&ended.n_validations), "{ended:?}");
}

#[test]
fn of_a_long_validation_text_the_start_is_scored() {
    let ended = run(60.0, Work { valid_tokens: 10e6, ..USUAL }, |_| 1.0);
    assert!((ended.seconds - 60.0).abs() <= 3.0, "{ended:?}");
    let affordable = 0.1 * 60.0 / (10e6 * USUAL.token);
    assert!((0.7..1.4).contains(&(ended.scored_part / affordable)), "{ended:?}, {affordable}");
}
