//! The mLSTM with whatever the compiler makes of it.

use super::chunk::loops;
use crate::simd::Plain;

loops!(Plain, 4, []);
