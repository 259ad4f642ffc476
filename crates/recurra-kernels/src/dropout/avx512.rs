//! Four vectors of sixteen lanes on x86-64.

use super::{Prepared, vector};

/// [`vector::apply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub fn apply(mask: Prepared, start: u32, values: &mut [f32]) {
    vector::apply::<64>(mask, start, values);
}
