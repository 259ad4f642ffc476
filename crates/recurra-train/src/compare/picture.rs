//! Runs side by side as an SVG picture: a panel for each axis, a line for each run, its name at the line's end.
//!
//! What was spent is drawn by its logarithm, over which validations fall about straight. A panel shows what came after the
//! shortest run had spent a sixteenth of its own; lines enter it from above. A dashed line marks where all have spent the
//! same.

use super::compared_run::ComparedRun;
use super::curve::{Axis, CurvePoint, value_at};
use super::{Comparison, EqualPoint};
use crate::svg::{Anchor, Style, Svg, shortened, tick_label, ticks, width_of};

/// What a picture of a comparison calls itself, in its first line.
pub const PICTURE_TITLE: &str = "validation of runs, bits per byte";

const WIDTH: f64 = 880.0;
const LEFT: f64 = 66.0;
/// From the top of the picture to the top of the first panel, from there to the next, and what is below the last.
const HEAD: f64 = 84.0;
const BETWEEN: f64 = 100.0;
const FOOT: f64 = 58.0;
/// The least height of a panel, and the room of a name in it.
const LEAST_HEIGHT: f64 = 250.0;
const NAME_HEIGHT: f64 = 18.0;
/// The widest that a margin of names may be.
const WIDEST_MARGIN: f64 = 300.0;
/// From the end of the plot to a name: room for a line between the two; and from the widest name to the edge.
const TO_NAME: f64 = 36.0;
const TO_EDGE: f64 = 16.0;
const WIDEST_NAME: f64 = WIDEST_MARGIN - TO_NAME - TO_EDGE;
/// The least distance of two numbers below a panel.
const TICK_DISTANCE: f64 = 46.0;
/// The part of what the shortest run had spent in the end from which on a panel shows all runs.
const SHOWN_FROM: f64 = 1.0 / 16.0;

/// Colours that stay apart for all kinds of sight (Okabe and Ito 2008), darker or lighter than theirs where a page asks for it.
const N_COLORS: usize = 7;
/// Runs of one colour differ by dashes.
const N_DASHES: usize = 4;
const STYLE: Style<'_> = Style {
    light: ".run{stroke-width:2.2px}.lead{stroke-width:1px;opacity:.8;stroke-dasharray:1.5 2.5}.equal{stroke:#57606a;stroke-dasharray:5 4}\
.s0{stroke:#0072b2}.s1{stroke:#d55e00}.s2{stroke:#00896a}.s3{stroke:#b4558c}.s4{stroke:#b07d00}.s5{stroke:#3aa0dc}.s6{stroke:#57606a}\
.f0{fill:#0072b2}.f1{fill:#d55e00}.f2{fill:#00896a}.f3{fill:#b4558c}.f4{fill:#b07d00}.f5{fill:#3aa0dc}.f6{fill:#57606a}\
.d1{stroke-dasharray:7 3}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:9 3 2 3}",
    dark: ".equal{stroke:#9da7b3}\
.s0{stroke:#4aa3e0}.s1{stroke:#f0803c}.s2{stroke:#2fc79a}.s3{stroke:#e08fbf}.s4{stroke:#e6b93c}.s5{stroke:#9ad4f5}.s6{stroke:#b1bac4}\
.f0{fill:#4aa3e0}.f1{fill:#f0803c}.f2{fill:#2fc79a}.f3{fill:#e08fbf}.f4{fill:#e6b93c}.f5{fill:#9ad4f5}.f6{fill:#b1bac4}",
};

