//! Sixteen lanes on x86-64.

use super::vector::loops;
use crate::simd::Avx512;

loops!(Avx512, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]);
