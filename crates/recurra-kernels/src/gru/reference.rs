//! The GRU as plain loops: reads as the equations of this folder's documentation.

use super::{GATES, Shape};
use crate::Element;
use crate::recurrent::reference::{add_row, row_times};

pub(crate) fn forward<E: Element>(
    shape: Shape,
    weight_hh: &[E],
    bias_hn: &[E],
    gates: &mut [E],
    hn: &mut [E],
    h: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    for step in 0..time * batch {
        let (before, now) = (step * hidden, (step + batch) * hidden);
        for unit in 0..hidden {
            let h_before = &h[before..before + hidden];
            let product = |gate: usize| row_times(weight_hh, gate * hidden + unit, h_before);
            let place = |gate: usize| (step * GATES + gate) * hidden + unit;
            let r = (gates[place(0)] + product(0)).sigmoid();
            let z = (gates[place(1)] + product(1)).sigmoid();
            let q = product(2) + bias_hn[unit];
            let n = (gates[place(2)] + r * q).tanh();
            h[now + unit] = (E::ONE - z) * n + z * h[before + unit];
            hn[before + unit] = q;
            for (gate, value) in [r, z, n].into_iter().enumerate() {
                gates[place(gate)] = value;
            }
        }
    }
}

pub(crate) fn backward<E: Element>(
    shape: Shape,
    weight_hh: &[E],
    gates: &mut [E],
    hn: &mut [E],
    h: &[E],
    d_h: &[E],
    d_h_last: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    for step in (0..time * batch).rev() {
        let before = step * hidden;
        let row = step % batch * hidden;
        for unit in 0..hidden {
            let place = |gate: usize| (step * GATES + gate) * hidden + unit;
            let [r, z, n] = [0, 1, 2].map(|gate| gates[place(gate)]);
            let (q, h_before) = (hn[before + unit], h[before + unit]);
            let d_h = d_h[before + unit] + d_h_last[row + unit];
            let d_a_n = d_h * (E::ONE - z) * (E::ONE - n * n);
            gates[place(0)] = d_a_n * q * r * (E::ONE - r);
            gates[place(1)] = d_h * (h_before - n) * z * (E::ONE - z);
            gates[place(2)] = d_a_n;
            hn[before + unit] = d_a_n * r;
            d_h_last[row + unit] = d_h * z;
        }
        let d_h_before = &mut d_h_last[row..row + hidden];
        for unit in 0..hidden {
            for gate in [0, 1] {
                let d_a = gates[(step * GATES + gate) * hidden + unit];
                add_row(weight_hh, gate * hidden + unit, d_a, d_h_before);
            }
            add_row(weight_hh, 2 * hidden + unit, hn[before + unit], d_h_before);
        }
    }
}
