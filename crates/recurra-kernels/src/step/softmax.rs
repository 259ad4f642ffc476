//! Exponentials of a row of logits, with the same bits on every machine: a token is drawn from them.

use crate::simd::Vector;
use crate::simd::math::{LN_2_HIGH, LN_2_LOW, ROUNDER};

/// Values whose sum is one chain of `f64`.
const CHAIN: usize = 64;

/// x ← e^((x − largest) · scale), and 0 below e⁻⁸⁷; for x ≤ largest.
///
/// With n·ln 2 + r = (x − largest) · scale and |r| ≤ ln 2 / 2 it is 2ⁿ·eʳ by Taylor's series to r⁷; relative error below
/// 3·10⁻⁷. Additions and multiplications only, none of them fused, so the same bits everywhere.
pub fn exponentials(values: &mut [f32], largest: f32, scale: f32) {
    // SAFETY: these are the loops of an instruction set that this machine has.
    unsafe { (super::kernels::best().exponentials)(values, largest, scale) }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(super) unsafe fn exponentials_of<V: Vector>(values: &mut [f32], largest: f32, scale: f32) {
    let len = values.len();
    for first in (0..len).step_by(V::LANES) {
        let n = V::LANES.min(len - first);
        // SAFETY: `n` values are there.
        unsafe {
            let place = values.as_mut_ptr().add(first);
            let x: V = crate::recurrent::load(place, n);
            let x = x.sub(V::splat(largest)).mul(V::splat(scale));
            crate::recurrent::store(exp(x), place, n);
        }
    }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn exp<V: Vector>(x: V) -> V {
    const LOWEST: f32 = -87.0;
    // SAFETY: by this function's contract.
    unsafe {
        let clamped = x.max(V::splat(LOWEST));
        let shifted = clamped.mul(V::splat(std::f32::consts::LOG2_E)).add(V::splat(ROUNDER));
        let n = shifted.sub(V::splat(ROUNDER));
        let r = clamped.sub(n.mul(V::splat(LN_2_HIGH))).sub(n.mul(V::splat(LN_2_LOW)));
        let mut sum = V::splat(1.0 / 5040.0);
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum.mul(r).add(V::splat(coefficient));
        }
        x.select_less(V::splat(LOWEST), V::splat(0.0), sum.mul(n.exp2_of_whole()))
    }
}

/// Σ of values, in chains of 64 that are added up after another: the same on every machine.
pub fn sum(values: &[f32]) -> f64 {
    values.chunks(CHAIN).map(chain).sum()
}

fn chain(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (whole, rest) = values.as_chunks::<8>();
    for values in whole {
        for (lane, &value) in lanes.iter_mut().zip(values) {
            *lane += f64::from(value);
        }
    }
    lanes.into_iter().chain(rest.iter().map(|&value| f64::from(value))).sum()
}

/// The first place at which the values, added up to it, exceed `target`; none where they never do.
pub fn place_of(values: &[f32], target: f64) -> Option<usize> {
    let mut sum = 0.0;
    for (idx, values) in values.chunks(CHAIN).enumerate() {
        let after = sum + chain(values);
        if after > target {
            let within = values.iter().position(|&value| {
                sum += f64::from(value);
                sum > target
            });
            // Added up one by one the chain may end a rounding below: then it is its last value that is not 0.
            let last = || values.iter().rposition(|&value| value > 0.0);
            return within.or_else(last).map(|within| idx * CHAIN + within);
        }
        sum = after;
    }
    None
}

/// ln Σ eˡ of a row of logits; not a number where one of them is none.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    const PIECE: usize = 512;
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let is_sound = logits.iter().fold(largest.is_finite(), |sound, &l| sound & (l < f32::INFINITY));
    if !is_sound {
        return f64::NAN;
    }
    let mut total = 0.0;
    let mut piece = [0.0; PIECE];
    for logits in logits.chunks(PIECE) {
        let piece = &mut piece[..logits.len()];
        piece.copy_from_slice(logits);
        exponentials(piece, largest, 1.0);
        total += sum(piece);
    }
    total.ln() + f64::from(largest)
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::super::kernels::Kernels;
    use super::*;
    use crate::Isa;

    /// Whatever this machine has, on the same values.
    fn with_each(values: &[f32], largest: f32, scale: f32) -> Vec<Vec<f32>> {
        Isa::available()
            .into_iter()
            .map(|isa| {
                let mut values = values.to_vec();
                // SAFETY: the machine has this instruction set.
                unsafe {
                    (Kernels::of(isa, Storage::F32, 1).exponentials)(&mut values, largest, scale);
                }
                values
            })
            .collect()
    }

    #[test]
    fn exponentials_keep_their_stated_error_and_their_bits_on_every_instruction_set() {
        let mut values: Vec<f32> = (0..200_001).map(|i| 3.0 - 87.0 * i as f32 / 2e5).collect();
        values.extend([3.0, -85.0, f32::NEG_INFINITY]);
        let found = with_each(&values, 3.0, 1.0);
        assert!(found.iter().all(|one| *one == found[0]));
        for (&x, &y) in values.iter().zip(&found[0][..200_000]) {
            let exact = f64::from(x - 3.0).exp();
            assert!((f64::from(y) - exact).abs() < 3e-7 * exact, "exp({x} - 3)");
        }
        assert_eq!(found[0][200_001..], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn every_share_of_the_whole_finds_a_token_that_stayed() {
        let weights = [0.0, 0.25, 0.0, 0.75, 0.0];
        for (target, expected) in [(0.0, 1), (0.249, 1), (0.25, 3), (1.0 - 2.0_f64.powi(-53), 3)] {
            assert_eq!(place_of(&weights, target), Some(expected));
        }
        assert_eq!(place_of(&weights, 1.0), None);
        let many: Vec<f32> = (0..1000).map(|i| (i % 7) as f32).collect();
        for target in [0.0, 1.0, 500.5, sum(&many) - 0.5] {
            let mut rest = target;
            let expected = many.iter().position(|&w| {
                rest -= f64::from(w);
                rest < 0.0
            });
            assert_eq!(place_of(&many, target), expected, "{target}");
        }
    }

    #[test]
    fn the_logarithm_of_the_sum_is_exact_enough_and_hides_nothing() {
        let logits: Vec<f32> = (0..1777).map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0).collect();
        let exact = logits.iter().map(|&l| f64::from(l).exp()).sum::<f64>().ln();
        assert!((log_sum_exp(&logits) - exact).abs() < 1e-6);
        assert!(log_sum_exp(&[0.0, f32::NAN]).is_nan());
        assert!(log_sum_exp(&[0.0, f32::INFINITY]).is_nan());
        assert_eq!(log_sum_exp(&[5.0, f32::NEG_INFINITY]), 5.0);
    }
}
