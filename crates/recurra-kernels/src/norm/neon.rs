//! Norms with NEON.

use super::vector::loops;
use crate::simd::Neon;

loops!(Neon, []);
