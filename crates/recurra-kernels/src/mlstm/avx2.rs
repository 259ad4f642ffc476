//! The mLSTM with AVX2 and FMA.

use super::backward::Backward;
use super::chunk::Forward;
use super::{Loops, backward, chunk};
use crate::simd::Avx2;

pub(super) static LOOPS: Loops = Loops { forward, backward: back };

#[target_feature(enable = "avx2,fma")]
unsafe fn forward(job: &Forward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { chunk::forward::<Avx2, 4>(job, head, scratch) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn back(job: &Backward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { backward::backward::<Avx2, 4>(job, head, scratch) }
}
