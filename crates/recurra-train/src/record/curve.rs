//! The loss curve as an SVG picture: training and validation loss over the steps, in nats a token and bits a byte.
//!
//! Both axes are linear. The first few per cent of the run fall so steeply that they would flatten all the rest, so the
//! upper end is the loss after them, and the line enters the picture from above.

use std::fmt::Write as _;

use super::metrics_file::Measurement;
use super::thousands;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 480.0;
/// The plot's own edges.
const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 78.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = HEIGHT - 58.0;
/// More points than pixels help nobody.
const MOST_POINTS: usize = 600;

/// Light colours by default, dark ones where the reader's system asks for them.
const STYLE: &str = "\
.page{fill:#ffffff}.text{fill:#24292f}.quiet{fill:#57606a}.grid{stroke:#d8dee4}.axis{stroke:#57606a}\
.train{stroke:#7aa6d8}.valid{stroke:#c2410c}.dot{fill:#c2410c}\
@media (prefers-color-scheme:dark){.page{fill:#0d1117}.text{fill:#e6edf3}.quiet{fill:#9da7b3}.grid{stroke:#2a313a}\
.axis{stroke:#9da7b3}.train{stroke:#4f7fb5}.valid{stroke:#fb923c}.dot{fill:#fb923c}}";

/// Draws the measurements of a run; `None` while there are fewer than two.
pub fn draw(title: &str, measurements: &[Measurement]) -> Option<String> {
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    let mut bits_per_nat = 1.0;
    for measurement in measurements {
        match *measurement {
            Measurement::Train { step, loss_nats, .. } => train.push((step as f64, loss_nats)),
            Measurement::Valid { step, loss_nats, bits_per_byte, .. } => {
                bits_per_nat = bits_per_byte / loss_nats;
                valid.push((step as f64, loss_nats));
            }
        }
    }
    if train.len() + valid.len() < 2 {
        return None;
    }
    if let ([.., Measurement::Train { loss_nats, bits_per_byte, .. }], []) =
        (measurements, &valid[..])
    {
        bits_per_nat = bits_per_byte / loss_nats;
    }
    let train = thin_out(&train);
    let plot =
        Plot::around(&train, &valid, if bits_per_nat.is_finite() { bits_per_nat } else { 1.0 });
    Some(plot.svg(title, &train, &valid))
}

/// At most [`MOST_POINTS`] points, each the mean of its neighbours.
fn thin_out(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |group: &[(f64, f64)]| {
        let (steps, losses) =
            group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (steps / group.len() as f64, losses / group.len() as f64)
    };
    points.chunks(points.len().div_ceil(MOST_POINTS).max(1)).map(mean).collect()
}

/// The range of steps and losses that the picture shows.
struct Plot {
    last_step: f64,
    low: f64,
    high: f64,
    bits_per_nat: f64,
}

impl Plot {
    fn around(train: &[(f64, f64)], valid: &[(f64, f64)], bits_per_nat: f64) -> Plot {
        let all = || train.iter().chain(valid);
        let last_step = all().map(|point| point.0).fold(1.0, f64::max);
        let low = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let after_the_fall = all()
            .filter(|point| point.0 > 0.03 * last_step)
            .map(|point| point.1)
            .fold(low, f64::max);
        let margin = (0.06 * (after_the_fall - low)).max(1e-3 * low.abs()).max(1e-6);
        Plot {
            last_step,
            low: (low - margin).max(0.0),
            high: after_the_fall + margin,
            bits_per_nat,
        }
    }

    fn x(&self, step: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * step / self.last_step
    }

    fn y(&self, nats: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (nats - self.low) / (self.high - self.low)
    }

