//! What pictures of runs are drawn with: a page in light and dark, text, lines, and round numbers for axes.

use std::fmt::{self, Write as _};

/// Light colours by default, dark ones where the reader's system asks for them.
const LIGHT: &str = ".page{fill:#ffffff}.text{fill:#24292f}.quiet{fill:#57606a}.title{fill:#24292f;font-size:16px;font-weight:600}\
.strong{fill:#24292f;font-weight:600}.grid{stroke:#d8dee4}.axis{stroke:#57606a}";
const DARK: &str = ".page{fill:#0d1117}.text,.title,.strong{fill:#e6edf3}.quiet{fill:#9da7b3}.grid{stroke:#2a313a}.axis{stroke:#9da7b3}";

/// Size of the letters, in pixels.
const LETTERS: f64 = 14.0;

/// Rules for the classes of one kind of picture, beside those of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style<'a> {
    /// By default.
    pub light: &'a str,
    /// Where the reader's system asks for dark colours.
    pub dark: &'a str,
}

/// Where a text stands about its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A picture in the making.
#[derive(Debug)]
pub(crate) struct Svg {
    text: String,
}

impl Svg {
    /// An empty page; `label` says what it shows to those who do not see it.
    pub fn new(label: &str, width: f64, height: f64, style: Style<'_>) -> Svg {
        let Style { light, dark } = style;
        let text = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{}" font-family="system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif" font-size="{LETTERS}">
<style>{LIGHT}{light}@media (prefers-color-scheme:dark){{{DARK}{dark}}}</style>
<rect class="page" width="{width}" height="{height}"/>
"#,
            escape(label)
        );
        Svg { text }
    }

    /// A part of the page that lines of this name stay within.
    pub fn clip(&mut self, name: &str, (left, top): (f64, f64), (right, bottom): (f64, f64)) {
        let (width, height) = (right - left, bottom - top);
        self.line(format_args!(
            r#"<clipPath id="{name}"><rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"/></clipPath>"#
        ));
    }

    /// Words at a point.
    pub fn words(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.line(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escape(words)
        ));
    }

    /// A line along `d`, in the words of SVG.
    pub fn path(&mut self, class: &str, d: fmt::Arguments<'_>) {
        self.line(format_args!(r#"<path class="{class}" fill="none" d="{d}"/>"#));
    }

    /// A line through points, within the part of the page called `clip`.
    pub fn polyline(
        &mut self,
        class: &str,
        clip: &str,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) {
        let _ = write!(
            self.text,
            r#"<polyline class="{class}" fill="none" stroke-linejoin="round" clip-path="url(#{clip})" points=""#
        );
        for (x, y) in points {
            // What lies far outside of the picture would make numbers that some viewers cannot read.
            debug_assert!(!x.is_nan() && !y.is_nan(), "({x}, {y}) is no point");
            let _ = write!(self.text, "{:.1},{:.1} ", x.max(-10_000.0), y.max(-10_000.0));
        }
        self.text.push_str("\"/>\n");
    }

    /// A filled circle.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.line(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#
        ));
    }

    /// The whole picture.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }
}

/// Round numbers between `low` and `high`, about `n` of them, and their distance: 1, 2 or 5 times a power of ten.
pub(crate) fn ticks(low: f64, high: f64, n: usize) -> (Vec<f64>, f64) {
    let rough = (high - low) / n as f64;
    let power = 10f64.powf(rough.log10().floor());
    let spacing = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        .find(|s| *s >= rough)
        .unwrap_or(10.0 * power);
    let first = (low / spacing).ceil() as i64;
    let places = (first..first + 4 * n as i64).map(|idx| idx as f64 * spacing);
    (places.take_while(|tick| *tick <= high + 1e-9 * spacing).collect(), spacing)
}

/// A tick's number with as many decimals as tell it from the next, one at least.
pub(crate) fn tick_label(tick: f64, spacing: f64) -> String {
    let decimals = (-(spacing + 1e-12).log10().floor()).clamp(1.0, 6.0) as usize;
    format!("{tick:.decimals$}")
}

/// About how wide words are, in pixels: letters of scripts that are as wide as high count as such.
pub(crate) fn width_of(words: &str) -> f64 {
    // Hangul, and the scripts of East Asia.
    let is_wide = |letter| matches!(letter, '\u{1100}'..='\u{115f}' | '\u{2e80}'..);
    words.chars().map(|letter| if is_wide(letter) { 1.0 } else { 0.58 }).sum::<f64>() * LETTERS
}

/// Words that are no wider than this, of which those letters that stand in the middle are left out: names of one kind often
/// differ in the end.
pub(crate) fn shortened(words: &str, widest: f64) -> String {
    if width_of(words) <= widest {
        return words.to_owned();
    }
    let letters: Vec<char> = words.chars().collect();
    let cut = |n: usize| {
        let (first, last) = (&letters[..n / 2], &letters[letters.len() - (n - 1) / 2..]);
        first.iter().chain(&['…']).chain(last).collect::<String>()
    };
    let fits = |cut: &String| width_of(cut) <= widest;
    (1..letters.len()).rev().map(cut).find(fits).unwrap_or_else(|| cut(1))
}

fn escape(words: &str) -> String {
    let visible = words.chars().filter(|letter| !letter.is_control()).collect::<String>();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1000.0, 8).0, [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert_eq!(tick_label(1.25, 0.05), "1.25");
    }

    #[test]
    fn long_words_keep_both_ends() {
        let shortened = |words, letters: f64| shortened(words, letters * width_of("a") + 1e-9);
        assert_eq!(shortened("abcdef", 6.0), "abcdef");
        assert_eq!(shortened("abcdefg", 6.0), "abc…fg");
        assert_eq!(shortened("abcdefgh", 5.0), "ab…gh");
        assert_eq!(shortened("春江花月夜", 6.0), "春…夜");
        assert_eq!(shortened("abcdefgh", 0.0), "…");
    }

    #[test]
    fn words_cannot_break_out_of_the_picture() {
        let mut svg = Svg::new("a \"<b>\"", 10.0, 10.0, Style { light: "", dark: "" });
        svg.words((1.0, 2.0), Anchor::Middle, "text", "c </text>&\u{7}");
        let svg = svg.finish();
        assert!(svg.contains(r#"aria-label="a &quot;&lt;b&gt;&quot;""#), "{svg}");
        assert!(svg.contains(">c &lt;/text&gt;&amp;</text>"), "{svg}");
    }
}
