//! Activations on any machine.

use super::vector::loops;
use crate::simd::Plain;

loops!(Plain, []);
