//! The loops as the compiler makes them for any machine.

use super::bytes;
use super::kernels::loops;
use crate::simd::Plain;
use crate::simd::math::Exact;

loops!(Plain, 2, bytes::multiply, Exact, []);
