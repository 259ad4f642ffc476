//! Four lanes on 64-bit ARM.

use super::vector::loops;
use crate::simd::Neon;

loops!(Neon, []);
