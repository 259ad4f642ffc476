//! The equations of this folder's documentation, value by value.

use super::{Step, StepBack};
use crate::Element;
use crate::lstm::Form;
use crate::lstm::reference::{is_held, let_in};

pub(super) fn scale<E: Element>(gate: &mut [E], v: &[E], out: &mut [E]) {
    for ((gate, &v), out) in gate.iter_mut().zip(v).zip(out) {
        *gate = (E::ONE + E::ONE) * gate.sigmoid();
        *out = *gate * v;
    }
}

pub(super) fn scale_backward<E: Element>(gate: &mut [E], v: &[E], d: &mut [E]) {
    let half = E::from_f64(0.5);
    for ((gate, &v), d) in gate.iter_mut().zip(v).zip(d) {
        let m = *gate;
        *gate = *d * v * m * (E::ONE - half * m);
        *d *= m;
    }
}

pub(super) fn step<E: Element>(is_coupled: bool, row: Step<'_, E>) {
    let Step { gates, c_before, c, h } = row;
    let (hidden, form) = (c.len(), Form { is_coupled, state_mask: None });
    for unit in 0..hidden {
        let a = [0, 1, 2, 3].map(|gate| gates[gate * hidden + unit]);
        let (i, f, g, o) = (a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid());
        c[unit] = f * c_before[unit] + let_in(form, i, f) * g;
        h[unit] = o * c[unit].tanh();
        for (gate, value) in [i, f, g, o].into_iter().enumerate() {
            gates[gate * hidden + unit] = value;
        }
    }
}

pub(super) fn step_backward<E: Element>(is_coupled: bool, row: StepBack<'_, E>) {
    let StepBack { gates, c_before, c, d_h, d_c } = row;
    let (hidden, form) = (c.len(), Form { is_coupled, state_mask: None });
    for unit in 0..hidden {
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * hidden + unit]);
        let (d_h, tanh_c) = (d_h[unit], c[unit].tanh());
        let d = d_c[unit] + d_h * o * (E::ONE - tanh_c * tanh_c);
        let (d_i, d_f) = if is_held(form, i, f) { (E::ZERO, -(d * g)) } else { (d * g, E::ZERO) };
        let gradients = [
            d_i * i * (E::ONE - i),
            (d * c_before[unit] + d_f) * f * (E::ONE - f),
            d * let_in(form, i, f) * (E::ONE - g * g),
            d_h * tanh_c * o * (E::ONE - o),
        ];
        for (gate, value) in gradients.into_iter().enumerate() {
            gates[gate * hidden + unit] = value;
        }
        d_c[unit] = d * f;
    }
}