/// Draws a comparison.
pub(super) fn draw(comparison: &Comparison, axes: &[Axis]) -> String {
    let names: Vec<String> =
        comparison.runs.iter().map(|run| shortened(&run.name, WIDEST_NAME)).collect();
    let widest = names.iter().map(|name| width_of(name)).fold(0.0, f64::max);
    let right = WIDTH - (TO_NAME + widest + TO_EDGE).clamp(90.0, WIDEST_MARGIN);
    let height = LEAST_HEIGHT.max(NAME_HEIGHT * (names.len() as f64 + 1.0));
    let bottom = HEAD + axes.len() as f64 * (height + BETWEEN) - BETWEEN;
    let mut svg = Svg::new(PICTURE_TITLE, WIDTH, bottom + FOOT, STYLE);
    svg.words(
        (LEFT - 42.0, 30.0),
        Anchor::Start,
        "title",
        "Validation, bits per byte: lower is better",
    );
    for (idx, &axis) in axes.iter().enumerate() {
        let top = HEAD + idx as f64 * (height + BETWEEN);
        let name = format!("plot{idx}");
        let panel = Panel::new(comparison, axis, (LEFT, top), (right, top + height));
        svg.clip(&name, (LEFT, top), (right + 4.0, top + height));
        panel.grid(&mut svg);
        panel.heading(&mut svg, comparison);
        panel.lines(&mut svg, &comparison.runs, &name);
        panel.names(&mut svg, &comparison.runs, &names);
    }
    svg.finish()
}

/// A unit in which numbers of an axis are short, and how many of the axis' own it is.
struct Unit {
    name: &'static str,
    size: f64,
}

