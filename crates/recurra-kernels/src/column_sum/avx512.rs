//! Column sums with AVX-512.

use super::Kernel;
use super::vector::{self, Strip, WIDTH};
use crate::simd::{Avx512, Vector};

pub(super) static KERNEL: Kernel = Kernel { cols: WIDTH * Avx512::LANES, add };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn add(strip: &Strip) {
    // SAFETY: by this function's contract, which is that of `vector::add`.
    unsafe { vector::add::<Avx512>(strip) }
}
