//! Runs side by side: at equal time, equal tokens or equal arithmetic, as numbers and as a picture.
//!
//! What is compared are the validations on the way, in bits a byte, which do not depend on the tokenizer. They are read
//! where the shortest run ends, from the straight line between two validations over the logarithm of what was spent.

mod compared_run;
mod curve;
mod fairness;
mod picture;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use compared_run::ComparedRun;
pub use curve::{Axis, CurvePoint};
pub use fairness::ScoreColumn;
pub(crate) use fairness::all_told;
pub use picture::PICTURE_TITLE;

use crate::error::Error;
use curve::value_at;

/// Runs that may stand side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The runs, in the order given.
    pub runs: Vec<ComparedRun>,
    /// The runs where each had spent as much as the others, by every axis.
    pub equal: Vec<EqualPoint>,
    /// Whether losses and perplexities by token may stand side by side, not only bits per byte.
    pub has_perplexity: bool,
    /// The scores at the end that may stand side by side.
    pub score_columns: Vec<ScoreColumn>,
    /// What whoever reads the numbers should know.
    pub notes: Vec<String>,
}

/// The runs where each had spent as much as the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EqualPoint {
    /// What was spent.
    pub axis: Axis,
    /// How much of it: what the least had spent at its last validation.
    pub at: f64,
    /// Each run there, in order; `None` where a run was not validated until then.
    pub values: Vec<Option<EqualValue>>,
    /// The runs with the least bits a byte, by their places; none where there is nobody to compare with, or where their
    /// validations read different parts of the text.
    pub best: Vec<usize>,
}

/// A run where others had spent as much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EqualValue {
    /// Validation, in bits a byte.
    pub bits_per_byte: f64,
    /// How much of its own way the run had gone, up to 1.
    pub part_of_run: f64,
}

/// Puts runs side by side, the folders that training made; a run may be in progress.
///
/// ```no_run
/// use recurra_train::{Axis, compare};
///
/// let comparison = compare(&["runs/lstm", "runs/gru"])?;
/// let point = comparison.at_equal(Axis::Time).expect("every axis is there");
/// for (run, value) in comparison.runs.iter().zip(&point.values) {
///     println!("{} after {} s: {:?}", run.name, point.at, value.map(|value| value.bits_per_byte));
/// }
/// std::fs::write("compare.svg", comparison.svg(&Axis::ALL))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When a folder holds no run, a damaged one, or one that was not validated yet; when one is given twice; and when what the
/// runs measured is not alike ([`Error::Unlike`]).
pub fn compare<P: AsRef<Path>>(paths: &[P]) -> Result<Comparison, Error> {
    refuse_twins(paths)?;
    let runs = paths.iter().map(|path| ComparedRun::open(path.as_ref()));
    Comparison::of(runs.collect::<Result<_, _>>()?)
}

impl Comparison {
    /// The comparison of runs that have been read.
    fn of(mut runs: Vec<ComparedRun>) -> Result<Comparison, Error> {
        tell_apart(&mut runs);
        fairness::expect_comparable(&runs)?;
        let mut notes: Vec<String> = runs.iter().flat_map(notes_of).collect();
        notes.extend(fairness::caveats(&runs));
        notes.extend(fairness::clocks(&runs));
        let perplexity = fairness::has_perplexity(&runs);
        let has_perplexity = perplexity.is_ok();
        notes.extend(perplexity.err());
        let score_columns = fairness::score_columns(&runs, &mut notes);
        let alike = fairness::read_alike(&runs);
        let equal = Axis::ALL.map(|axis| EqualPoint::of(&runs, axis, alike.is_ok())).into();
        notes.extend(alike.err());
        Ok(Comparison { runs, equal, has_perplexity, score_columns, notes })
    }

    /// The runs at equal time, tokens or arithmetic.
    pub fn at_equal(&self, axis: Axis) -> Option<&EqualPoint> {
        self.equal.iter().find(|point| point.axis == axis)
    }

    /// A picture of the validations on the way: bits a byte over each of `axes`, a line for each run.
    pub fn svg(&self, axes: &[Axis]) -> String {
        picture::draw(self, axes)
    }
}

impl EqualPoint {
    fn of(runs: &[ComparedRun], axis: Axis, are_alike: bool) -> EqualPoint {
        let end = |run: &ComparedRun| run.curve.last().map_or(0.0, |point| axis.of(point));
        let at = runs.iter().map(end).fold(f64::INFINITY, f64::min);
        let value = |run: &ComparedRun| {
            let bits_per_byte = value_at(&run.curve, axis, at)?;
            let part_of_run = (at / end(run)).min(1.0) * run.part_done;
            Some(EqualValue { bits_per_byte, part_of_run })
        };
        let values: Vec<Option<EqualValue>> = runs.iter().map(value).collect();
        let known = || values.iter().enumerate().filter_map(|(idx, v)| Some((idx, (*v)?)));
        let least = known().map(|(_, value)| value.bits_per_byte).fold(f64::INFINITY, f64::min);
        let best = match known().count() {
            0 | 1 => vec![],
            _ if !are_alike => vec![],
            _ => known().filter(|(_, v)| v.bits_per_byte == least).map(|(idx, _)| idx).collect(),
        };
        EqualPoint { axis, at, values, best }
    }
}

/// What is to be known about one run.
fn notes_of(run: &ComparedRun) -> Vec<String> {
    let name = &run.name;
    let mut notes = Vec::new();
    if let Some(line) = run.damaged_line {
        notes.push(format!(
            "the record of `{name}` is damaged in line {line}; what follows there is left out"
        ));
    }
    if !run.has_ended {
        notes
            .push(format!("`{name}` has not come to its end: this is what it has recorded so far"));
    }
    if let Some(part) = run.text_part.filter(|part| *part < fairness::WHOLE) {
        let part = (100.0 * part).round().max(1.0);
        notes.push(format!("the validations of `{name}` on the way read {part} % of the text"));
    }
    notes
}

/// Gives runs whose folders have the same name their paths as names.
fn tell_apart(runs: &mut [ComparedRun]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in runs {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = run.path.display().to_string();
        }
    }
}

fn refuse_twins<P: AsRef<Path>>(paths: &[P]) -> Result<(), Error> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(idx) = seen.iter().position(|other| *other == whole) {
            let first = paths[idx].as_ref().to_owned();
            return Err(Error::GivenTwice { first, again: path.to_owned() });
        }
        seen.push(whole);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
