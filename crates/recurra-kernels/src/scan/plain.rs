//! Whatever the compiler makes of it.

use std::ops::Range;

use super::vector::Scan;
use crate::simd::Plain;
use crate::simd::math::Exact;

/// All steps of some units.
///
/// # Safety
/// As [`Scan::units`].
pub(super) unsafe fn units(scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: by the contract of this function.
    unsafe { scan.units::<Plain, Exact>(row, units) }
}
