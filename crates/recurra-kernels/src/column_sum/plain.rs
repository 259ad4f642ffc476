//! Column sums on any machine.

use super::Kernel;
use super::vector::{self, Strip, WIDTH};
use crate::simd::{Plain, Vector};

pub(super) static KERNEL: Kernel = Kernel { cols: WIDTH * Plain::LANES, add };

unsafe fn add(strip: &Strip) {
    // SAFETY: by this function's contract, which is that of `vector::add`.
    unsafe { vector::add::<Plain>(strip) }
}
