//! Sixteen lanes where products are of `bf16`: the quick functions are far more exact than those.

use std::ops::Range;

use super::vector::Scan;
use crate::simd::{Avx512, Quick};

/// All steps of some units.
///
/// # Safety
/// As [`Scan::units`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn units(scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: by the contract of this function.
    unsafe { scan.units::<Avx512, Quick>(row, units) }
}
