//! The LSTM as plain loops: reads as the equations of this folder's documentation.

use super::{Form, GATES, Shape};
use crate::Element;
use crate::recurrent::reference::{add_row, row_times};

pub(crate) fn forward<E: Element>(
    shape: Shape,
    form: Form<'_, E>,
    weight_hh: &[E],
    gates: &mut [E],
    h: &mut [E],
    c: &mut [E],
    mut seen: Option<&mut [E]>,
) {
    let Shape { time, batch, hidden } = shape;
    for step in 0..time * batch {
        let (before, now) = (step * hidden, (step + batch) * hidden);
        for unit in 0..hidden {
            let h_before = &seen.as_deref().unwrap_or(h)[before..before + hidden];
            let a = |gate: usize| {
                gates[(step * GATES + gate) * hidden + unit]
                    + row_times(weight_hh, gate * hidden + unit, h_before)
            };
            let (i, f, g, o) = (a(0).sigmoid(), a(1).sigmoid(), a(2).tanh(), a(3).sigmoid());
            c[now + unit] = f * c[before + unit] + let_in(form, i, f) * g;
            h[now + unit] = o * c[now + unit].tanh();
            if let (Some(mask), Some(seen)) = (form.state_mask, &mut seen) {
                seen[now + unit] = h[now + unit] * mask[step % batch * hidden + unit];
            }
            for (gate, value) in [i, f, g, o].into_iter().enumerate() {
                gates[(step * GATES + gate) * hidden + unit] = value;
            }
        }
    }
}

/// What the input gate lets in, of what it wants to.
pub(crate) fn let_in<E: Element>(form: Form<'_, E>, i: E, f: E) -> E {
    if is_held(form, i, f) { E::ONE - f } else { i }
}

/// Whether it lets in less than it wants to.
pub(crate) fn is_held<E: Element>(form: Form<'_, E>, i: E, f: E) -> bool {
    form.is_coupled && E::ONE - f < i
}

#[allow(clippy::too_many_arguments)] // the cell has that many
pub(crate) fn backward<E: Element>(
    shape: Shape,
    form: Form<'_, E>,
    weight_hh: &[E],
    gates: &mut [E],
    c: &[E],
    d_h: &[E],
    d_h_last: &mut [E],
    d_c_last: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    for step in (0..time * batch).rev() {
        let (before, now) = (step * hidden, (step + batch) * hidden);
        let row = step % batch * hidden;
        for unit in 0..hidden {
            let place = |gate: usize| (step * GATES + gate) * hidden + unit;
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[place(gate)]);
            let tanh_c = c[now + unit].tanh();
            let d_h = d_h[before + unit] + d_h_last[row + unit];
            let d_c = d_c_last[row + unit] + d_h * o * (E::ONE - tanh_c * tanh_c);
            let d_let_in = d_c * g;
            let (d_i, d_f) =
                if is_held(form, i, f) { (E::ZERO, -d_let_in) } else { (d_let_in, E::ZERO) };
            gates[place(0)] = d_i * i * (E::ONE - i);
            gates[place(1)] = (d_c * c[before + unit] + d_f) * f * (E::ONE - f);
            gates[place(2)] = d_c * let_in(form, i, f) * (E::ONE - g * g);
            gates[place(3)] = d_h * tanh_c * o * (E::ONE - o);
            d_c_last[row + unit] = d_c * f;
        }
        let d_h_before = &mut d_h_last[row..row + hidden];
        d_h_before.fill(E::ZERO);
        for column in 0..GATES * hidden {
            let d_a = gates[step * GATES * hidden + column];
            add_row(weight_hh, column, d_a, d_h_before);
        }
        if let Some(mask) = form.state_mask {
            let mask = &mask[row..row + hidden];
            d_h_before.iter_mut().zip(mask).for_each(|(d_h, &mask)| *d_h *= mask);
        }
    }
}
