//! Four vectors of eight lanes on x86-64.

use super::{Prepared, vector};

/// [`vector::apply`].
#[target_feature(enable = "avx2,fma")]
pub fn apply(mask: Prepared, start: u32, values: &mut [f32]) {
    vector::apply::<32>(mask, start, values);
}
