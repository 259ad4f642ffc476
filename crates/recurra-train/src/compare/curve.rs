//! The course of a run's validation, and its value at a place between two validations.

use std::fmt;

use serde::Serialize;

use crate::record::Measurement;

/// A validation, and what the run had spent until then.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Updates.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Wall clock from the first update where that is known, pauses between resumed parts left out.
    pub seconds: f64,
    /// Floating-point operations of training on these tokens.
    pub flops: f64,
    /// Validation loss a token.
    pub loss_nats: f64,
    /// The same in bits a byte of text.
    pub bits_per_byte: f64,
}

/// What runs have spent when they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Wall clock from the first update, in seconds.
    Time,
    /// Tokens trained on.
    Tokens,
    /// Floating-point operations of training.
    Flops,
}

impl Axis {
    /// All of them.
    pub const ALL: [Axis; 3] = [Axis::Time, Axis::Tokens, Axis::Flops];

    /// What had been spent at a validation.
    pub fn of(self, point: &CurvePoint) -> f64 {
        match self {
            Axis::Time => point.seconds,
            Axis::Tokens => point.tokens as f64,
            Axis::Flops => point.flops,
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Axis::Time => "time",
            Axis::Tokens => "tokens",
            Axis::Flops => "FLOPs",
        })
    }
}

/// The validations among the measurements, each further than the one before it.
pub(super) fn curve(measurements: &[Measurement], flops_per_token: u64) -> Vec<CurvePoint> {
    let mut points: Vec<CurvePoint> = Vec::new();
    for measurement in measurements {
        let Measurement::Valid { step, tokens, seconds, loss_nats, bits_per_byte, .. } =
            *measurement
        else {
            continue;
        };
        let tokens = tokens.unwrap_or_else(|| tokens_at(step, measurements));
        let flops = tokens as f64 * flops_per_token as f64;
        let is_further = points.last().map_or(tokens > 0 && seconds > 0.0, |last| {
            tokens > last.tokens && seconds > last.seconds
        });
        if is_further {
            points.push(CurvePoint { step, tokens, seconds, flops, loss_nats, bits_per_byte });
        }
    }
    points
}

/// Tokens that a run had seen at a step, by the lines of training around it: an update takes as many as its neighbours.
fn tokens_at(step: u64, measurements: &[Measurement]) -> u64 {
    let (mut before, mut rate) = ((0, 0), 0.0);
    for measurement in measurements {
        let Measurement::Train { step: at, tokens, .. } = *measurement else { continue };
        if at > before.0 {
            rate = tokens.saturating_sub(before.1) as f64 / (at - before.0) as f64;
        }
        if at >= step {
            break;
        }
        before = (at, tokens);
    }
    before.1 + (rate * step.saturating_sub(before.0) as f64).round() as u64
}

/// Bits a byte of a curve where `at` had been spent: between two validations on the straight line over the logarithm of
/// what was spent, as the picture draws it. `None` before the first validation and after the last.
pub(super) fn value_at(curve: &[CurvePoint], axis: Axis, at: f64) -> Option<f64> {
    let is_at = |point: &CurvePoint| (axis.of(point) / at - 1.0).abs() < 1e-9;
    let next = curve.iter().position(|point| is_at(point) || axis.of(point) > at)?;
    let after = &curve[next];
    if is_at(after) {
        return Some(after.bits_per_byte);
    }
    let before = &curve[next.checked_sub(1)?];
    let part = (at / axis.of(before)).ln() / (axis.of(after) / axis.of(before)).ln();
    Some(before.bits_per_byte + part * (after.bits_per_byte - before.bits_per_byte))
}
