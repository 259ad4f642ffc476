//! How far a run is, and when something is due: counted in steps, or on the wall clock when there is a budget.
//!
//! With epochs or steps, everything here is a function of the number of steps, so a resumed run does the same things at
//! the same steps. The wall clock decides only over checkpoints, which change nothing. With a budget the clock decides
//! over the length; the time that the end of the run will take is kept free. It is measured on the way, again and again,
//! because a machine may be busy with something else for part of the run.

use crate::position::Position;
use crate::recipe::{Length, Recipe};

/// Parts of a run after each of which the model is validated: at most so many, and none shorter than so many updates or
/// seconds.
const VALIDATIONS: f64 = 20.0;
const STEPS_A_VALIDATION: f64 = 10.0;
const SECONDS_A_VALIDATION: f64 = 8.0;
/// Parts of a run after each of which a line is recorded.
const RECORDS: f64 = 1000.0;
/// A checkpoint should not cost more than this part of the time.
const SAVING_SHARE: f64 = 0.04;
/// A budget is not spent on validations and what they save beyond this part; on a slow disk there are fewer.
const VALIDATION_SHARE: f64 = 0.15;
/// The part of a budget that scoring the validation text at batch 1 may take; of a longer text the start is scored.
const SCORING_SHARE: f64 = 0.1;
/// The part of a budget by which the score of the whole text may be late before only its start is scored.
const LATE_SHARE: f64 = 0.02;
/// How much longer than measured the end of the run may take.
const MARGIN: f64 = 1.15;
/// The part of a budget that must be left over at its end for updates to go on.
const WORTH_GOING_ON: f64 = 0.01;

/// Seconds since some moment before; tests bring their own.
pub(crate) type Clock = Box<dyn Fn() -> f64>;

/// The clock and the measure of a run.
pub(crate) struct Pace {
    length: Length,
    validate_every: Option<u64>,
    follows_validation: bool,
    steps_per_epoch: u64,
    save_every_seconds: f64,
    clock: Clock,
    /// Wall clock and updates of the parts of the run before this one.
    before_seconds: f64,
    before_step: u64,
    last_saved: f64,
    /// Wall clock spent on validations and what they saved.
    validation_seconds: f64,
    pub costs: Costs,
}

/// What the parts of a run's end cost, as far as it was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Costs {
    pub update: Cost,
    pub validation: Cost,
    pub saving_run: Cost,
    pub saving_model: Cost,
    /// One token of a text that is scored at batch 1.
    pub scored_token: Cost,
    pub sample: Cost,
    /// Tokens of the validation text, and of all else that is read at the end.
    pub valid_tokens: f64,
    pub other_tokens: f64,
}

/// Seconds that something takes: a running mean that forgets, for a machine is as busy as it was of late; but not at once,
/// for a single measurement may have met a moment of something else.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    mean: Option<f64>,
    latest: f64,
}

impl Cost {
    const WEIGHT_OF_LATEST: f64 = 0.4;

    pub fn note(&mut self, seconds: f64) {
        let before = self.mean.unwrap_or(seconds);
        self.mean = Some(before + Self::WEIGHT_OF_LATEST * (seconds - before));
        self.latest = seconds;
    }

    /// Goes by the latest measurement alone.
    fn forget(&mut self) {
        self.mean = self.mean.map(|_| self.latest);
    }

    pub fn seconds(self) -> f64 {
        self.mean.unwrap_or(0.0)
    }
}

impl Costs {
    /// From the last update to the end: a validation, a checkpoint, the model twice (as the best, and with its scores),
    /// the scores and a sample. The card and the curve take a moment.
    fn of_the_end(&self, budget: f64) -> f64 {
        let token = self.scored_token.seconds();
        MARGIN
            * (self.validation.seconds()
                + self.saving_run.seconds()
                + 2.0 * self.saving_model.seconds()
                + (self.valid_tokens * token).min(SCORING_SHARE * budget)
                + self.other_tokens * token
                + self.sample.seconds())
            + 0.05
    }
}

impl Pace {
    pub fn new(
        recipe: &Recipe,
        windows_per_epoch: usize,
        save_every_seconds: f64,
        clock: Clock,
        position: &Position,
    ) -> Pace {
        Pace {
            length: recipe.length,
            validate_every: recipe.validate_every,
            follows_validation: recipe.follows_validation(),
            steps_per_epoch: windows_per_epoch.div_ceil(recipe.accumulate) as u64,
            save_every_seconds,
            last_saved: clock(),
            clock,
            before_seconds: position.elapsed_seconds,
            before_step: position.step,
            validation_seconds: 0.0,
            costs: Costs::default(),
        }
    }

    /// Wall clock of the run, pauses between its parts left out.
    pub fn elapsed_seconds(&self) -> f64 {
        self.before_seconds + (self.clock)()
    }

    /// Updates of the whole run, where that is known.
    pub fn steps_total(&self) -> Option<u64> {
        match self.length {
            Length::Epochs(epochs) => Some(epochs.saturating_mul(self.steps_per_epoch)),
            Length::Steps(steps) => Some(steps),
            Length::Budget(_) => None,
        }
    }

    /// The wall clock by which the last update of a budget must have ended.
    fn usable_seconds(&self, budget: f64) -> f64 {
        // At least a fifth is for learning, even where scoring would eat up the whole budget.
        (budget - self.costs.of_the_end(budget)).max(0.2 * budget)
    }

