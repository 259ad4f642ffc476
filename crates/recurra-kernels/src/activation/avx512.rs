//! Activations with AVX-512, to the last digits, and quicker where products are of `bf16` anyway.

use super::vector;
use super::{Back, Loops, Run};
use crate::simd::math::Exact;
use crate::simd::{Avx512, Quick};

pub(super) static LOOPS: Loops = Loops { forward, backward };
pub(super) static QUICK: Loops = Loops { forward: quick_forward, backward: quick_backward };

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn forward(run: Run<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Avx512, Exact>(run, y) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn backward(run: Run<'_>, d_y: &[f32], back: Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Avx512, Exact>(run, d_y, back) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_forward(run: Run<'_>, y: &mut [f32]) {
    // SAFETY: by this function's contract, which is that of `vector::forward`.
    unsafe { vector::forward::<Avx512, Quick>(run, y) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn quick_backward(run: Run<'_>, d_y: &[f32], back: Back<'_>) {
    // SAFETY: by this function's contract, which is that of `vector::backward`.
    unsafe { vector::backward::<Avx512, Quick>(run, d_y, back) }
}
