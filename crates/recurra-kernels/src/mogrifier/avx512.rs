//! The step beside its products with AVX-512, to the last digits, and quicker where products are of `bf16` anyway.

use super::Loops;
use super::vector::loops;
use crate::simd::{Avx512, Quick};

loops!(Avx512, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]);

pub(super) static QUICK: Loops = Loops {
    scale: scale::<Quick>,
    scale_backward,
    step: step::<Quick>,
    step_backward: step_backward::<Quick>,
};
