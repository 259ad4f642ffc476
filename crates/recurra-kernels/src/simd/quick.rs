//! Gates whose operands are `bf16` or `i8` anyway: logistic function and hyperbolic tangent in half as many instructions.
//!
//! Measured against `f64` over all of the range by this folder's tests: off by less than 2·10⁻⁶, where `bf16` is off by 2·10⁻³.

use super::math::{GateFunctions, polynomial};
use super::{Avx512, Vector};
use std::f32::consts::LOG2_E;

/// To six decimal places.
pub(crate) struct Quick;

/// 1 / (1 + 2ᵗ), for t below 126: 2ᵗ is 2 to its whole part times a polynomial of the rest, fitted to the least relative
/// error on 0..1 (2.6·10⁻⁶).
#[inline(always)]
unsafe fn falling(t: Avx512) -> Avx512 {
    const POWER: [f32; 5] = [1.000_002_6, 0.693_003_83, 0.241_442_75, 0.052_011_46, 0.013_534_167];
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let t = t.min(Avx512::splat(126.0));
        let power = polynomial(t.fraction(), POWER).times_exp2_of_floor(t);
        Avx512::splat(1.0).add(power).reciprocal()
    }
}

impl GateFunctions<Avx512> for Quick {
    #[inline(always)]
    unsafe fn sigmoid(x: Avx512) -> Avx512 {
        // SAFETY: the same contract.
        unsafe { falling(x.mul(Avx512::splat(-LOG2_E))) }
    }

    /// 1 − 2 / (1 + e²ˣ)
    #[inline(always)]
    unsafe fn tanh(x: Avx512) -> Avx512 {
        // SAFETY: the same contract.
        unsafe {
            let half = falling(x.mul(Avx512::splat(2.0 * LOG2_E)));
            half.mul_add(Avx512::splat(-2.0), Avx512::splat(1.0))
        }
    }
}
