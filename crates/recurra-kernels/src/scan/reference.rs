//! The scans as plain loops: read as the equations of this folder's documentation.

use super::{Given, ScanCell, Shape};
use crate::Element;

fn slope_of_sigmoid<E: Element>(s: E) -> E {
    s * (E::ONE - s)
}

pub(super) fn forward<E: Element>(
    cell: ScanCell,
    shape: Shape,
    given: Given<'_, E>,
    gates: &mut [E],
    memory: &mut [E],
    out: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    let n_gates = cell.n_gates();
    for place in 0..time * batch {
        for unit in 0..hidden {
            let at = place * hidden + unit;
            let gate = |idx: usize| (place * n_gates + idx) * hidden + unit;
            let before = memory[at];
            let now = &mut memory[at + batch * hidden];
            match cell {
                ScanCell::MinGru => {
                    let (z, g) = (gates[gate(0)].sigmoid(), gates[gate(1)]);
                    *now = (E::ONE - z) * before + z * g;
                    gates[gate(0)] = z;
                }
                ScanCell::MinLstm => {
                    let (f, i) = (gates[gate(0)].sigmoid(), gates[gate(1)].sigmoid());
                    let g = gates[gate(2)];
                    *now = (f * before + i * g) / (f + i);
                    (gates[gate(0)], gates[gate(1)]) = (f, i);
                }
                ScanCell::Qrnn => {
                    let z = gates[gate(0)].tanh();
                    let (f, o) = (gates[gate(1)].sigmoid(), gates[gate(2)].sigmoid());
                    *now = f * before + (E::ONE - f) * z;
                    out[at] = o * *now;
                    (gates[gate(0)], gates[gate(1)], gates[gate(2)]) = (z, f, o);
                }
                ScanCell::Sru { scale, is_projected } => {
                    let (v_f, v_r) = (given.vectors[unit], given.vectors[hidden + unit]);
                    let x = if is_projected { gates[gate(3)] } else { given.x[at] };
                    let u = gates[gate(0)];
                    let f = (gates[gate(1)] + v_f * before).sigmoid();
                    let r = (gates[gate(2)] + v_r * before).sigmoid();
                    *now = f * before + (E::ONE - f) * u;
                    out[at] = r * *now + (E::ONE - r) * x * E::from_f64(scale.into());
                    (gates[gate(1)], gates[gate(2)]) = (f, r);
                }
            }
        }
    }
}

#[allow(clippy::too_many_arguments)] // the cells have that many
pub(super) fn backward<E: Element>(
    cell: ScanCell,
    shape: Shape,
    given: Given<'_, E>,
    gates: &mut [E],
    memory: &[E],
    d_out: &[E],
    d_memory: &mut [E],
    d_x: &mut [E],
    d_vectors: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    let n_gates = cell.n_gates();
    for place in (0..time * batch).rev() {
        for unit in 0..hidden {
            let at = place * hidden + unit;
            let gate = |idx: usize| (place * n_gates + idx) * hidden + unit;
            let (before, now) = (memory[at], memory[at + batch * hidden]);
            let row = place % batch;
            let (d_out, d_memory) = (d_out[at], &mut d_memory[row * hidden + unit]);
            match cell {
                ScanCell::MinGru => {
                    let [z, g] = [0, 1].map(|idx| gates[gate(idx)]);
                    let d_h = d_out + *d_memory;
                    gates[gate(0)] = d_h * (g - before) * slope_of_sigmoid(z);
                    gates[gate(1)] = d_h * z;
                    *d_memory = d_h * (E::ONE - z);
                }
                ScanCell::MinLstm => {
                    let [f, i, g] = [0, 1, 2].map(|idx| gates[gate(idx)]);
                    let (d_h, sum) = (d_out + *d_memory, f + i);
                    let (d_f, d_i) = (
                        d_h * (before - g) * i / (sum * sum),
                        d_h * (g - before) * f / (sum * sum),
                    );
                    gates[gate(0)] = d_f * slope_of_sigmoid(f);
                    gates[gate(1)] = d_i * slope_of_sigmoid(i);
                    gates[gate(2)] = d_h * i / sum;
                    *d_memory = d_h * f / sum;
                }
                ScanCell::Qrnn => {
                    let [z, f, o] = [0, 1, 2].map(|idx| gates[gate(idx)]);
                    let d_c = d_out * o + *d_memory;
                    gates[gate(0)] = d_c * (E::ONE - f) * (E::ONE - z * z);
                    gates[gate(1)] = d_c * (before - z) * slope_of_sigmoid(f);
                    gates[gate(2)] = d_out * now * slope_of_sigmoid(o);
                    *d_memory = d_c * f;
                }
                ScanCell::Sru { scale, is_projected } => {
                    let scale = E::from_f64(scale.into());
                    let (v_f, v_r) = (given.vectors[unit], given.vectors[hidden + unit]);
                    let x = if is_projected { gates[gate(3)] } else { given.x[at] };
                    let [u, f, r] = [0, 1, 2].map(|idx| gates[gate(idx)]);
                    let d_c = d_out * r + *d_memory;
                    let d_a_f = d_c * (before - u) * slope_of_sigmoid(f);
                    let d_a_r = d_out * (now - scale * x) * slope_of_sigmoid(r);
                    gates[gate(0)] = d_c * (E::ONE - f);
                    (gates[gate(1)], gates[gate(2)]) = (d_a_f, d_a_r);
                    let d_x = if is_projected { &mut gates[gate(3)] } else { &mut d_x[at] };
                    *d_x = d_out * (E::ONE - r) * scale;
                    *d_memory = d_c * f + d_a_f * v_f + d_a_r * v_r;
                    d_vectors[row * 2 * hidden + unit] += d_a_f * before;
                    d_vectors[(row * 2 + 1) * hidden + unit] += d_a_r * before;
                }
            }
        }
    }
}
