//! The two number types of the engine: `f32` for work, `f64` for checking gradients.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// A number type the engine computes in. `f32` takes the fast paths; `f64` takes the reference, for finite differences.
pub trait Element:
    Copy
    + Default
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same value as an `f64`.
    fn to_f64(self) -> f64;
    /// eˣ.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;

    /// The logistic function, 1 / (1 + e⁻ˣ).
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }

    /// The slice itself when the type is `f32`: how a kernel finds out that its fast path applies.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;
    /// The slice itself, mutable, when the type is `f32`.
    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

/// The slice itself, where another operand of the same type has been found to be `f32`.
#[track_caller]
pub(crate) fn expect_f32<E: Element>(values: &mut [E]) -> &mut [f32] {
    E::as_f32_mut(values).expect("one type for all operands")
}

macro_rules! element {
    ($float:ident, $as_f32:expr, $as_f32_mut:expr) => {
        impl Element for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn from_f64(x: f64) -> Self {
                x as $float
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> Self {
                $float::exp(self)
            }
            fn ln(self) -> Self {
                $float::ln(self)
            }
            fn tanh(self) -> Self {
                $float::tanh(self)
            }
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            fn as_f32(values: &[Self]) -> Option<&[f32]> {
                $as_f32(values)
            }
            fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
                $as_f32_mut(values)
            }
        }
    };
}

element!(f32, Some, Some);
element!(f64, |_| None, |_| None);
