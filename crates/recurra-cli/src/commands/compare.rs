//! `recurra compare`: runs side by side at equal time, equal tokens or equal arithmetic.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use recurra::metrics::LanguageScore;
use recurra::metrics::readable::{self, fixed};
use recurra::train::{Axis, ComparedRun, Comparison, EqualPoint, PICTURE_TITLE, compare};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

/// Put runs side by side at equal time, tokens or FLOPs: a table, and a picture of bits per byte over each
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // a folder may have such a name
pub struct Compare {
    /// Folders of the runs; one in progress is compared as far as it is
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// What the runs have spent alike [default: each of the three]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "time|tokens|flops")]
    at: Option<At>,
    /// File for the picture
    #[arg(long, value_name = "FILE", default_value = "compare.svg")]
    out: PathBuf,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
}

/// What runs have spent alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum At {
    /// Wall clock.
    Time,
    /// Tokens trained on.
    Tokens,
    /// Floating-point operations of training.
    Flops,
}

/// The comparison, and where its picture is.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    svg: String,
}

impl Compare {
    /// Reads the runs, tells how they compare, draws.
    pub fn run(self) -> Result<(), Failure> {
        refuse_to_overwrite(&self.out)?;
        let mut comparison = compare(&self.runs)?;
        let axes = self.axes();
        comparison.equal.retain(|point| axes.contains(&point.axis));
        tell!("{}", for_people(&comparison));
        let svg = comparison.svg(&axes);
        fs::write(&self.out, svg).map_err(|error| cannot_write(&self.out, &error.to_string()))?;
        tell_line!("picture: `{}`", self.out.display());
        let report = Report { comparison: &comparison, svg: self.out.display().to_string() };
        if self.json { output::write_json(&report) } else { Ok(()) }
    }

    fn axes(&self) -> Vec<Axis> {
        match self.at {
            None => Axis::ALL.into(),
            Some(At::Time) => vec![Axis::Time],
            Some(At::Tokens) => vec![Axis::Tokens],
            Some(At::Flops) => vec![Axis::Flops],
        }
    }
}

/// A file that is no picture of a comparison is not lost.
fn refuse_to_overwrite(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(cannot_write(path, "it is a folder"));
    }
    if !path.is_file() {
        return Ok(());
    }
    let mut start = Vec::new();
    let is_read = File::open(path).and_then(|file| file.take(1024).read_to_end(&mut start)).is_ok();
    let start = String::from_utf8_lossy(&start);
    match is_read && (start.is_empty() || start.contains(PICTURE_TITLE)) {
        true => Ok(()),
        false => Err(cannot_write(path, "it holds something else than a picture of a comparison")),
    }
}

fn cannot_write(path: &Path, why: &str) -> Failure {
    let message = format!("cannot write the picture to `{}`: {why}", path.display());
    Failure::of_data(message, "name another place for the picture with --out FILE")
}

fn for_people(comparison: &Comparison) -> String {
    let mut text = what_they_are(comparison).aligned();
    text.push('\n');
    text += &how_good_they_are(comparison).aligned();
    let has = |what: &dyn Fn(&EqualPoint, usize) -> bool| {
        let each = |point| (0..comparison.runs.len()).any(|idx| what(point, idx));
        comparison.equal.iter().any(each)
    };
    let legend = [
        (has(&|point, idx| point.best.contains(&idx)), "*: the least at equal cost"),
        (
            has(&is_on_its_way),
            "%: how much of its run was done there, so its learning rate may have to come down yet",
        ),
        (has(&|point, idx| point.values[idx].is_none()), "–: validated later only"),
    ];
    let shown: Vec<&str> =
        legend.iter().filter(|(is_shown, _)| *is_shown).map(|(_, words)| *words).collect();
    if !shown.is_empty() {
        text += &format!("{}\n", shown.join("; "));
    }
    for note in &comparison.notes {
        text += &format!("note: {note}\n");
    }
    text
}