impl Unit {
    fn for_end(axis: Axis, end: f64) -> Unit {
        let units: &[(&str, f64)] = match axis {
            Axis::Time => &[("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0)],
            Axis::Tokens => &[
                ("tokens", 1.0),
                ("thousand tokens", 1e3),
                ("million tokens", 1e6),
                ("billion tokens", 1e9),
            ],
            Axis::Flops => &[
                ("FLOPs", 1.0),
                ("million FLOPs", 1e6),
                ("billion FLOPs", 1e9),
                ("trillion FLOPs (10¹²)", 1e12),
                ("quadrillion FLOPs (10¹⁵)", 1e15),
                ("quintillion FLOPs (10¹⁸)", 1e18),
            ],
        };
        // The largest of which the end has some.
        let fitting = units.iter().rev().find(|(_, size)| end >= 2.0 * size);
        let &(name, size) = fitting.unwrap_or(&units[0]);
        Unit { name, size }
    }
}

/// One axis: its place on the page and the range that it shows.
struct Panel {
    axis: Axis,
    unit: Unit,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    /// What was spent at the left and the right.
    first: f64,
    last: f64,
    /// Bits a byte at the bottom and the top.
    low: f64,
    high: f64,
    /// Where all have spent the same.
    equal: f64,
}

impl Panel {
    fn new(
        comparison: &Comparison,
        axis: Axis,
        (left, top): (f64, f64),
        (right, bottom): (f64, f64),
    ) -> Panel {
        let curves = || comparison.runs.iter().map(|run| run.curve.as_slice());
        let points = || curves().flatten();
        let last = points().map(|point| axis.of(point)).fold(0.0, f64::max);
        let equal = comparison.at_equal(axis).map_or(last, |point| point.at);
        let low = points().map(|point| point.bits_per_byte).fold(f64::INFINITY, f64::min);
        // Every run as it is in the end, and where the picture of it begins.
        let shown_from = |curve: &[CurvePoint]| {
            let from = curve.first().map_or(equal, |first| axis.of(first).max(SHOWN_FROM * equal));
            let end = curve.last().map(|point| point.bits_per_byte);
            [value_at(curve, axis, from), end].into_iter().flatten().fold(low, f64::max)
        };
        let highest = curves().map(shown_from).fold(low, f64::max);
        let margin = (0.06 * (highest - low)).max(1e-3 * low.abs()).max(1e-6);
        let (low, high) = ((low - margin).max(0.0), highest + margin);
        let enters = |curve: &[CurvePoint]| enters_below(curve, axis, high);
        let first = curves().filter_map(enters).fold(last, f64::min);
        // A single validation has no width.
        let (first, last) = match first < 0.999 * last {
            true => (first, last),
            false => (last / 2.0, last * 2.0),
        };
        let unit = Unit::for_end(axis, last);
        Panel { axis, unit, left, top, right, bottom, first, last, low, high, equal }
    }

    fn x(&self, spent: f64) -> f64 {
        self.left
            + (self.right - self.left) * (spent / self.first).ln() / (self.last / self.first).ln()
    }

    fn y(&self, bits: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * (bits - self.low) / (self.high - self.low)
    }

    fn place(&self, point: &CurvePoint) -> (f64, f64) {
        (self.x(self.axis.of(point)), self.y(point.bits_per_byte))
    }

    /// Lines and numbers: bits a byte on the left, what was spent below.
    fn grid(&self, svg: &mut Svg) {
        let Panel { left, top, right, bottom, .. } = *self;
        let (places, spacing) = ticks(self.low, self.high, 6);
        for bits in places {
            let y = self.y(bits);
            svg.path("grid", format_args!("M{left} {y:.1}H{right:.1}"));
            svg.words((left - 8.0, y + 5.0), Anchor::End, "text", &tick_label(bits, spacing));
        }
        for spent in self.spent_ticks() {
            let x = self.x(spent * self.unit.size);
            svg.path("grid", format_args!("M{x:.1} {top}V{bottom}"));
            svg.path("axis", format_args!("M{x:.1} {bottom}v5"));
            svg.words((x, bottom + 21.0), Anchor::Middle, "text", &short(spent));
        }
        svg.path("axis", format_args!("M{left} {top}V{bottom}H{right:.1}"));
        svg.words(((left + right) / 2.0, bottom + 43.0), Anchor::Middle, "quiet", self.unit.name);
    }

    /// Round numbers of the unit: 1, 2 and 5 times powers of ten, fewer where they would touch, evenly spaced ones where
    /// there are no three of those.
    fn spent_ticks(&self) -> Vec<f64> {
        let (first, last) = (self.first / self.unit.size, self.last / self.unit.size);
        let lowest = first.log10().floor() as i32;
        for multiples in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
            let tens = (lowest..=lowest + 18).map(|power| 10f64.powi(power));
            let places: Vec<f64> = tens
                .flat_map(|ten| multiples.iter().map(move |multiple| multiple * ten))
                .filter(|place| (first * 0.9999..=last * 1.0001).contains(place))
                .collect();
            if places.len() < 3 {
                break;
            }
            if self.are_apart(&places) {
                return places;
            }
        }
        (1..=8)
            .rev()
            .map(|n| ticks(first, last, n).0)
            .find(|places| self.are_apart(places))
            .unwrap_or_default()
    }

    fn are_apart(&self, places: &[f64]) -> bool {
        let x = |place: f64| self.x(place * self.unit.size);
        places.windows(2).all(|pair| x(pair[1]) - x(pair[0]) >= TICK_DISTANCE)
    }

    /// The mark where all have spent the same, and above the panel who is lowest there, where that can be said.
    fn heading(&self, svg: &mut Svg, comparison: &Comparison) {
        let Panel { left, top, bottom, .. } = *self;
        svg.words(
            (left - 42.0, top - 16.0),
            Anchor::Start,
            "strong",
            &format!("over {}", self.axis),
        );
        let are_several = |point: &&EqualPoint| point.values.iter().flatten().count() > 1;
        let Some(point) = comparison.at_equal(self.axis).filter(are_several) else { return };
        let x = self.x(self.equal);
        svg.path("equal", format_args!("M{x:.1} {top}V{bottom}"));
        let unit = Unit::for_end(self.axis, self.equal);
        let at = short(round_to(self.equal / unit.size, 3));
        let unit = unit.name.split(" (").next().unwrap_or_default();
        let lowest = |best: usize, name: String| {
            let bits = point.values[best].map_or(f64::NAN, |value| value.bits_per_byte);
            format!(", lowest: {name}, {bits:.4}")
        };
        let lowest = match point.best[..] {
            [] => String::new(),
            [only] => lowest(only, shortened(&comparison.runs[only].name, WIDEST_NAME)),
            [first, ..] => lowest(first, format!("{} runs", point.best.len())),
        };
        let words = format!("at {at} {unit}{lowest}");
        svg.words((WIDTH - 14.0, top - 16.0), Anchor::End, "quiet", &words);
    }

    fn lines(&self, svg: &mut Svg, runs: &[ComparedRun], clip: &str) {
        for (idx, run) in runs.iter().enumerate() {
            let class = format!("run s{} d{}", idx % N_COLORS, idx / N_COLORS % N_DASHES);
            svg.polyline(&class, clip, run.curve.iter().map(|point| self.place(point)));
        }
        // Dots lie above all lines.
        for (idx, run) in runs.iter().enumerate() {
            let fill = format!("f{}", idx % N_COLORS);
            if let Some(bits) =
                value_at(&run.curve, self.axis, self.equal).filter(|bits| *bits <= self.high)
            {
                svg.dot(&fill, (self.x(self.equal), self.y(bits)), 4.0);
            }
            if let Some(end) = run.curve.last() {
                svg.dot(&fill, self.place(end), 3.0);
            }
        }
    }

    /// Names beside the ends of their lines, moved apart where they would lie on each other.
    fn names(&self, svg: &mut Svg, runs: &[ComparedRun], names: &[String]) {
        let mut ends: Vec<(usize, (f64, f64))> = Vec::new();
        for (idx, run) in runs.iter().enumerate() {
            ends.extend(run.curve.last().map(|end| (idx, self.place(end))));
        }
        ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
        let places = moved_apart(&wanted, NAME_HEIGHT, (self.top + 6.0, self.bottom - 2.0));
        for ((idx, (x, y)), place) in ends.into_iter().zip(places) {
            let (edge, to) = (self.right + 4.0, self.right + TO_NAME - 14.0);
            let class = format!("lead s{}", idx % N_COLORS);
            svg.path(&class, format_args!("M{:.1} {y:.1}H{edge:.1}L{to:.1} {place:.1}", x + 5.0));
            svg.dot(&format!("f{}", idx % N_COLORS), (to + 4.0, place), 4.0);
            let at = (self.right + TO_NAME, place + 5.0);
            svg.words(at, Anchor::Start, "text", &names[idx]);
        }
    }
}

/// Where a curve comes below `high` for the first time.
fn enters_below(curve: &[CurvePoint], axis: Axis, high: f64) -> Option<f64> {
    let below = curve.iter().position(|point| point.bits_per_byte <= high)?;
    let after = &curve[below];
    let Some(before) = below.checked_sub(1).map(|idx| &curve[idx]) else {
        return Some(axis.of(after));
    };
    let part = (high - before.bits_per_byte) / (after.bits_per_byte - before.bits_per_byte);
    Some(axis.of(before) * (axis.of(after) / axis.of(before)).powf(part))
}

/// Places in order, each at least `distance` from the next and as near to the wanted one as `(least, most)` lets them be.
fn moved_apart(wanted: &[f64], distance: f64, (least, most): (f64, f64)) -> Vec<f64> {
    let mut places = wanted.to_vec();
    let mut free = least;
    for place in &mut places {
        *place = place.max(free);
        free = *place + distance;
    }
    let mut free = most;
    for place in places.iter_mut().rev() {
        *place = place.min(free);
        free = *place - distance;
    }
    places
}

/// A number with as many digits as matter: 0.05, 12.5, 2000.
fn short(number: f64) -> String {
    let decimals = (3 - number.abs().max(1e-9).log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A number with so many digits that count.
fn round_to(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits - 1 - number.abs().max(1e-300).log10().floor() as i32);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_and_stay_inside() {
        for (wanted, expected) in [
            (vec![10.0, 50.0], vec![10.0, 50.0]),
            (vec![10.0, 12.0, 13.0], vec![10.0, 28.0, 46.0]),
            (vec![90.0, 95.0, 99.0], vec![63.0, 81.0, 99.0]),
            (vec![-50.0, 0.0], vec![5.0, 23.0]),
            (vec![], vec![]),
        ] {
            assert_eq!(moved_apart(&wanted, 18.0, (5.0, 99.0)), expected);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in
            [(0.05, "0.05"), (12.5, "12.5"), (2000.0, "2000"), (1.0, "1"), (20_000.0, "20000")]
        {
            assert_eq!(short(number), text);
        }
        assert_eq!(round_to(9.9743, 3), 9.97);
        assert_eq!(round_to(123_456.0, 3), 123_000.0);
    }
}
