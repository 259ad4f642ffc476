//! The mLSTM with AVX-512.

use super::chunk::loops;
use crate::simd::Avx512;

loops!(Avx512, 8, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]);
