//! The mLSTM with NEON.

use super::chunk::loops;
use crate::simd::Neon;

loops!(Neon, 8, []);
