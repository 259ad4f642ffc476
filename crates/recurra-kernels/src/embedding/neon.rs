//! Four lanes on 64-bit ARM.

use std::ops::Range;

use super::vector;
use crate::SharedSlice;
use crate::simd::Neon;

/// [`vector::backward`].
///
/// # Safety
/// As there.
pub unsafe fn backward(
    ids: &[u32],
    d_out: &[f32],
    width: usize,
    columns: Range<usize>,
    d_table: &SharedSlice<'_, f32>,
) {
    // SAFETY: by the contract of this function.
    unsafe { vector::backward::<Neon>(ids, d_out, width, columns, d_table) }
}
