//! How far a run is, and when something is due: counted in steps, or on the wall clock when there is a budget.
//!
//! With epochs or steps, everything here is a function of the number of steps, so a resumed run does the same things at
//! the same steps. The wall clock decides only over checkpoints, which change nothing. With a budget the clock decides
//! over the length; the time that the end of the run will take is measured on the way and kept free.

use std::time::Instant;

use crate::position::Position;
use crate::recipe::{Length, Recipe};

/// Parts of a run after each of which the model is validated.
const VALIDATIONS: f64 = 20.0;
/// Parts of a run after each of which a line is recorded.
const RECORDS: f64 = 1000.0;
/// A checkpoint should not cost more than this part of the time.
const SAVING_SHARE: f64 = 0.04;
/// How much longer than measured the end of the run may take.
const MARGIN: f64 = 1.15;

/// The clock and the measure of a run.
#[derive(Debug)]
pub(crate) struct Pace {
    length: Length,
    validate_every: Option<u64>,
    follows_validation: bool,
    steps_per_epoch: u64,
    save_every_seconds: f64,
    started: Instant,
    /// Wall clock of the parts of the run before this one.
    before_seconds: f64,
    last_saved: Instant,
    pub costs: Costs,
}

/// What the parts of a run's end cost, in seconds, as measured last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Costs {
    pub update: f64,
    pub validation: f64,
    pub saving_run: f64,
    pub saving_model: f64,
    pub final_scores: f64,
    pub sample: f64,
}

impl Costs {
    /// From the last update to the end: a validation, a checkpoint, the model twice (as the best, and with its scores),
    /// the scores and a sample. The card and the curve take a moment.
    fn of_the_end(&self) -> f64 {
        MARGIN
            * (self.validation
                + self.saving_run
                + 2.0 * self.saving_model
                + self.final_scores
                + self.sample)
            + 0.05
    }
}

impl Pace {
    pub fn new(
        recipe: &Recipe,
        windows_per_epoch: usize,
        save_every_seconds: f64,
        started: Instant,
        position: &Position,
    ) -> Pace {
        Pace {
            length: recipe.length,
            validate_every: recipe.validate_every,
            follows_validation: recipe.schedule.follows_validation(),
            steps_per_epoch: windows_per_epoch.div_ceil(recipe.accumulate) as u64,
            save_every_seconds,
            started,
            before_seconds: position.elapsed_seconds,
            last_saved: started,
            costs: Costs::default(),
        }
    }

    /// Wall clock of the run, pauses between its parts left out.
    pub fn elapsed_seconds(&self) -> f64 {
        self.before_seconds + self.started.elapsed().as_secs_f64()
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
        (budget - self.costs.of_the_end()).max(0.2 * budget)
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
    /// the first update of a warmup and the last of a cosine are not for nothing.
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
                    && self.elapsed_seconds() + 0.5 * self.costs.update
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
                let spent = self.elapsed_seconds() - position.begun_seconds;
                spent / position.step.max(1) as f64 * total.saturating_sub(position.step) as f64
                    + self.costs.of_the_end()
            }
            _ => 0.0,
        }
    }

    /// Whether the update that led from fraction `before` to where `position` stands should be followed by a validation.
    pub fn validation_is_due(&self, before: f64, position: &Position) -> bool {
        if let Some(every) = self.validate_every {
            return position.step.is_multiple_of(every);
        }
        let has_a_budget = matches!(self.length, Length::Budget(_));
        let crossed = crosses(before, position.fraction, VALIDATIONS);
        match self.follows_validation {
            true => position.window == 0 || (has_a_budget && crossed),
            false => crossed,
        }
    }

    /// Whether that update should be followed by a line in the record.
    pub fn record_is_due(&self, before: f64, position: &Position) -> bool {
        crosses(before, position.fraction, RECORDS) || self.is_over(position)
    }

    /// Whether it is time for a checkpoint.
    pub fn saving_is_due(&self) -> bool {
        let cost = self.costs.saving_run;
        self.last_saved.elapsed().as_secs_f64() >= self.save_every_seconds.max(cost / SAVING_SHARE)
    }

    /// Takes note of a checkpoint and of what it cost.
    pub fn saved(&mut self, seconds: f64) {
        self.last_saved = Instant::now();
        self.costs.saving_run = seconds;
    }
}

/// Whether a border between `parts` equal parts lies in (before, after].
fn crosses(before: f64, after: f64, parts: f64) -> bool {
    // The hair makes step 7 of 20 count as past 7/20 whatever the rounding.
    (after * parts + 1e-9).floor() > (before * parts + 1e-9).floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_crossed_once_each() {
        for total in [1, 3, 19, 20, 21, 1000, 12_345] {
            let fraction = |step: u64| step as f64 / total as f64;
            let steps: Vec<u64> = (1..=total)
                .filter(|&step| crosses(fraction(step - 1), fraction(step), 20.0))
                .collect();
            assert_eq!(steps.len() as u64, total.min(20), "{total} steps");
            assert_eq!(*steps.last().unwrap(), total, "the last step is followed by a validation");
        }
    }
}
