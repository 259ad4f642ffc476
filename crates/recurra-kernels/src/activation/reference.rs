//! The formulas, value by value.

use super::Function;
use crate::Element;

/// 2·√(2/π) and 0.044715 of it.
pub(super) const GELU: [f64; 2] = [1.595_769_121_605_730_9, 0.071_354_816_272_600_24];

/// s(x) and s′(x).
fn exponent<E: Element>(function: Function, x: E) -> (E, E) {
    match function {
        Function::Silu => (x, E::ONE),
        Function::Gelu => {
            let [first, third] = GELU.map(E::from_f64);
            (x * (first + third * x * x), first + E::from_f64(3.0) * third * x * x)
        }
    }
}

/// f(x) and f′(x).
fn value_and_slope<E: Element>(function: Function, x: E) -> (E, E) {
    let (s, slope) = exponent(function, x);
    let gate = s.sigmoid();
    (x * gate, gate + x * gate * (E::ONE - gate) * slope)
}

pub(super) fn forward<E: Element>(function: Function, x: &[E], y: &mut [E]) {
    for (&x, y) in x.iter().zip(y) {
        *y = value_and_slope(function, x).0;
    }
}

pub(super) fn backward<E: Element>(
    function: Function,
    x: &[E],
    d_y: &[E],
    d_x: &mut [E],
    adds: bool,
) {
    for ((&x, &d_y), d_x) in x.iter().zip(d_y).zip(d_x) {
        put(d_x, d_y * value_and_slope(function, x).1, adds);
    }
}

pub(super) fn gated_forward<E: Element>(function: Function, x: &[E], width: usize, y: &mut [E]) {
    for (idx, y) in y.iter_mut().enumerate() {
        let a = idx / width * 2 * width + idx % width;
        *y = value_and_slope(function, x[a]).0 * x[a + width];
    }
}

pub(super) fn gated_backward<E: Element>(
    function: Function,
    x: &[E],
    width: usize,
    d_y: &[E],
    d_x: &mut [E],
    adds: bool,
) {
    for (idx, &d_y) in d_y.iter().enumerate() {
        let a = idx / width * 2 * width + idx % width;
        let (value, slope) = value_and_slope(function, x[a]);
        put(&mut d_x[a], d_y * x[a + width] * slope, adds);
        put(&mut d_x[a + width], d_y * value, adds);
    }
}

fn put<E: Element>(to: &mut E, value: E, adds: bool) {
    *to = if adds { *to + value } else { value };
}
