//! The step beside its products with whatever the compiler makes of it.

use super::vector::loops;
use crate::simd::Plain;

loops!(Plain, []);
