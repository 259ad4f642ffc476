//! Eight lanes on x86-64.

use std::ops::Range;

use super::vector;
use crate::SharedSlice;
use crate::simd::Avx2;

/// [`vector::backward`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn backward(
    ids: &[u32],
    d_out: &[f32],
    width: usize,
    columns: Range<usize>,
    d_table: &SharedSlice<'_, f32>,
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::backward::<Avx2>(ids, d_out, width, columns, d_table) }
}
