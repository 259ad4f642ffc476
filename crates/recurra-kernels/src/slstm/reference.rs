//! The sLSTM as plain loops: reads as the equations of this folder's documentation.

use super::{GATES, Shape, States};
use crate::Element;
use crate::recurrent::reference::{add_row, row_times};

pub(crate) fn larger<E: Element>(a: E, b: E) -> E {
    if a > b { a } else { b }
}

fn smaller<E: Element>(a: E, b: E) -> E {
    if a < b { a } else { b }
}

/// log σ(x).
pub(crate) fn log_sigmoid<E: Element>(x: E) -> E {
    let magnitude = larger(x, -x);
    smaller(x, E::ZERO) - (E::ONE + (-magnitude).exp()).ln()
}

/// Where a unit of a head stands in a row of H values, and its first gate in one of 4·H.
fn places(shape: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    let Shape { heads, units, .. } = shape;
    (0..heads * units).map(move |place| (place / units, place % units, place))
}

pub(crate) fn forward<E: Element>(
    shape: Shape,
    weights: &[&[E]],
    bias: &[E],
    inputs: [&[E]; 2],
    gates: [&mut [E]; 2],
    states: States<&mut [E]>,
) {
    let (units, hidden) = (shape.units, shape.hidden());
    let States { h, c, n, m } = states;
    for step in 0..shape.time * shape.batch {
        let (before, now) = (step * hidden, (step + shape.batch) * hidden);
        for (head, unit, place) in places(shape) {
            let h_before = &h[before + head * units..][..units];
            let gate = |gate: usize| ((step * shape.heads + head) * 2 + gate % 2) * units + unit;
            let a = |idx: usize| {
                inputs[idx / 2][gate(idx)]
                    + bias[(head * GATES + idx) * units + unit]
                    + row_times(weights[head], idx * units + unit, h_before)
            };
            let (i_raw, f_raw, z, o) = (a(0), a(1), a(2).tanh(), a(3).sigmoid());
            let (c_before, n_before) = (c[before + place], n[before + place]);
            let carried = log_sigmoid(f_raw) + m[before + place];
            let m_now = if n_before == E::ZERO { i_raw } else { larger(carried, i_raw) };
            let i = (i_raw - m_now).exp();
            let f = smaller(carried - m_now, E::ZERO).exp();
            m[now + place] = m_now;
            c[now + place] = f * c_before + i * z;
            n[now + place] = f * n_before + i;
            h[now + place] = o * c[now + place] / n[now + place];
            for (idx, value) in [i, f_raw, z, o].into_iter().enumerate() {
                gates[idx / 2][gate(idx)] = value;
            }
        }
    }
}

pub(crate) fn backward<E: Element>(
    shape: Shape,
    weights: &[&[E]],
    gates: [&mut [E]; 2],
    [c, n, m]: [&[E]; 3],
    d_h: &[E],
    [d_h_last, d_c_last, d_n_last]: [&mut [E]; 3],
) {
    let (units, hidden) = (shape.units, shape.hidden());
    for step in (0..shape.time * shape.batch).rev() {
        let (before, now) = (step * hidden, (step + shape.batch) * hidden);
        let row = step % shape.batch * hidden;
        for (head, unit, place) in places(shape) {
            let gate = |gate: usize| ((step * shape.heads + head) * 2 + gate % 2) * units + unit;
            let [i, f_raw, z, o] = [0, 1, 2, 3].map(|idx| gates[idx / 2][gate(idx)]);
            let carried = log_sigmoid(f_raw) + m[before + place];
            let f = smaller(carried - m[now + place], E::ZERO).exp();
            let (c_before, n_before) = (c[before + place], n[before + place]);
            let n = n[now + place];
            let mean = c[now + place] / n;
            let d_h = d_h[before + place] + d_h_last[row + place];
            let d_c = d_c_last[row + place] + d_h * o / n;
            let d_n = d_n_last[row + place] - d_h * o * mean / n;
            gates[0][gate(0)] = (d_c * z + d_n) * i;
            gates[0][gate(1)] = (d_c * c_before + d_n * n_before) * f * (E::ONE - f_raw.sigmoid());
            gates[1][gate(2)] = d_c * i * (E::ONE - z * z);
            gates[1][gate(3)] = d_h * mean * o * (E::ONE - o);
            d_c_last[row + place] = d_c * f;
            d_n_last[row + place] = d_n * f;
        }
        for (head, weight) in weights.iter().enumerate() {
            let d_h_before = &mut d_h_last[row + head * units..][..units];
            d_h_before.fill(E::ZERO);
            for column in 0..GATES * units {
                let (half, column_of_half) = (column / (2 * units), column % (2 * units));
                let d_a = gates[half][(step * shape.heads + head) * 2 * units + column_of_half];
                add_row(weight, column, d_a, d_h_before);
            }
        }
    }
}
