//! The product of the recurrent step as plain loops.

use crate::Element;

/// Σₖ W[row, k]·h[k]: one row of W·h.
pub(crate) fn row_times<E: Element>(weight: &[E], row: usize, h: &[E]) -> E {
    let columns = h.len();
    let mut sum = E::ZERO;
    for k in 0..columns {
        sum += weight[row * columns + k] * h[k];
    }
    sum
}

/// out[k] += d·W[row, k]: what a gradient `d` of that row's product brings to h.
pub(crate) fn add_row<E: Element>(weight: &[E], row: usize, d: E, out: &mut [E]) {
    let columns = out.len();
    for k in 0..columns {
        out[k] += d * weight[row * columns + k];
    }
}
