//! Plain loops.

use crate::Element;

pub(super) fn apply<E: Element>(scales: &[E], values: &mut [E]) {
    let width = values.len() / scales.len();
    if width == 0 {
        return;
    }
    for (row, &scale) in values.chunks_exact_mut(width).zip(scales) {
        if scale == E::ZERO {
            row.fill(E::ZERO);
        } else {
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
}
