//! The loops as the compiler makes them for any machine.

use super::bytes;
use super::kernels::loops;
use crate::simd::Plain;

loops!(Plain, 2, bytes::multiply, []);
