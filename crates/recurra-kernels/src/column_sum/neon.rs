//! Column sums with NEON.

use super::Kernel;
use super::vector::{self, Strip, WIDTH};
use crate::simd::{Neon, Vector};

pub(super) static KERNEL: Kernel = Kernel { cols: WIDTH * Neon::LANES, add };

unsafe fn add(strip: &Strip) {
    // SAFETY: by this function's contract, which is that of `vector::add`.
    unsafe { vector::add::<Neon>(strip) }
}
