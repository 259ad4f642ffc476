//! The mLSTM with AVX-512.

use super::backward::Backward;
use super::chunk::Forward;
use super::{Loops, backward, chunk};
use crate::simd::Avx512;

pub(super) static LOOPS: Loops = Loops { forward, backward: back };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn forward(job: &Forward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { chunk::forward::<Avx512, 8>(job, head, scratch) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn back(job: &Backward<'_>, head: usize, scratch: &mut [f32]) {
    // SAFETY: the caller's contract is the same.
    unsafe { backward::backward::<Avx512, 8>(job, head, scratch) }
}
