//! A step as plain loops, straight from the matrices as training has them.

use super::{CellKind, LayerWeights, OutputWeights, Storage};
use crate::Element;
use crate::rnn::Activation;

/// y = W·x + b for one row, with weights and inputs as `storage` has them: in `f64`, so exact for whole numbers.
pub fn product(storage: Storage, weight: &[f32], bias: Option<&[f32]>, x: &[f32]) -> Vec<f64> {
    let x: Vec<f64> = match storage {
        Storage::Int8 => whole(x),
        Storage::F32 | Storage::Bf16 => x.iter().map(|&x| f64::from(x)).collect(),
    };
    let y = weight.chunks_exact(x.len()).enumerate().map(|(idx, row)| {
        let row: Vec<f64> = match storage {
            Storage::F32 => row.iter().map(|&w| f64::from(w)).collect(),
            Storage::Bf16 => row.iter().map(|&w| f64::from(to_bf16(w))).collect(),
            Storage::Int8 => whole(row),
        };
        let sum: f64 = row.iter().zip(&x).map(|(w, x)| w * x).sum();
        sum + bias.map_or(0.0, |bias| f64::from(bias[idx]))
    });
    y.collect()
}

/// The nearest multiples q·s with s = max|x| / 127.
fn whole(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
    let scale = f64::from(largest / 127.0);
    row.iter().map(|&x| f64::from((x * (127.0 / largest)).round_ties_even()) * scale).collect()
}

/// The nearest of 8 bits of mantissa, ties to even.
fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// One stream through one layer: h and c (of an LSTM) become those after the step.
pub fn layer(
    storage: Storage,
    cell: CellKind,
    weights: &LayerWeights<'_>,
    x: &[f32],
    h: &mut [f32],
    c: &mut [f32],
) {
    let hidden = h.len();
    let from_x = product(storage, weights.weight_ih, Some(weights.bias_ih), x);
    let from_h = product(storage, weights.weight_hh, Some(weights.bias_hh), h);
    for unit in 0..hidden {
        let a = |gate: usize| from_x[gate * hidden + unit] + from_h[gate * hidden + unit];
        let after = match cell {
            CellKind::Rnn(Activation::Tanh) => a(0).tanh(),
            CellKind::Rnn(Activation::Relu) => a(0).max(0.0),
            CellKind::Lstm | CellKind::CoupledLstm => {
                let (i, f, g, o) = (a(0).sigmoid(), a(1).sigmoid(), a(2).tanh(), a(3).sigmoid());
                let i = if cell == CellKind::CoupledLstm { i.min(1.0 - f) } else { i };
                let after = f * f64::from(c[unit]) + i * g;
                c[unit] = after as f32;
                o * after.tanh()
            }
            CellKind::Gru => {
                let (r, z) = (a(0).sigmoid(), a(1).sigmoid());
                let n = (from_x[2 * hidden + unit] + r * from_h[2 * hidden + unit]).tanh();
                (1.0 - z) * n + z * f64::from(h[unit])
            }
        };
        h[unit] = after as f32;
    }
}

/// The logits of one stream.
pub fn output(storage: Storage, weights: &OutputWeights<'_>, h: &[f32]) -> Vec<f64> {
    product(storage, weights.weight, Some(weights.bias), h)
}
