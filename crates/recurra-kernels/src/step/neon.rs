//! The loops with NEON.

use super::bytes;
use super::kernels::loops;
use crate::simd::Neon;
use crate::simd::math::Exact;

loops!(Neon, 4, bytes::multiply, Exact, []);
