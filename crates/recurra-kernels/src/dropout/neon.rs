//! Four vectors of four lanes on 64-bit ARM.

use super::{Prepared, vector};

/// [`vector::apply`].
pub fn apply(mask: Prepared, start: u32, values: &mut [f32]) {
    vector::apply::<16>(mask, start, values);
}
