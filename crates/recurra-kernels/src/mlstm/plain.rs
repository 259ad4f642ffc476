//! The mLSTM with whatever the compiler makes of it.

use super::backward::Backward;
use super::chunk::Forward;
use super::{Loops, backward, chunk};
use crate::simd::Plain;

pub(super) static LOOPS: Loops = Loops { forward, backward: back };

unsafe fn forward(job: &Forward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { chunk::forward::<Plain, 4>(job, head, scratch) }
}

unsafe fn back(job: &Backward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { backward::backward::<Plain, 4>(job, head, scratch) }
}
