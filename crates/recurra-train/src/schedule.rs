//! The learning rate over a run: a pure function of progress, and for the plateau rule of what validation has shown.
//!
//! Progress is a fraction from 0 to 1: of the steps, or of the wall clock when the run has a budget. Nothing here
//! counts calls, so a resumed run goes on with exactly the rate that it would have had.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_range, unknown_name};
use crate::phases::{Curve, Phases};

/// How the learning rate falls after the warmup. Everything is a multiple of the rate that the user set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Decay {
    /// Always the same rate.
    Constant,
    /// Divided by `factor` once at progress `after`, and again each `every` later (Zaremba, Sutskever and Vinyals, 2014).
    Step {
        /// Progress at which the first division happens.
        after: f64,
        /// Progress between two divisions.
        every: f64,
        /// Divisor.
        factor: f64,
    },
    /// A straight line from 1 down to `floor`.
    Linear {
        /// The last multiple.
        floor: f64,
    },
    /// The full rate, and in the last part `decay` a straight line down to `floor`: with a warmup a trapezoid, or warmup,
    /// stable, decay (Zhai and others, 2022; Hu and others, 2024).
    Trapezoid {
        /// The part that falls.
        decay: f64,
        /// The last multiple.
        floor: f64,
    },
    /// Half a cosine from 1 down to `floor` (Loshchilov and Hutter, 2017).
    Cosine {
        /// The last multiple.
        floor: f64,
    },
    /// Up to the full rate at progress `peak_at`, then down, both as half cosines (Smith and Topin, 2019).
    OneCycle {
        /// Progress at which the rate is highest.
        peak_at: f64,
        /// Multiple at the start.
        start: f64,
        /// Multiple at the end.
        end: f64,
    },
    /// Divided by `factor` whenever a validation does not improve on the best before it, as PyTorch's
    /// `word_language_model` example does with a factor of 4.
    Plateau {
        /// Divisor.
        factor: f64,
    },
    /// From point to point, and β₁ of Adam with it.
    Phases(Phases),
}

/// The names that [`Schedule::from_str`] knows.
const NAMES: [&str; 8] =
    ["constant", "step", "linear", "trapezoid", "cosine", "one-cycle", "plateau", "phases"];

/// A decay, and before it a linear warmup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// What comes after the warmup.
    pub decay: Decay,
    /// Fraction of the run over which the rate rises linearly from 0; the decay has the rest of the run to itself.
    pub warmup: f64,
}

/// What the plateau rule remembers of the validations so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PlateauMemory {
    /// Lowest validation loss so far.
    pub best: Option<f64>,
    /// How often the rate has been divided.
    pub divisions: u32,
}

impl PlateauMemory {
    /// Takes note of a validation loss: an improvement becomes the best, anything else divides the rate once more.
    pub fn observe(&mut self, valid_loss: f64) {
        match self.best {
            Some(best) if valid_loss >= best => self.divisions += 1,
            _ => self.best = Some(valid_loss),
        }
    }
}

impl Schedule {
    /// A decay without warmup.
    pub fn new(decay: Decay) -> Schedule {
        Schedule { decay, warmup: 0.0 }
    }

