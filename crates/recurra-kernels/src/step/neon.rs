//! The loops with NEON.

use super::bytes;
use super::kernels::loops;
use crate::simd::Neon;

loops!(Neon, 4, bytes::multiply, []);