/// Sizes and costs of the runs.
fn what_they_are(comparison: &Comparison) -> Table {
    let mut table = Table::default();
    let runs = &comparison.runs;
    let mut column = |head: &str, side, cell: &dyn Fn(&ComparedRun) -> String| {
        table.columns.push((side, [head, ""].map(str::to_owned), runs.iter().map(cell).collect()));
    };
    column("run", Side::Left, &|run| run.name.clone());
    column("model", Side::Left, &ComparedRun::sizes);
    column("unit", Side::Left, &|run| run.signature.unit.clone());
    column("parameters", Side::Right, &|run| readable::rounded(run.parameters as f64));
    column("tokens/s", Side::Right, &|run| run.tokens_per_second.map_or(none(), readable::rounded));
    column("tokens", Side::Right, &|run| readable::rounded(run.tokens as f64));
    column("FLOPs", Side::Right, &|run| readable::rounded(run.flops));
    column("time", Side::Right, &|run| readable::duration(run.seconds));
    table
}

/// Validations on the way, scores at the end, and bits a byte at equal cost.
fn how_good_they_are(comparison: &Comparison) -> Table {
    let runs = &comparison.runs;
    let mut table = Table::default();
    let mut column = |heads: [&str; 2], side, cells: Vec<String>| {
        table.columns.push((side, heads.map(str::to_owned), cells));
    };
    let each = |cell: &dyn Fn(&ComparedRun) -> String| runs.iter().map(cell).collect::<Vec<_>>();
    let score = |text: &str, value: fn(&LanguageScore) -> f64, decimals: usize| {
        each(&|run| run.scores.get(text).map_or(none(), |score| fixed(value(score), decimals)))
    };
    column(["run", "bits per byte"], Side::Left, each(&|run| run.name.clone()));
    column(["best", "on the way"], Side::Right, each(&|run| fixed(run.best.bits_per_byte, 4)));
    if comparison.has_perplexity {
        let perplexity = each(&|run| fixed(run.best.loss_nats.exp(), 2));
        column(["perplexity", "on the way"], Side::Right, perplexity);
    }
    for scored in &comparison.score_columns {
        let bits = score(scored.text, LanguageScore::bits_per_byte, 4);
        column([scored.text, "at the end"], Side::Right, bits);
        if scored.has_perplexity {
            let perplexity = score(scored.text, LanguageScore::perplexity, 2);
            column(["perplexity", "at the end"], Side::Right, perplexity);
        }
    }
    for point in &comparison.equal {
        let spent = match point.axis {
            Axis::Time => format!("of {}", readable::duration(point.at)),
            Axis::Tokens | Axis::Flops => format!("of {}", readable::rounded(point.at)),
        };
        let cells = (0..runs.len()).map(|idx| equal_cell(point, idx)).collect();
        column([&format!("equal {}", point.axis), &spent], Side::Left, cells);
    }
    table
}

/// `1.2345 *`, `1.3456   50 %`.
fn equal_cell(point: &EqualPoint, idx: usize) -> String {
    let Some(value) = point.values[idx] else { return none() };
    let star = if point.best.contains(&idx) { " *" } else { "" };
    let part = match is_on_its_way(point, idx) {
        true => format!(" {:.0} %", 100.0 * value.part_of_run),
        false => String::new(),
    };
    format!("{}{star}{part}", fixed(value.bits_per_byte, 4))
}

/// Whether a run had a good part of its way before it.
fn is_on_its_way(point: &EqualPoint, idx: usize) -> bool {
    point.values[idx].is_some_and(|value| value.part_of_run < 0.95)
}

fn none() -> String {
    "–".to_owned()
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Left,
    Right,
}

/// Columns, each with two lines of heads.
#[derive(Debug, Default)]
struct Table {
    columns: Vec<(Side, [String; 2], Vec<String>)>,
}

impl Table {
    fn aligned(&self) -> String {
        let width = |text: &String| text.chars().count();
        let has_second = self.columns.iter().any(|(_, heads, _)| !heads[1].is_empty());
        let n_heads = if has_second { 2 } else { 1 };
        let n_cells = self.columns.first().map_or(0, |(_, _, cells)| cells.len());
        let mut lines = vec![String::new(); n_heads + n_cells];
        for (idx, (side, heads, cells)) in self.columns.iter().enumerate() {
            let all = || heads[..n_heads].iter().chain(cells);
            let widest = all().map(width).max().unwrap_or(0);
            for (line, cell) in lines.iter_mut().zip(all()) {
                let room = " ".repeat(widest - width(cell));
                let gap = if idx == 0 { "" } else { "  " };
                *line += &match side {
                    Side::Left => format!("{gap}{cell}{room}"),
                    Side::Right => format!("{gap}{room}{cell}"),
                };
            }
        }
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}