    /// The multiple of the base rate at `progress`, a fraction from 0 to 1 (anything outside is taken as the nearer end).
    ///
    /// With a warmup w: p / w for p < w, then decay((p − w) / (1 − w)).
    pub fn multiple(&self, progress: f64, memory: &PlateauMemory) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        match progress < self.warmup {
            true => progress / self.warmup * self.decay_at(0.0, memory),
            false => self.decay_at(self.after_warmup(progress), memory),
        }
    }

    /// β₁ of Adam at `progress`, where the schedule decides over it.
    pub fn beta1(&self, progress: f64) -> Option<f64> {
        match &self.decay {
            Decay::Phases(phases) => phases.at(self.after_warmup(progress.clamp(0.0, 1.0))).beta1,
            _ => None,
        }
    }

    /// Whether the schedule decides over β₁ of Adam.
    pub fn has_beta1(&self) -> bool {
        matches!(&self.decay, Decay::Phases(phases) if phases.has_beta1())
    }

    /// How much of what comes after the warmup is done.
    fn after_warmup(&self, progress: f64) -> f64 {
        let rest = 1.0 - self.warmup;
        if rest > 0.0 { ((progress - self.warmup) / rest).max(0.0) } else { 1.0 }
    }

    fn decay_at(&self, progress: f64, memory: &PlateauMemory) -> f64 {
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Step { after, .. } if progress < after => 1.0,
            Decay::Step { after, every, factor } => {
                // A hair is added, so that 12/39 counts as two steps of 3/39 after 6/39 whatever the rounding.
                let divisions = 1.0 + ((progress - after) / every + 1e-9).floor();
                factor.powf(-divisions)
            }
            Decay::Linear { floor } => Curve::Linear.at(1.0, floor, progress),
            Decay::Trapezoid { decay, .. } if progress < 1.0 - decay => 1.0,
            Decay::Trapezoid { decay, floor } => {
                Curve::Linear.at(1.0, floor, 1.0 - (1.0 - progress) / decay)
            }
            Decay::Cosine { floor } => Curve::Cosine.at(1.0, floor, progress),
            Decay::OneCycle { peak_at, start, .. } if progress < peak_at => {
                Curve::Cosine.at(start, 1.0, progress / peak_at)
            }
            Decay::OneCycle { peak_at, end, .. } => {
                Curve::Cosine.at(1.0, end, (progress - peak_at) / (1.0 - peak_at))
            }
            Decay::Phases(ref phases) => phases.at(progress).multiple,
            Decay::Plateau { factor } => factor.powi(-(memory.divisions.min(1000) as i32)),
        }
    }

    /// Whether the rate depends on validation, which then has to happen once an epoch.
    pub fn follows_validation(&self) -> bool {
        matches!(self.decay, Decay::Plateau { .. })
    }

    /// Whether the rate depends on how long the run is.
    pub fn follows_length(&self) -> bool {
        self.warmup > 0.0 || !matches!(self.decay, Decay::Constant | Decay::Plateau { .. })
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first number that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        check_range("warmup", self.warmup, 0.0, 1.0)?;
        match self.decay {
            Decay::Linear { floor } => check_range("schedule floor", floor, 0.0, 1.0),
            Decay::Trapezoid { decay, floor } => check_range("schedule decay", decay, 1e-6, 1.0)
                .and(check_range("schedule floor", floor, 0.0, 1.0)),
            Decay::Phases(ref phases) => phases.check(),
            Decay::Constant => Ok(()),
            Decay::Step { after, every, factor } => check_range("schedule after", after, 0.0, 1.0)
                .and(check_range("schedule every", every, 1e-6, 1.0))
                .and(check_range("schedule factor", factor, 1.0, 1e6)),
            Decay::Cosine { floor } => check_range("schedule floor", floor, 0.0, 1.0),
            Decay::OneCycle { peak_at, start, end } => {
                check_range("schedule peak", peak_at, 0.0, 0.999)
                    .and(check_range("schedule start", start, 0.0, 1.0))
                    .and(check_range("schedule end", end, 0.0, 1.0))
            }
            Decay::Plateau { factor } => check_range("schedule factor", factor, 1.0, 1e6),
        }
    }
}

/// The numbers of a decay, in the order in which its text names them.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decay {
            Decay::Constant => write!(f, "constant")?,
            Decay::Linear { floor } => write!(f, "linear:{floor}")?,
            Decay::Trapezoid { decay, floor } => write!(f, "trapezoid:{decay},{floor}")?,
            Decay::Phases(phases) => write!(f, "phases:{phases}")?,
            Decay::Step { after, every, factor } => write!(f, "step:{after},{every},{factor}")?,
            Decay::Cosine { floor } => write!(f, "cosine:{floor}")?,
            Decay::OneCycle { peak_at, start, end } => {
                write!(f, "one-cycle:{peak_at},{start},{end}")?
            }
            Decay::Plateau { factor } => write!(f, "plateau:{factor}")?,
        }
        if self.warmup > 0.0 { write!(f, "+warmup:{}", self.warmup) } else { Ok(()) }
    }
}

