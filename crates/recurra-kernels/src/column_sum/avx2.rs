//! Column sums with AVX2.

use super::Kernel;
use super::vector::{self, Strip, WIDTH};
use crate::simd::{Avx2, Vector};

pub(super) static KERNEL: Kernel = Kernel { cols: WIDTH * Avx2::LANES, add };

#[target_feature(enable = "avx2,fma")]
unsafe fn add(strip: &Strip) {
    // SAFETY: by this function's contract, which is that of `vector::add`.
    unsafe { vector::add::<Avx2>(strip) }
}