    /// The part of the run that is done, from 0 to 1.
    pub fn fraction(&self, position: &Position) -> f64 {
        let (done, whole) = match (self.length, self.steps_total()) {
            (Length::Budget(budget), _) => (
                self.elapsed_seconds() - position.begun_seconds,
                self.usable_seconds(budget) - position.begun_seconds,
            ),
            (_, Some(total)) => (position.step as f64, total as f64),
            _ => (0.0, 1.0),
        };
        // A budget that is all but used up before the first update counts as done.
        if whole > 0.0 { (done / whole).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// Where the middle of the next update lies between the run's start and its end: what the schedule goes by, so that
    /// the first update of a warmup and the last of a cosine are not for nothing. In a budget, where the end is a time, its beginning.
    pub fn schedule_progress(&self, position: &Position) -> f64 {
        match self.steps_total() {
            Some(total) => ((position.step as f64 + 0.5) / total as f64).clamp(0.0, 1.0),
            None => self.fraction(position),
        }
    }

    /// Whether no further update should be made.
    pub fn is_over(&self, position: &Position) -> bool {
        match (self.length, self.steps_total()) {
            (_, Some(total)) => position.step >= total,
            (Length::Budget(budget), None) => {
                // The first update is always made: a run without one would have nothing to show.
                position.step > 0
                    && self.elapsed_seconds() + 0.5 * self.costs.update.seconds()
                        >= self.usable_seconds(budget)
            }
            (_, None) => true,
        }
    }

    /// Wall clock that is left, as far as one can tell.
    pub fn seconds_left(&self, position: &Position) -> f64 {
        match (self.length, self.steps_total()) {
            (Length::Budget(budget), _) => (budget - self.elapsed_seconds()).max(0.0),
            (_, Some(total)) => {
                // A resumed run may go on at another speed than it had.
                let begun = position.begun_seconds.max(self.before_seconds);
                let n_steps = position.step.saturating_sub(self.before_step).max(1) as f64;
                let step_seconds = (self.elapsed_seconds() - begun) / n_steps;
                step_seconds * total.saturating_sub(position.step) as f64
                    + self.costs.of_the_end(f64::INFINITY)
            }
            _ => 0.0,
        }
    }

    /// Whether the update that led from fraction `before` to where `position` stands should be followed by a validation.
    pub fn validation_is_due(&self, before: f64, position: &Position) -> bool {
        if let Some(every) = self.validate_every {
            return position.step.is_multiple_of(every);
        }
        let (has_a_budget, parts) = match (self.length, self.steps_total()) {
            (Length::Budget(budget), _) => (true, budget / SECONDS_A_VALIDATION),
            (_, total) => (false, total.unwrap_or(0) as f64 / STEPS_A_VALIDATION),
        };
        let is_within_an_epoch =
            self.steps_total().is_some_and(|total| total < self.steps_per_epoch);
        let crossed = crosses(before, position.fraction, parts.floor().clamp(2.0, VALIDATIONS));
        let spent = self.elapsed_seconds() - position.begun_seconds;
        if has_a_budget && self.validation_seconds > VALIDATION_SHARE * spent {
            return false;
        }
        match self.follows_validation {
            true => position.window == 0 || (crossed && (has_a_budget || is_within_an_epoch)),
            false => crossed,
        }
    }

    /// Whether that update should be followed by a line in the record.
    pub fn record_is_due(&self, before: f64, position: &Position) -> bool {
        crosses(before, position.fraction, RECORDS) || self.is_over(position)
    }

    /// Whether it is time for a checkpoint.
    pub fn saving_is_due(&self) -> bool {
        let cost = self.costs.saving_run.seconds();
        (self.clock)() - self.last_saved >= self.save_every_seconds.max(cost / SAVING_SHARE)
    }

    /// Takes note of a checkpoint and of what it cost.
    pub fn saved(&mut self, seconds: f64) {
        self.last_saved = (self.clock)();
        self.costs.saving_run.note(seconds);
    }

    /// Takes note of what a validation cost with everything that it saved.
    pub fn validated(&mut self, seconds: f64) {
        self.validation_seconds += seconds;
    }

    /// Whether a run whose budget seemed to be used up may go on, now that its last validation is made and what the end
    /// takes has been measured once more: the machine may have been busier before.
    pub fn may_go_on(&mut self) -> bool {
        // What was measured a moment ago is what comes next.
        let Costs { validation, saving_run, saving_model, scored_token, .. } = &mut self.costs;
        [validation, saving_run, saving_model, scored_token].into_iter().for_each(Cost::forget);
        match self.length {
            Length::Budget(budget) => {
                self.elapsed_seconds() + WORTH_GOING_ON * budget < self.usable_seconds(budget)
            }
            _ => false,
        }
    }

    /// The part of the validation text that the time left can pay for when a token takes `token_seconds`.
    pub fn affordable_part(&self, token_seconds: f64) -> f64 {
        let Length::Budget(budget) = self.length else { return 1.0 };
        // A run that is resumed after its end is resumed for its scores.
        let least = if self.before_seconds > 0.8 * budget { SCORING_SHARE } else { LATE_SHARE };
        let left = (1.0 + LATE_SHARE) * budget
            - self.elapsed_seconds()
            - self.costs.saving_model.seconds()
            - self.costs.other_tokens * token_seconds;
        let valid_seconds = self.costs.valid_tokens * token_seconds;
        (left.max(least * budget) / valid_seconds.max(1e-9)).min(1.0)
    }
}

/// Whether a border between `parts` equal parts lies in (before, after].
fn crosses(before: f64, after: f64, parts: f64) -> bool {
    // The hair makes step 7 of 20 count as past 7/20 whatever the rounding.
    (after * parts + 1e-9).floor() > (before * parts + 1e-9).floor()
}

#[cfg(test)]
mod tests;