/// `NAME`, `NAME:number,…` and either with `+warmup:fraction` after it; numbers left out take their defaults. After `phases:`
/// stand its phases.
impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Schedule, Error> {
        let (decay, warmup) = match text.split_once("+warmup:") {
            Some((decay, warmup)) => (decay, parse_number("warmup", warmup)?),
            None => (text, 0.0),
        };
        let (name, numbers) = decay.split_once(':').unwrap_or((decay, ""));
        if name == "phases" {
            let schedule = Schedule { decay: Decay::Phases(numbers.parse()?), warmup };
            return schedule.check().map(|()| schedule);
        }
        let numbers = match numbers {
            "" => vec![],
            _ => numbers
                .split(',')
                .map(|n| (!n.trim().is_empty()).then(|| parse_number(name, n)).transpose())
                .collect::<Result<Vec<Option<f64>>, Error>>()?,
        };
        let number =
            |idx: usize, default: f64| numbers.get(idx).copied().flatten().unwrap_or(default);
        let (decay, n_numbers) = match name {
            "constant" => (Decay::Constant, 0),
            "step" => (
                Decay::Step {
                    after: number(0, 0.5),
                    every: number(1, 0.1),
                    factor: number(2, 2.0),
                },
                3,
            ),
            "linear" => (Decay::Linear { floor: number(0, 0.0) }, 1),
            "trapezoid" => (Decay::Trapezoid { decay: number(0, 0.2), floor: number(1, 0.0) }, 2),
            "cosine" => (Decay::Cosine { floor: number(0, 0.0) }, 1),
            "one-cycle" => (
                Decay::OneCycle {
                    peak_at: number(0, 0.3),
                    start: number(1, 0.04),
                    end: number(2, 0.0001),
                },
                3,
            ),
            "plateau" => (Decay::Plateau { factor: number(0, 4.0) }, 1),
            _ => return Err(unknown_name("schedule", name, &NAMES)),
        };
        if numbers.len() > n_numbers {
            return Err(Error::OutOfRange {
                name: "schedule".to_owned(),
                value: text.to_owned(),
                expected: format!("at most {n_numbers} numbers after `{name}:`"),
            });
        }
        let schedule = Schedule { decay, warmup };
        schedule.check()?;
        Ok(schedule)
    }
}

