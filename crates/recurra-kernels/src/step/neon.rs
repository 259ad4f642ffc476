//! The loops with NEON.

use super::cell::{self, Finish};
use super::kernels::{Input, Kernels, enter_nothing, leave_nothing, loops};
use super::layout::{LANES, Line, lay_out_int8_of};
use super::likeliest::Lanes;
use super::noise::Noise;
use super::product::Product;
use super::{Storage, bytes, quantize, softmax, vector};
use crate::simd::Neon;

loops!(Neon, 4, multiply_int8, []);

unsafe fn multiply_int8(product: &Product<'_>) {
    // SAFETY: the caller's contract is the same.
    unsafe { bytes::multiply(product) }
}
