//! Four lanes on 64-bit ARM.

use std::ops::Range;

use super::vector::Scan;
use crate::simd::Neon;
use crate::simd::math::Exact;

/// All steps of some units.
///
/// # Safety
/// As [`Scan::units`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn units(scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: by the contract of this function.
    unsafe { scan.units::<Neon, Exact>(row, units) }
}
