//! The plain loop.

use super::Prepared;
use crate::Element;

/// yᵢ = xᵢ · scale where the mask keeps position `start` + i, else 0.
pub fn apply<E: Element>(mask: Prepared, start: u32, values: &mut [E]) {
    for (position, value) in (start..).zip(values) {
        *value = if mask.keeps(position) { *value * E::from_f64(mask.scale) } else { E::ZERO };
    }
}
