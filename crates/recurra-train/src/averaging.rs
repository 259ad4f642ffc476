//! Averages of the weights: a run that circles around a good place knows it better than any of its steps does.
//!
//! Once there is an average it is what counts: it is validated, saved as the model and scored, while training goes on with the
//! weights themselves. What is kept of it is a function of steps and validations, so a resumed run has the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_range, unknown_name};

/// Which weights are averaged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Averaging {
    /// None: the weights are what they are.
    #[default]
    None,
    /// θ̄ ← μ·θ̄ + (1−μ)·θ from the first step, corrected for its start: θ̄_n = Σ μⁿ⁻ⁱ·θ_i / Σ μⁿ⁻ⁱ.
    Exponential {
        /// μ.
        decay: f64,
    },
    /// The mean of all weights from this part of the run on (Polyak and Juditsky, 1992).
    Tail {
        /// Progress at which it begins.
        from: f64,
    },
    /// The mean of all weights since a validation was worse than the best of all but the last `interval` before it, as
    /// AWD-LSTM has it (NT-ASGD: Merity, Keskar and Socher, 2017).
    NonMonotone {
        /// n, how many validations have time to improve.
        interval: u32,
    },
}

/// What a run remembers of its average.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AverageMemory {
    /// Weights that are in it.
    pub n: u64,
    /// Whether a non-monotone average has begun.
    pub has_begun: bool,
    /// The validation losses so far, as long as they decide over the beginning of one.
    pub losses: Vec<f64>,
}

/// The names that [`Averaging::from_str`] knows.
const NAMES: [&str; 4] = ["none", "exponential", "tail", "non-monotone"];

impl Averaging {
    /// By how much of its distance to the weights the average follows after a step that begins at `progress`, a fraction from
    /// 0 to 1; `None` where the weights are not averaged. With w it is θ̄ ← θ̄ + w·(θ − θ̄).
    pub fn weight(&self, progress: f64, memory: &AverageMemory) -> Option<f64> {
        let n = memory.n + 1;
        match *self {
            Averaging::None => None,
            Averaging::Exponential { decay } => {
                Some((1.0 - decay) / (1.0 - decay.powi(n.min(i32::MAX as u64) as i32)))
            }
            // What has begun goes on, wherever a new length puts the run.
            Averaging::Tail { from } => (memory.n > 0 || progress >= from).then(|| 1.0 / n as f64),
            Averaging::NonMonotone { .. } => memory.has_begun.then(|| 1.0 / n as f64),
        }
    }

    /// Takes note of a validation: a non-monotone average may begin.
    pub fn observe(&self, valid_loss: f64, memory: &mut AverageMemory) {
        let Averaging::NonMonotone { interval } = *self else { return };
        if memory.has_begun {
            return;
        }
        let AverageMemory { losses, has_begun, .. } = memory;
        let n_before = losses.len().saturating_sub(interval as usize);
        *has_begun = losses[..n_before].iter().any(|&before| valid_loss > before);
        losses.push(valid_loss);
        if *has_begun {
            losses.clear();
        }
    }

    /// Whether it depends on validation, which then has to happen once an epoch.
    pub fn follows_validation(&self) -> bool {
        matches!(self, Averaging::NonMonotone { .. })
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first number that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Averaging::None => Ok(()),
            Averaging::Exponential { decay } => {
                check_range("averaging decay", decay, 0.0, 0.999_999_999)
            }
            Averaging::Tail { from } => check_range("averaging from", from, 0.0, 0.999_999),
            Averaging::NonMonotone { interval } => {
                check_range("averaging interval", f64::from(interval), 1.0, 1e6)
            }
        }
    }
}

impl fmt::Display for Averaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Averaging::None => write!(f, "none"),
            Averaging::Exponential { decay } => write!(f, "exponential:{decay}"),
            Averaging::Tail { from } => write!(f, "tail:{from}"),
            Averaging::NonMonotone { interval } => write!(f, "non-monotone:{interval}"),
        }
    }
}

/// `NAME` or `NAME:number`; a number left out takes its default.
impl FromStr for Averaging {
    type Err = Error;

