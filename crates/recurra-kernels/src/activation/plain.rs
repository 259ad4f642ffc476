//! Activations on any machine.

use super::vector;
use super::{Back, Loops, Run};
use crate::simd::Plain;
use crate::simd::math::Exact;

pub(super) static LOOPS: Loops = Loops { forward, backward };

unsafe fn forward(run: Run<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Plain, Exact>(run, y) }
}

unsafe fn backward(run: Run<'_>, d_y: &[f32], back: Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Plain, Exact>(run, d_y, back) }
}
