//! Which numbers of which runs may stand side by side, as their signatures say.

use std::collections::BTreeMap;

use recurra_metrics::{Difference, Field, Incomparable, LanguageScore, Quantity, Signature};
use serde::Serialize;

use super::compared_run::ComparedRun;
use crate::corpus::SCORED_ROLES;
use crate::error::Error;

/// A score that may stand beside that of the other runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScoreColumn {
    /// `validation` or `test`.
    pub text: &'static str,
    /// Whether perplexities by token may too, not only bits per byte.
    pub has_perplexity: bool,
}

/// Refuses runs whose validations on the way cannot be compared.
///
/// That each can be compared with the first is enough: text, context and carry are equal or not, and a closed vocabulary
/// stands beside itself only.
pub(super) fn expect_comparable(runs: &[ComparedRun]) -> Result<(), Error> {
    let [first, rest @ ..] = runs else { return Ok(()) };
    for other in rest {
        let compared = first.signature.comparable_in(Quantity::BitsPerByte, &other.signature);
        compared.map_err(|unlike| Error::Unlike {
            first: first.name.clone(),
            other: other.name.clone(),
            unlike: Box::new(unlike),
        })?;
    }
    Ok(())
}

/// A validation reads the whole text, as a table rounds it.
pub(super) const WHOLE: f64 = 0.995;

/// Whether the validations on the way read the same of their text; if not, why. The first windows of several streams are another
/// text with other windows or more of them.
pub(super) fn read_alike(runs: &[ComparedRun]) -> Result<(), String> {
    let read = |run: &ComparedRun| (run.text_part.unwrap_or(1.0), run.windows);
    let is_whole = |run: &ComparedRun| read(run).0 >= WHOLE;
    let are_equal = runs.iter().all(|run| {
        let ((part, windows), (first, first_windows)) = (read(run), read(&runs[0]));
        (part - first).abs() < 1.0 - WHOLE && windows.is_some() && windows == first_windows
    });
    match runs.iter().all(is_whole) || are_equal {
        true => Ok(()),
        false => Err("none is called the least at equal cost: validations on the way read different parts of the text; `--valid-every` makes them read all of it".to_owned()),
    }
}

/// What is told where the time of some runs counts from their first update and that of others from before.
pub(super) fn clocks(runs: &[ComparedRun]) -> Option<String> {
    let without: Vec<String> = runs
        .iter()
        .filter(|run| run.windows.is_none())
        .map(|run| format!("`{}`", run.name))
        .collect();
    (!without.is_empty() && without.len() < runs.len()).then(|| {
        format!(
            "the time of {} has in it what came before the first update, as there is no checkpoint to tell how much that was",
            without.join(", ")
        )
    })
}

/// Whether losses and perplexities by token of the validations on the way may stand side by side; if not, why.
pub(super) fn has_perplexity(runs: &[ComparedRun]) -> Result<(), String> {
    let signatures = runs.iter().map(|run| (run, &run.signature));
    side_by_side(signatures, Quantity::TokenPerplexity).map_err(|why| {
        format!("perplexity by token is left out, and equal tokens are not equal text: {why}")
    })
}

/// The scores at the end that may stand side by side, and why others may not.
pub(super) fn score_columns(runs: &[ComparedRun], notes: &mut Vec<String>) -> Vec<ScoreColumn> {
    let mut columns = Vec::new();
    for text in SCORED_ROLES {
        let scored: Vec<(&ComparedRun, &LanguageScore)> =
            runs.iter().filter_map(|run| Some((run, run.scores.get(text)?))).collect();
        if scored.is_empty() {
            continue;
        }
        let signatures = || scored.iter().map(|(run, score)| (*run, &score.signature));
        match side_by_side(signatures(), Quantity::BitsPerByte) {
            Ok(()) => {
                let in_perplexity = side_by_side(signatures(), Quantity::TokenPerplexity);
                columns.push(ScoreColumn { text, has_perplexity: in_perplexity.is_ok() });
            }
            Err(why) => notes.push(format!("the {text} scores are left out: {why}")),
        }
    }
    columns
}

/// What differs between the runs without forbidding the comparison, with the runs of each value.
pub(super) fn caveats(runs: &[ComparedRun]) -> Vec<String> {
    let [first, rest @ ..] = runs else { return vec![] };
    let found = rest.iter().flat_map(|other| first.signature.caveats(&other.signature));
    let mut fields: Vec<(Field, &'static str)> = Vec::new();
    for Difference { field, reason, .. } in found {
        if !fields.iter().any(|(other, _)| *other == field) {
            fields.push((field, reason));
        }
    }
    let told = |(field, reason): (Field, &'static str)| {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for run in runs {
            names.entry(run.signature.value(field)).or_default().push(format!("`{}`", run.name));
        }
        let each = names.iter().map(|(value, names)| format!("`{value}` in {}", names.join(", ")));
        format!("`{field}` is {} ({reason})", each.collect::<Vec<_>>().join("; "))
    };
    fields.into_iter().map(told).collect()
}

fn side_by_side<'a>(
    mut signed: impl Iterator<Item = (&'a ComparedRun, &'a Signature)>,
    quantity: Quantity,
) -> Result<(), String> {
    let Some((first, ours)) = signed.next() else { return Ok(()) };
    for (other, theirs) in signed {
        ours.comparable_in(quantity, theirs)
            .map_err(|unlike| all_told(&unlike, &first.name, &other.name))?;
    }
    Ok(())
}

/// Every difference between two runs.
pub(crate) fn all_told(unlike: &Incomparable, first: &str, other: &str) -> String {
    let differences = unlike.differences.iter().map(|difference| told(difference, first, other));
    differences.collect::<Vec<_>>().join("; ")
}

fn told(difference: &Difference, first: &str, other: &str) -> String {
    let Difference { field, ours, theirs, reason } = difference;
    format!("`{field}` is `{ours}` in `{first}` and `{theirs}` in `{other}` ({reason})")
}
