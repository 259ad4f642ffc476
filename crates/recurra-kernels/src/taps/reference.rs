//! The sums as the formulas have them.

use super::Taps;
use crate::Element;

/// x at a place, 0 outside.
fn at<E: Element>(x: &[E], place: usize, offset: isize) -> E {
    place.checked_add_signed(offset).and_then(|place| x.get(place)).copied().unwrap_or(E::ZERO)
}

pub(super) fn sum<E: Element>(taps: Taps<'_, E>, bias: Option<&[E]>, x: &[E], y: &mut [E]) {
    let Taps { coefficients, offsets, cols } = taps;
    for (place, y) in y.iter_mut().enumerate() {
        let col = place % cols;
        *y = bias.map_or(E::ZERO, |bias| bias[col]);
        for (&offset, w) in offsets.iter().zip(coefficients.chunks_exact(cols)) {
            *y += w[col] * at(x, place, offset);
        }
    }
}

pub(super) fn gradient<E: Element>(
    offsets: &[isize],
    cols: usize,
    x: &[E],
    d_y: &[E],
    d_coefficients: &mut [E],
) {
    for (&offset, d_w) in offsets.iter().zip(d_coefficients.chunks_exact_mut(cols)) {
        for (place, &d_y) in d_y.iter().enumerate() {
            d_w[place % cols] += d_y * at(x, place, offset);
        }
    }
}
