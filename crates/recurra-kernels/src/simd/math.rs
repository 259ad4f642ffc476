//! Exponential, logistic function and hyperbolic tangent on vectors.
//!
//! Measured against `f64` over all of the range by this folder's tests: relative error of [`exp`] below 3·10⁻⁷ (about two
//! units in the last place), of [`sigmoid`] and [`tanh`] below 4·10⁻⁷, of
//! [`log_sigmoid`] below 5·10⁻⁷.
#![allow(clippy::missing_safety_doc)] // one contract for all: that of `Vector`

use super::Vector;

/// Adding 1.5·2²³ leaves the nearest whole number, ties to even, in the low bits of an `f32` of magnitude below 2²²;
/// taking it away again leaves it as an `f32`.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts, of which the first has few digits: its products with small whole numbers are exact.
pub(crate) const LN_2_HIGH: f32 = 0.693_359_4;
/// The rest of it.
pub(crate) const LN_2_LOW: f32 = -2.121_944_4e-4;

/// The nearest `bf16`, ties to even, as bits.
#[inline(always)]
pub(crate) fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = if x.is_nan() { bits | 1 << 22 } else { bits + 0x7fff + (bits >> 16 & 1) };
    (rounded >> 16) as u16
}

/// The functions that gates are made of.
pub(crate) trait GateFunctions<V: Vector> {
    /// σ(x).
    unsafe fn sigmoid(x: V) -> V;
    /// Hyperbolic tangent.
    unsafe fn tanh(x: V) -> V;
}

/// To the last digits of an `f32`.
pub(crate) struct Exact;

impl<V: Vector> GateFunctions<V> for Exact {
    #[inline(always)]
    unsafe fn sigmoid(x: V) -> V {
        // SAFETY: the same contract.
        unsafe { sigmoid(x) }
    }
    #[inline(always)]
    unsafe fn tanh(x: V) -> V {
        // SAFETY: the same contract.
        unsafe { tanh(x) }
    }
}

/// `c[0] + c[1]·x + c[2]·x² + …` by Horner's rule.
#[inline(always)]
pub(super) unsafe fn polynomial<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let mut sum = V::splat(coefficients[N - 1]);
        for &coefficient in coefficients[..N - 1].iter().rev() {
            sum = sum.mul_add(x, V::splat(coefficient));
        }
        sum
    }
}

/// eˣ: x = n·ln 2 + r with |r| ≤ ln 2 / 2, then eʳ = 1 + r + r²·q(r) with q fitted on Chebyshev nodes, times 2ⁿ.
///
/// Below −87.3 the result is about 10⁻³⁸ and above 88 about 10³⁸: clamped, so that nothing becomes infinite. A value that
/// is not a number becomes the lower bound; losses check for those at the source.
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    const Q: [f32; 5] = [0.5, 0.166_665_76, 0.041_666_463, 0.008_363_236, 0.001_393_373_4];
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let x = x.max(V::splat(-87.3)).min(V::splat(88.0));
        let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(V::splat(-LN_2_HIGH), x);
        let r = n.mul_add(V::splat(-LN_2_LOW), r);
        let q = polynomial(r, Q);
        let power = r.mul(r).mul_add(q, r).add(V::splat(1.0));
        power.mul(n.exp2_of_whole())
    }
}

/// σ(x) = 1 / (1 + e⁻ˣ).
#[inline(always)]
pub unsafe fn sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let one = V::splat(1.0);
        one.add(exp(V::splat(0.0).sub(x))).reciprocal()
    }
}

/// log σ(x) = min(x, 0) − log(1 + e^(−|x|)), the logarithm as 2·artanh(s) of s = e / (2 + e) ≤ 1/3, whose series it is.
#[inline(always)]
pub unsafe fn log_sigmoid<V: Vector>(x: V) -> V {
    const ARTANH: [f32; 8] =
        [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0];
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let e = exp(V::splat(0.0).sub(x.abs()));
        let s = e.div(V::splat(2.0).add(e));
        x.min(V::splat(0.0)).sub(s.mul(polynomial(s.mul(s), ARTANH)))
    }
}

/// tanh(x): x + x³·p(x²) near zero, where 1 − e⁻²ˣ would lose digits; else (1 − e^(−2|x|)) / (1 + e^(−2|x|)) with x's sign.
#[inline(always)]
pub unsafe fn tanh<V: Vector>(x: V) -> V {
    const NEAR: f32 = 0.625;
    const P: [f32; 5] = [-0.333_333_28, 0.133_326_01, -0.053_825_85, 0.020_881_318, -0.005_932_98];
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let magnitude = x.abs();
        let z = x.mul(x);
        let near = x.mul(z).mul_add(polynomial(z, P), x);
        let e = exp(magnitude.mul(V::splat(-2.0)));
        let one = V::splat(1.0);
        let far = one.sub(e).mul(one.add(e).reciprocal()).with_sign_of(x);
        magnitude.select_less(V::splat(NEAR), near, far)
    }
}
