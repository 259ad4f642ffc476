//! The mLSTM with AVX2 and FMA.

use super::chunk::loops;
use crate::simd::Avx2;

loops!(Avx2, 4, [target_feature(enable = "avx2,fma")]);