fn parse_number(name: &str, text: &str) -> Result<f64, Error> {
    text.trim().parse().map_err(|_| Error::OutOfRange {
        name: name.to_owned(),
        value: text.to_owned(),
        expected: "a number".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, progress: f64, expected: f64) {
        let schedule: Schedule = schedule.parse().unwrap();
        let multiple = schedule.multiple(progress, &PlateauMemory::default());
        assert!(
            (multiple - expected).abs() < 1e-9,
            "{schedule} at {progress}: {multiple}, expected {expected}"
        );
        assert_eq!(schedule, schedule.to_string().parse().unwrap(), "its text reads back");
    }

    #[test]
    fn every_decay_at_its_corners() {
        check("constant", 0.7, 1.0);
        check("linear", 0.25, 0.75);
        check("linear:0.1", 1.0, 0.1);
        check("trapezoid", 0.79, 1.0);
        check("trapezoid:0.2", 0.9, 0.5);
        check("trapezoid:1,0.5", 0.5, 0.75);
        check("trapezoid:0.5+warmup:0.2", 0.1, 0.5);
        check("trapezoid:0.5+warmup:0.2", 0.5, 1.0);
        check("trapezoid:0.5+warmup:0.2", 0.8, 0.5);
        check("phases:0.1@0.8,1=1@0.7,4=1,4=0.1@0.8,1~0", 0.05, 0.55);
        check("phases:0.1,1=1,1=0+warmup:0.5", 0.25, 0.05);
        check("phases:0.1,1=1,1=0+warmup:0.5", 0.75, 1.0);
        check("cosine", 0.0, 1.0);
        check("cosine", 0.5, 0.5);
        check("cosine:0.1", 1.0, 0.1);
        check("cosine:0.1", 7.0, 0.1);
        check("one-cycle:0.25,0.04,0", 0.0, 0.04);
        check("one-cycle:0.25,0.04,0", 0.125, 0.52);
        check("one-cycle:0.25,0.04,0", 0.25, 1.0);
        check("one-cycle:0.25,0.04,0", 0.625, 0.5);
        check("one-cycle:0.25,0.04,0", 1.0, 0.0);
        check("cosine+warmup:0.2", 0.1, 0.5);
        check("cosine+warmup:0.2", 0.6, 0.5);
        check("constant+warmup:1", 1.0, 1.0);
        check("step:,,3", 0.5, 1.0 / 3.0); // what is left out takes its default, wherever it stands
        check("one-cycle:,,0.1", 0.3, 1.0);
        check("one-cycle:,,0.1", 1.0, 0.1);
        check("step:0.5,0.25,2", 0.49, 1.0);
        check("step:0.5,0.25,2", 0.5, 0.5);
        check("step:0.5,0.25,2", 0.8, 0.25);
        check("step:0.5,0.25,2", 1.0, 0.125);
    }

    #[test]
    fn beta1_follows_phases_and_nothing_else() {
        let schedule: Schedule = "phases:0.1@0.8,1=1@0.6,1=0+warmup:0.5".parse().unwrap();
        assert!(schedule.has_beta1());
        for (progress, expected) in [(0.0, 0.8), (0.5, 0.8), (0.625, 0.7), (0.75, 0.6), (1.0, 0.6)]
        {
            assert!((schedule.beta1(progress).unwrap() - expected).abs() < 1e-12, "{progress}");
        }
        for schedule in ["cosine", "phases:0.1,1=1"] {
            let schedule: Schedule = schedule.parse().unwrap();
            assert_eq!((schedule.has_beta1(), schedule.beta1(0.5)), (false, None));
        }
    }

    #[test]
    fn step_follows_the_published_recipe_of_zaremba() {
        // 39 epochs, rate 1 for six, then divided by 1.2 after each further one.
        let schedule =
            Schedule::new(Decay::Step { after: 6.0 / 39.0, every: 1.0 / 39.0, factor: 1.2 });
        for epoch in 0..39 {
            let published = 1.2f64.powi(-(epoch - 5).max(0));
            let ours = schedule.multiple(epoch as f64 / 39.0, &PlateauMemory::default());
            assert!((ours - published).abs() < 1e-9, "epoch {epoch}: {ours} {published}");
        }
    }

    #[test]
    fn plateau_divides_as_the_published_loop_does() {
        // The rule of word_language_model, written as it stands there: best starts at none, equal does not count as better.
        let losses = [5.0, 4.5, 4.6, 4.4, 4.4, 4.39, 4.5, 4.45];
        let (mut rate, mut best) = (20.0f64, None::<f64>);
        let mut memory = PlateauMemory::default();
        let schedule: Schedule = "plateau:4".parse().unwrap();
        for loss in losses {
            if best.is_none() || loss < best.unwrap() {
                best = Some(loss)
            } else {
                rate /= 4.0
            }
            memory.observe(loss);
            assert!((20.0 * schedule.multiple(0.3, &memory) - rate).abs() < 1e-12);
        }
        assert_eq!(memory, PlateauMemory { best: Some(4.39), divisions: 4 });
    }

    #[test]
    fn bad_texts_are_refused_with_a_remedy() {
        assert_eq!(
            "cosin".parse::<Schedule>().unwrap_err().hint().unwrap(),
            "did you mean `cosine`? known: constant, step, linear, trapezoid, cosine, one-cycle, plateau, phases"
        );
        for text in [
            "cosine:x",
            "cosine:2",
            "plateau:0.5",
            "cosine:0.1,0.2",
            "constant+warmup:2",
            "cosine:nan",
            "step:0.1,0,2",
            "linear:-1",
            "trapezoid:0",
            "phases",
            "phases:1",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
