//! The simple recurrent network as plain loops: reads as the equations of this folder's documentation.

use super::{Activation, Shape};
use crate::Element;
use crate::recurrent::reference::{add_row, row_times};

pub(crate) fn forward<E: Element>(
    shape: Shape,
    activation: Activation,
    weight_hh: &[E],
    h: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    for step in 0..time * batch {
        let (before, now) = (step * hidden, (step + batch) * hidden);
        for unit in 0..hidden {
            let a = h[now + unit] + row_times(weight_hh, unit, &h[before..before + hidden]);
            h[now + unit] = match activation {
                Activation::Tanh => a.tanh(),
                Activation::Relu => {
                    if a > E::ZERO {
                        a
                    } else {
                        E::ZERO
                    }
                }
            };
        }
    }
}

pub(crate) fn backward<E: Element>(
    shape: Shape,
    activation: Activation,
    weight_hh: &[E],
    h: &[E],
    d_h: &mut [E],
    d_h_last: &mut [E],
) {
    let Shape { time, batch, hidden } = shape;
    for step in (0..time * batch).rev() {
        let (before, now) = (step * hidden, (step + batch) * hidden);
        let row = step % batch * hidden;
        for unit in 0..hidden {
            let (h, d_h) = (h[now + unit], &mut d_h[before + unit]);
            let slope = match activation {
                Activation::Tanh => E::ONE - h * h,
                Activation::Relu => {
                    if h > E::ZERO {
                        E::ONE
                    } else {
                        E::ZERO
                    }
                }
            };
            *d_h = (*d_h + d_h_last[row + unit]) * slope;
        }
        let d_h_before = &mut d_h_last[row..row + hidden];
        d_h_before.fill(E::ZERO);
        for unit in 0..hidden {
            add_row(weight_hh, unit, d_h[before + unit], d_h_before);
        }
    }
}
