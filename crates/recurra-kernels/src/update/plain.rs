//! Whatever the compiler makes of it.

use super::vector::loops;
use crate::simd::Plain;

loops!(Plain, []);
