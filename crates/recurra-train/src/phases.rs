//! A learning rate, and a β₁ with it, that goes from point to point: recipes that say how long each part of a run is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, check_range};

/// Phases one after the other, each from where the one before it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Where the first one begins.
    pub start: Point,
    /// The phases.
    pub phases: Vec<Phase>,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// How long it is, in any unit: what counts is its part of the sum of all.
    pub length: f64,
    /// On which way it goes to its end.
    pub curve: Curve,
    /// Where it ends.
    pub end: Point,
}

/// What a schedule decides at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Of the highest learning rate.
    pub multiple: f64,
    /// The decay of the first moment of Adam; `None` leaves it as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
}

/// The way from one point to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// A straight line.
    Linear,
    /// Half a cosine: slow at both ends.
    Cosine,
}

impl Curve {
    /// From `from` at 0 to `to` at 1.
    pub(crate) fn at(self, from: f64, to: f64, progress: f64) -> f64 {
        match self {
            Curve::Linear => from + (to - from) * progress,
            Curve::Cosine => {
                to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
        }
    }
}

impl Phases {
    /// The point at `progress`, a fraction from 0 to 1.
    pub fn at(&self, progress: f64) -> Point {
        let total: f64 = self.phases.iter().map(|phase| phase.length).sum();
        let (mut from, mut left) = (self.start, progress.max(0.0) * total);
        for &Phase { length, curve, end } in &self.phases {
            let to = Point { beta1: end.beta1.or(from.beta1), ..end };
            if left < length {
                let part = left / length;
                let beta1 = from.beta1.zip(to.beta1).map(|(from, to)| curve.at(from, to, part));
                return Point { multiple: curve.at(from.multiple, to.multiple, part), beta1 };
            }
            (from, left) = (to, left - length);
        }
        from
    }

    /// Whether it decides over β₁.
    pub fn has_beta1(&self) -> bool {
        self.start.beta1.is_some()
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] names the first number that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        let refused = |value: usize, expected: &str| Error::OutOfRange {
            name: "schedule phases".to_owned(),
            value: value.to_string(),
            expected: expected.to_owned(),
        };
        if !(1..=64).contains(&self.phases.len()) {
            return Err(refused(self.phases.len(), "1 to 64 phases after the start"));
        }
        let points = || [self.start].into_iter().chain(self.phases.iter().map(|phase| phase.end));
        let n_beta1 = points().filter(|point| point.beta1.is_some()).count();
        if n_beta1 > 0 && self.start.beta1.is_none() {
            return Err(refused(n_beta1, "β₁ of the start too, as in `phases:0.1@0.8,1=1@0.7`"));
        }
        for phase in &self.phases {
            check_range("length of a phase", phase.length, 1e-9, 1e9)?;
        }
        for point in points() {
            check_range("multiple of a phase", point.multiple, 0.0, 1.0)?;
            check_range("β₁ of a phase", point.beta1.unwrap_or(0.5), 1e-9, 0.999_999)?;
        }
        Ok(())
    }
}

/// `0.1@0.8,7.5=1@0.7,37.5=1,7.5~0`.
impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start)?;
        for Phase { length, curve, end } in &self.phases {
            let sign = if *curve == Curve::Linear { '=' } else { '~' };
            write!(f, ",{length}{sign}{end}")?;
        }
        Ok(())
    }
}

/// `0.1@0.8`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.multiple)?;
        self.beta1.map_or(Ok(()), |beta1| write!(f, "@{beta1}"))
    }
}

/// The start, and then each phase after a comma: its length, `=` for a line or `~` for half a cosine, and its end. A point is a
/// multiple of the highest rate and, behind `@`, β₁.
impl FromStr for Phases {
    type Err = Error;

    fn from_str(text: &str) -> Result<Phases, Error> {
        let number = |number: &str| {
            number.trim().parse::<f64>().map_err(|_| Error::OutOfRange {
                name: "schedule phases".to_owned(),
                value: number.to_owned(),
                expected: "a number, as in `phases:0.1@0.8,7.5=1@0.7,37.5=1,7.5~0`".to_owned(),
            })
        };
        let point = |point: &str| {
            let (multiple, beta1) = match point.split_once('@') {
                Some((multiple, beta1)) => (multiple, Some(number(beta1)?)),
                None => (point, None),
            };
            Ok::<_, Error>(Point { multiple: number(multiple)?, beta1 })
        };
        let mut parts = text.split(',');
        let start = point(parts.next().unwrap_or_default())?;
        let phase = |phase: &str| {
            let at = phase.find(['=', '~']).unwrap_or(phase.len());
            let curve = if phase[at..].starts_with('~') { Curve::Cosine } else { Curve::Linear };
            let end = phase.get(at + 1..).unwrap_or_default();
            Ok::<_, Error>(Phase { length: number(&phase[..at])?, curve, end: point(end)? })
        };
        let phases = Phases { start, phases: parts.map(phase).collect::<Result<_, Error>>()? };
        phases.check()?;
        Ok(phases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The course of the 90 epochs of AWD-LSTM with Adam: 5e-4 up to 5e-3 and back, and to 0.
    const FAST: &str = "0.1@0.8,7.5=1@0.7,37.5=1,37.5=0.1@0.8,7.5~0";

    #[test]
    fn the_published_recipe_of_ninety_epochs_is_followed() {
        let phases: Phases = FAST.parse().unwrap();
        for (epoch, rate, beta1) in [
            (0.0, 5e-4, 0.8),
            (3.75, 2.75e-3, 0.75),
            (7.5, 5e-3, 0.7),
            (30.0, 5e-3, 0.7),
            (45.0, 5e-3, 0.7),
            (63.75, 2.75e-3, 0.75),
            (82.5, 5e-4, 0.8),
            (86.25, 2.5e-4, 0.8),
            (90.0, 0.0, 0.8),
        ] {
            let Point { multiple, beta1: found } = phases.at(epoch / 90.0);
            assert!((5e-3 * multiple - rate).abs() < 1e-12, "epoch {epoch}: {multiple}");
            assert!((found.unwrap() - beta1).abs() < 1e-12, "epoch {epoch}: {found:?}");
        }
    }

    #[test]
    fn phases_read_back() {
        for text in [FAST, "1,1=0", "0,3~1,5=0.25"] {
            let phases: Phases = text.parse().unwrap();
            assert_eq!(phases.to_string(), text);
            let json = serde_json::to_string(&phases).unwrap();
            assert_eq!(serde_json::from_str::<Phases>(&json).unwrap(), phases, "{json}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "1",
            "x,1=1",
            "1,1",
            "1,=1",
            "1,1=",
            "1,0=1",
            "2,1=1",
            "1,1=nan",
            "1,1=0.5@0.8",
            "1@0,1=0",
            "1@1,1=0",
            "1@0.9,1=0@",
            "1,inf=0",
        ] {
            assert!(text.parse::<Phases>().is_err(), "{text}");
        }
    }
}
