//! Attention with AVX2.

use super::vector::loops;
use crate::simd::Avx2;

loops!(Avx2, [target_feature(enable = "avx2,fma")]);
