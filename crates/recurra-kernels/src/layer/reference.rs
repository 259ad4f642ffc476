//! A layer as its equations say: the products one value at a time, the steps by the references of the cells.

use super::{CellKind, LayerShape};
use crate::dropout::Mask;
use crate::lstm::Form;
use crate::recurrent::Shape;
use crate::{Cpu, Isa, dropout, gru, lstm, rnn};

/// Everything that goes into a layer, forward and backward.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub cell: CellKind,
    pub shape: LayerShape,
    /// (G·H, E), (G·H, H), (G·H), (G·H)
    pub weight_ih: Vec<f64>,
    pub weight_hh: Vec<f64>,
    pub bias_ih: Vec<f64>,
    pub bias_hh: Vec<f64>,
    /// (T·B, E)
    pub x: Vec<f64>,
    /// (B, H) each
    pub h_first: Vec<f64>,
    pub c_first: Vec<f64>,
    /// (T·B, H)
    pub d_h: Vec<f64>,
    /// What the products see h through; of the LSTM.
    pub state_mask: Option<Mask>,
}

/// Everything that comes out.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// (T + 1, B, H)
    pub h: Vec<f64>,
    /// (B, H): the last c.
    pub c_last: Vec<f64>,
    pub d_weight_ih: Vec<f64>,
    pub d_weight_hh: Vec<f64>,
    pub d_bias_ih: Vec<f64>,
    pub d_bias_hh: Vec<f64>,
    pub d_x: Vec<f64>,
}

/// The layer forward and backward.
pub(super) fn solve(problem: &Problem) -> Outcome {
    let Problem { cell, shape, weight_ih, weight_hh, bias_ih, bias_hh, x, .. } = problem;
    let LayerShape { time, batch, inputs, hidden } = *shape;
    let steps = Shape { time, batch, hidden };
    let (n_rows, width) = (time * batch, cell.sizes().gates * hidden);
    // a = W_ih·x + b_ih + b_hh; the GRU's third part of b_hh goes with h.
    let n_joint = if *cell == CellKind::Gru { 2 * hidden } else { width };
    let mut gates = vec![0.0; n_rows * width];
    for row in 0..n_rows {
        for column in 0..width {
            let joint = if column < n_joint { bias_hh[column] } else { 0.0 };
            let products =
                (0..inputs).map(|k| x[row * inputs + k] * weight_ih[column * inputs + k]);
            gates[row * width + column] = bias_ih[column] + joint + products.sum::<f64>();
        }
    }
    let states = |first: &[f64]| {
        let mut states = first.to_vec();
        states.resize((time + 1) * batch * hidden, 0.0);
        states
    };
    let (mut h, mut c) = (states(&problem.h_first), states(&problem.c_first));
    let zeros = || vec![0.0; batch * hidden];
    let mut seen = Vec::new();
    // (T·B, G·H): the gradients of a, and of the products with h.
    let (d_a, d_u) = match *cell {
        CellKind::Lstm | CellKind::CoupledLstm => {
            let is_coupled = *cell == CellKind::CoupledLstm;
            let mask = problem.state_mask.map(|mask| {
                let mut values = vec![1.0; batch * hidden];
                dropout::apply(&Cpu::with_isa(Isa::Plain, 1), mask, 0, &mut values);
                values
            });
            let form = Form { is_coupled, state_mask: mask.as_deref() };
            if let Some(mask) = &mask {
                seen = h.clone();
                seen.iter_mut().zip(mask).for_each(|(seen, mask)| *seen *= mask);
            }
            let places = mask.is_some().then_some(&mut seen[..]);
            lstm::reference::forward(steps, form, weight_hh, &mut gates, &mut h, &mut c, places);
            let (mut d_h, mut d_c) = (zeros(), zeros());
            lstm::reference::backward(
                steps,
                form,
                weight_hh,
                &mut gates,
                &c,
                &problem.d_h,
                &mut d_h,
                &mut d_c,
            );
            (gates.clone(), gates)
        }
        CellKind::Gru => {
            let mut hn = vec![0.0; n_rows * hidden];
            let bias_hn = &bias_hh[2 * hidden..];
            gru::reference::forward(steps, weight_hh, bias_hn, &mut gates, &mut hn, &mut h);
            let mut d_h = zeros();
            gru::reference::backward(
                steps,
                weight_hh,
                &mut gates,
                &mut hn,
                &h,
                &problem.d_h,
                &mut d_h,
            );
            let mut d_u = gates.clone();
            for row in 0..n_rows {
                d_u[row * width + 2 * hidden..][..hidden]
                    .copy_from_slice(&hn[row * hidden..][..hidden]);
            }
            (gates, d_u)
        }
        CellKind::Rnn(activation) => {
            let first = batch * hidden;
            h[first..].copy_from_slice(&gates);
            rnn::reference::forward(steps, activation, weight_hh, &mut h);
            let (mut d_a, mut d_h) = (problem.d_h.clone(), zeros());
            rnn::reference::backward(steps, activation, weight_hh, &h, &mut d_a, &mut d_h);
            (d_a.clone(), d_a)
        }
    };
    let mut outcome = Outcome {
        c_last: c[n_rows * hidden..].to_vec(),
        d_weight_ih: vec![0.0; width * inputs],
        d_weight_hh: vec![0.0; width * hidden],
        d_bias_ih: vec![0.0; width],
        d_bias_hh: vec![0.0; width],
        d_x: vec![0.0; n_rows * inputs],
        h,
    };
    let seen = if seen.is_empty() { outcome.h.clone() } else { seen };
    for row in 0..n_rows {
        for column in 0..width {
            let (d_a, d_u) = (d_a[row * width + column], d_u[row * width + column]);
            outcome.d_bias_ih[column] += d_a;
            outcome.d_bias_hh[column] += d_u;
            for k in 0..inputs {
                outcome.d_weight_ih[column * inputs + k] += d_a * x[row * inputs + k];
                outcome.d_x[row * inputs + k] += d_a * weight_ih[column * inputs + k];
            }
            for k in 0..hidden {
                outcome.d_weight_hh[column * hidden + k] += d_u * seen[row * hidden + k];
            }
        }
    }
    outcome
}
