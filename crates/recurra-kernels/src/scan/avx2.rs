//! Eight lanes on x86-64.

use std::ops::Range;

use super::vector::Scan;
use crate::simd::Avx2;
use crate::simd::math::Exact;

/// All steps of some units.
///
/// # Safety
/// As [`Scan::units`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn units(scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: by the contract of this function.
    unsafe { scan.units::<Avx2, Exact>(row, units) }
}