    fn from_str(text: &str) -> Result<Averaging, Error> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let refused = |expected: &str| Error::OutOfRange {
            name: "averaging".to_owned(),
            value: text.to_owned(),
            expected: expected.to_owned(),
        };
        let or = |default: f64| match number {
            Some(number) => {
                number.trim().parse().map_err(|_| refused(&format!("a number after `{name}:`")))
            }
            None => Ok(default),
        };
        let averaging = match name {
            "none" if number.is_none() => Averaging::None,
            "none" => return Err(refused("no number after `none`")),
            "exponential" => Averaging::Exponential { decay: or(0.999)? },
            "tail" => Averaging::Tail { from: or(0.75)? },
            "non-monotone" => {
                let interval = or(5.0)?;
                check_range("averaging interval", interval, 1.0, 1e6)?;
                if interval.fract() != 0.0 {
                    return Err(refused("a whole number after `non-monotone:`"));
                }
                Averaging::NonMonotone { interval: interval as u32 }
            }
            _ => return Err(unknown_name("averaging", name, &NAMES)),
        };
        averaging.check()?;
        Ok(averaging)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stored_forms_read_back() {
        for (text, expected) in [
            ("none", "none"),
            ("exponential", "exponential:0.999"),
            ("tail", "tail:0.75"),
            ("tail:0", "tail:0"),
            ("non-monotone", "non-monotone:5"),
            ("non-monotone:3", "non-monotone:3"),
        ] {
            let averaging: Averaging = text.parse().unwrap();
            assert_eq!(averaging.to_string(), expected);
            let json = serde_json::to_string(&averaging).unwrap();
            assert_eq!(serde_json::from_str::<Averaging>(&json).unwrap(), averaging, "{json}");
        }
        for text in [
            "none:1",
            "exponential:1",
            "tail:x",
            "tail:1",
            "non-monotone:0",
            "non-monotone:2.5",
            "mean",
        ] {
            assert!(text.parse::<Averaging>().unwrap_err().hint().is_some(), "{text}");
        }
        assert_eq!(
            "tails".parse::<Averaging>().unwrap_err().hint().unwrap(),
            "did you mean `tail`? known: none, exponential, tail, non-monotone"
        );
    }

    /// The average of 1, 2, 3, …, each after one step.
    fn averages(averaging: Averaging, progress: impl Fn(u64) -> f64) -> Vec<f64> {
        let (mut memory, mut mean) = (AverageMemory::default(), 0.0);
        let after = |step: u64| {
            if let Some(weight) = averaging.weight(progress(step), &memory) {
                mean += weight * (step as f64 - mean);
                memory.n += 1;
            }
            mean
        };
        (1..=6).map(after).collect()
    }

    #[test]
    fn an_exponential_average_is_corrected_for_its_start() {
        let decay = 0.7;
        for (found, n) in averages(Averaging::Exponential { decay }, |_| 0.0).into_iter().zip(1..) {
            let weights: Vec<f64> = (1..=n).map(|i| decay.powi(n - i)).collect();
            let sum: f64 = weights.iter().zip(1..).map(|(weight, x)| weight * f64::from(x)).sum();
            let exact = sum / weights.iter().sum::<f64>();
            assert!((found - exact).abs() < 1e-12, "{n}: {found} for {exact}");
        }
    }

    #[test]
    fn a_tail_is_the_mean_from_there_on_even_if_the_run_becomes_longer() {
        let progress = |step| [0.0, 0.2, 0.4, 0.6, 0.3, 0.5][step as usize - 1];
        let found = averages(Averaging::Tail { from: 0.6 }, progress);
        assert_eq!(found, [0.0, 0.0, 0.0, 4.0, 4.5, 5.0]);
        assert_eq!(averages(Averaging::None, progress), [0.0; 6]);
    }

    #[test]
    fn a_non_monotone_average_begins_where_the_published_loop_switches() {
        // The condition of AWD-LSTM as it stands there: `len(best) > n and loss > min(best[:-n])`, then `best.append(loss)`.
        let losses = [5.0, 4.0, 4.5, 4.4, 4.3, 4.2, 4.1, 3.9, 3.95, 3.96, 3.97, 3.98, 4.2];
        for interval in [1, 2, 5] {
            let averaging = Averaging::NonMonotone { interval };
            let (mut memory, mut best) = (AverageMemory::default(), Vec::<f64>::new());
            let mut has_switched = false;
            for loss in losses {
                assert_eq!(averaging.weight(0.5, &memory).is_some(), has_switched, "{interval}");
                let n = interval as usize;
                let before = best[..best.len().saturating_sub(n)].iter().copied();
                has_switched |= best.len() > n && loss > before.fold(f64::INFINITY, f64::min);
                best.push(loss);
                averaging.observe(loss, &mut memory);
            }
            assert!(has_switched && memory.has_begun, "{interval}");
        }
    }
}
