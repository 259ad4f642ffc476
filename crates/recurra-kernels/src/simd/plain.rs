//! Eight values in an array: what the compiler makes of it on any machine.

use super::Vector;
use super::math::ROUNDER;

const LANES: usize = 8;

/// Eight lanes without instructions of their own.
#[derive(Clone, Copy, Debug)]
pub struct Plain([f32; LANES]);

#[inline(always)]
fn each(a: Plain, b: Plain, f: impl Fn(f32, f32) -> f32) -> Plain {
    Plain(std::array::from_fn(|lane| f(a.0[lane], b.0[lane])))
}

impl Vector for Plain {
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for `LANES` readable values.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for `LANES` writable values.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller vouches for `n` readable values.
        Self(std::array::from_fn(
            |lane| if lane < n { unsafe { from.add(lane).read() } } else { 0.0 },
        ))
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        for lane in 0..n {
            // SAFETY: the caller vouches for `n` writable values.
            unsafe { to.add(lane).write(self.0[lane]) }
        }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        each(self, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        each(self, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        each(self, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        each(self, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // Rounded twice: without the instruction, `f32::mul_add` is a slow call.
        Self(std::array::from_fn(|lane| self.0[lane] * b.0[lane] + c.0[lane]))
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        each(self, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        each(self, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // |x| < 2²² is all that `exp` asks for.
        Self(self.0.map(|x| (x + ROUNDER) - ROUNDER))
    }
    #[inline(always)]
    unsafe fn exp2_of_whole(self) -> Self {
        Self(self.0.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32)))
    }
    #[inline(always)]
    unsafe fn select_less(self, bound: Self, below: Self, otherwise: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            if self.0[lane] < bound.0[lane] { below.0[lane] } else { otherwise.0[lane] }
        }))
    }
    #[inline(always)]
    unsafe fn with_sign_of(self, sign: Self) -> Self {
        each(self, sign, f32::copysign)
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
}
