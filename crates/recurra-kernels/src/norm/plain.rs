//! Norms on any machine.

use super::vector;
use super::{Back, Loops, Rows};
use crate::simd::Plain;

pub(super) static LOOPS: Loops = Loops { forward, backward };

unsafe fn forward(rows: &Rows<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Plain>(rows, y) }
}

unsafe fn backward(rows: &Rows<'_>, d_y: &[f32], back: &mut Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Plain>(rows, d_y, back) }
}
