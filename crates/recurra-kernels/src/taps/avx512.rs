//! Sums of shifted copies with AVX-512.

use super::vector::loops;
use crate::simd::Avx512;

loops!(Avx512, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]);