    fn svg(&self, title: &str, train: &[(f64, f64)], valid: &[(f64, f64)]) -> String {
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}: loss over the steps" font-family="system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif" font-size="14">
<style>{STYLE}</style>
<clipPath id="plot"><rect x="{LEFT}" y="{TOP}" width="{}" height="{}"/></clipPath>
<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>
"#,
            RIGHT - LEFT + 4.0,
            BOTTOM - TOP,
            title = escape(title)
        );
        text(
            &mut svg,
            LEFT,
            26.0,
            "start",
            "text\" font-size=\"16\" font-weight=\"600",
            &shortened(title, 52),
        );
        text(&mut svg, LEFT - 8.0, TOP - 12.0, "end", "quiet", "nats");
        text(&mut svg, RIGHT + 10.0, TOP - 12.0, "start", "quiet", "bits/byte");
        text(&mut svg, (LEFT + RIGHT) / 2.0, BOTTOM + 42.0, "middle", "quiet", "step");
        self.grid(&mut svg);
        self.legend(&mut svg, valid);
        polyline(
            &mut svg,
            "train\" stroke-width=\"1.6",
            train.iter().map(|&(step, nats)| (self.x(step), self.y(nats))),
        );
        polyline(
            &mut svg,
            "valid\" stroke-width=\"2.4",
            valid.iter().map(|&(step, nats)| (self.x(step), self.y(nats))),
        );
        if let Some(&(step, nats)) = valid.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
            let (x, y) = (self.x(step), self.y(nats));
            let _ = writeln!(svg, r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Lines and numbers: nats on the left, bits a byte at round places of their own on the right, steps below.
    fn grid(&self, svg: &mut String) {
        let (places, spacing) = ticks(self.low, self.high, 7);
        for nats in places {
            let y = self.y(nats);
            let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/>"#);
            text(svg, LEFT - 8.0, y + 5.0, "end", "text", &label(nats, spacing));
        }
        let (places, spacing) =
            ticks(self.low * self.bits_per_nat, self.high * self.bits_per_nat, 7);
        for bits in places {
            let y = self.y(bits / self.bits_per_nat);
            let _ = writeln!(svg, r#"<path class="axis" d="M{RIGHT} {y:.1}h5"/>"#);
            text(svg, RIGHT + 10.0, y + 5.0, "start", "text", &label(bits, spacing));
        }
        for step in ticks(0.0, self.last_step, 8).0.into_iter().filter(|step| step.fract() == 0.0) {
            let x = self.x(step);
            let _ = writeln!(svg, r#"<path class="axis" d="M{x:.1} {BOTTOM}v5"/>"#);
            text(svg, x, BOTTOM + 21.0, "middle", "text", &thousands(step as u64));
        }
        let _ = writeln!(
            svg,
            r#"<path class="axis" fill="none" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}V{TOP}"/>"#
        );
    }

    fn legend(&self, svg: &mut String, valid: &[(f64, f64)]) {
        let best = valid.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let valid_text = best.map(|&(step, nats)| {
            let bits = nats * self.bits_per_nat;
            format!(
                "valid, best {nats:.3} nats = {bits:.3} bits/byte at step {}",
                thousands(step as u64)
            )
        });
        let mut y = TOP + 22.0;
        for (class, width, words) in
            [("train", 1.6, Some("train".to_owned())), ("valid", 2.4, valid_text)]
        {
            let Some(words) = words else { continue };
            let x = RIGHT - 16.0;
            let _ = writeln!(
                svg,
                r#"<path class="{class}" stroke-width="{width}" d="M{} {}h24"/>"#,
                x - 24.0,
                y - 5.0
            );
            text(svg, x - 32.0, y, "end", "text", &words);
            y += 22.0;
        }
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let _ = writeln!(
        svg,
        r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
        escape(words)
    );
}

fn polyline(svg: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>) {
    let _ = write!(
        svg,
        r#"<polyline class="{class}" fill="none" stroke-linejoin="round" clip-path="url(#plot)" points=""#
    );
    for (x, y) in points {
        // A loss far above the picture would make numbers that some viewers cannot read.
        let _ = write!(svg, "{x:.1},{:.1} ", y.max(-10_000.0));
    }
    svg.push_str("\"/>\n");
}

/// Round numbers between `low` and `high`, about `n` of them, and their distance: 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, n: usize) -> (Vec<f64>, f64) {
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
fn label(tick: f64, spacing: f64) -> String {
    let decimals = (-(spacing + 1e-12).log10().floor()).clamp(1.0, 6.0) as usize;
    format!("{tick:.decimals$}")
}

fn shortened(words: &str, most: usize) -> String {
    match words.chars().count() > most {
        true => words.chars().take(most - 1).chain(['…']).collect(),
        false => words.to_owned(),
    }
}

fn escape(words: &str) -> String {
    let visible = words.chars().filter(|letter| !letter.is_control()).collect::<String>();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(step: u64, loss_nats: f64) -> Measurement {
        Measurement::Train {
            step,
            epoch: 0.0,
            tokens: 0,
            seconds: 0.0,
            loss_nats,
            bits_per_byte: loss_nats * 1.4,
            learning_rate: 0.1,
            gradient_norm: 1.0,
            tokens_per_second: 1.0,
        }
    }

    fn valid(step: u64, loss_nats: f64) -> Measurement {
        Measurement::Valid {
            step,
            epoch: 0.0,
            seconds: 0.0,
            loss_nats,
            bits_per_byte: loss_nats * 1.4,
            is_best: false,
        }
    }

    #[test]
    fn the_lowest_validation_is_marked_where_the_axes_say() {
        let measurements: Vec<Measurement> = (1..=1000)
            .map(|step| {
                if step % 100 == 0 {
                    valid(step, 1.6 + (step as f64 - 700.0).abs() / 1000.0)
                } else {
                    train(step, 1.5 + 40.0 / step as f64)
                }
            })
            .collect();
        let svg = draw("a <model>", &measurements).unwrap();
        assert!(svg.contains("a &lt;model&gt;") && !svg.contains("<model>"));
        assert!(svg.contains("valid, best 1.600 nats = 2.240 bits/byte at step 700"), "{svg}");
        let x = LEFT + (RIGHT - LEFT) * 0.7;
        assert!(svg.contains(&format!(r#"<circle class="dot" cx="{x:.1}""#)));
        // The picture is small, and its first loss of 41.5 nats has not squeezed the rest.
        assert!(svg.len() < 40_000 && !svg.contains(">40.0<") && svg.contains(">2.0<"));
    }

    #[test]
    fn few_and_equal_losses_still_draw() {
        assert_eq!(draw("x", &[]), None);
        assert_eq!(draw("x", &[valid(1, 2.0)]), None);
        for measurements in [
            vec![train(1, 2.0), train(2, 2.0)],
            vec![train(1, 0.0), valid(1, 0.0)],
            vec![valid(5, 1e30), valid(6, 1.0)],
        ] {
            let svg = draw("x", &measurements).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1000.0, 8).0, [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
        assert_eq!(label(1.25, 0.05), "1.25");
    }
}
