//! The loss curve as an SVG picture: training and validation loss over the steps, in nats a token and bits a byte.
//!
//! Both axes are linear. The first few per cent of the run fall so steeply that they would flatten all the rest, so the
//! upper end is the loss after them, and the line enters the picture from above.

use recurra_metrics::readable::grouped;

use super::metrics_file::Measurement;
use crate::svg::{Anchor, Style, Svg, shortened, tick_label, ticks};

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 480.0;
/// The plot's own edges.
const LEFT: f64 = 74.0;
const RIGHT: f64 = WIDTH - 78.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = HEIGHT - 58.0;
/// The widest that a title may be, beside the names of the lines.
const WIDEST_TITLE: f64 = 422.0;
/// More points than pixels help nobody.
const MOST_POINTS: usize = 600;
/// The name of the plot within the picture.
const PLOT: &str = "plot";

const STYLE: Style<'_> = Style {
    light: ".train{stroke:#7aa6d8;stroke-width:1.6px}.valid{stroke:#c2410c;stroke-width:2.4px}.dot{fill:#c2410c}",
    dark: ".train{stroke:#4f7fb5}.valid{stroke:#fb923c}.dot{fill:#fb923c}",
};

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
        let mut svg = Svg::new(&format!("{title}: loss over the steps"), WIDTH, HEIGHT, STYLE);
        svg.clip(PLOT, (LEFT, TOP), (RIGHT + 4.0, BOTTOM));
        svg.words((LEFT, 26.0), Anchor::Start, "title", &shortened(title, WIDEST_TITLE));
        svg.words((LEFT - 8.0, TOP - 12.0), Anchor::End, "quiet", "nats");
        svg.words((RIGHT + 10.0, TOP - 12.0), Anchor::Start, "quiet", "bits/byte");
        svg.words(((LEFT + RIGHT) / 2.0, BOTTOM + 42.0), Anchor::Middle, "quiet", "step");
        self.grid(&mut svg);
        self.legend(&mut svg, valid);
        let place = |&(step, nats): &(f64, f64)| (self.x(step), self.y(nats));
        svg.polyline("train", PLOT, train.iter().map(place));
        svg.polyline("valid", PLOT, valid.iter().map(place));
        if let Some(best) = valid.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
            svg.dot("dot", place(best), 4.5);
        }
        svg.finish()
    }

    /// Lines and numbers: nats on the left, bits a byte at round places of their own on the right, steps below.
    fn grid(&self, svg: &mut Svg) {
        let (places, spacing) = ticks(self.low, self.high, 7);
        for nats in places {
            let y = self.y(nats);
            svg.path("grid", format_args!("M{LEFT} {y:.1}H{RIGHT}"));
            svg.words((LEFT - 8.0, y + 5.0), Anchor::End, "text", &tick_label(nats, spacing));
        }
        let (places, spacing) =
            ticks(self.low * self.bits_per_nat, self.high * self.bits_per_nat, 7);
        for bits in places {
            let y = self.y(bits / self.bits_per_nat);
            svg.path("axis", format_args!("M{RIGHT} {y:.1}h5"));
            svg.words((RIGHT + 10.0, y + 5.0), Anchor::Start, "text", &tick_label(bits, spacing));
        }
        for step in ticks(0.0, self.last_step, 8).0.into_iter().filter(|step| step.fract() == 0.0) {
            let x = self.x(step);
            svg.path("axis", format_args!("M{x:.1} {BOTTOM}v5"));
            svg.words((x, BOTTOM + 21.0), Anchor::Middle, "text", &grouped(step as u64));
        }
        svg.path("axis", format_args!("M{LEFT} {TOP}V{BOTTOM}H{RIGHT}V{TOP}"));
    }

    fn legend(&self, svg: &mut Svg, valid: &[(f64, f64)]) {
        let best = valid.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let valid_text = best.map(|&(step, nats)| {
            let bits = nats * self.bits_per_nat;
            format!(
                "valid, best {nats:.3} nats = {bits:.3} bits/byte at step {}",
                grouped(step as u64)
            )
        });
        let (x, mut y) = (RIGHT - 16.0, TOP + 22.0);
        for (class, words) in [("train", Some("train".to_owned())), ("valid", valid_text)] {
            let Some(words) = words else { continue };
            svg.path(class, format_args!("M{} {}h24", x - 24.0, y - 5.0));
            svg.words((x - 32.0, y), Anchor::End, "text", &words);
            y += 22.0;
        }
    }
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
            tokens: None,
            seconds: 0.0,
            loss_nats,
            bits_per_byte: loss_nats * 1.4,
            text_part: None,
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
}
