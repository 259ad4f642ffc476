//! Sixteen lanes on x86-64.

use std::ops::Range;

use super::vector::Scan;
use crate::simd::Avx512;
use crate::simd::math::Exact;

/// All steps of some units.
///
/// # Safety
/// As [`Scan::units`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn units(scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: by the contract of this function.
    unsafe { scan.units::<Avx512, Exact>(row, units) }
}
