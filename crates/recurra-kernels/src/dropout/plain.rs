//! Whatever the compiler makes of it.

use super::{Prepared, vector};

/// [`vector::apply`].
pub fn apply(mask: Prepared, start: u32, values: &mut [f32]) {
    vector::apply::<16>(mask, start, values);
}
