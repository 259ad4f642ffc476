//! Draws by noise: the largest of l / T + g, with noise g of Gumbel's distribution, is a token of probability ∝ e^(l / T)
//! (Gumbel, 1954; Maddison et al., 2014). So drawing is a search for the largest, and needs no sum over all tokens.
//!
//! The noise of a token is a function of a key and its id: g = −ln(−ln(1 − v)) with v = (h + ½) / 2³² of a hash h.
//! Additions and multiplications only, none of them fused, so the same bits everywhere.

use crate::counter::Counter;
use crate::simd::math::{LN_2_HIGH, LN_2_LOW};

/// The noise of one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// 1 / T.
    scale: f32,
    counter: Counter,
}

impl Noise {
    /// That of a draw at temperature T, taken as at least 10⁻¹⁸ and at most 10³⁰, where `key` decides every bit.
    pub fn new(temperature: f64, key: u64) -> Self {
        let scale = (1.0 / temperature).clamp(1e-30, 1e18) as f32;
        Self { scale, counter: Counter::new(key) }
    }

    /// l ← l / T + g for logits of neighbouring ids, the first of which is `first`.
    pub fn add(&self, logits: &mut [f32], first: usize) {
        // SAFETY: these are the loops of an instruction set that this machine has.
        unsafe { (super::kernels::best().disturb)(self, logits, first) }
    }

    /// The same, to be compiled for an instruction set.
    #[inline(always)]
    pub(super) fn add_to(&self, logits: &mut [f32], first: usize) {
        for (id, logit) in (first as u32..).zip(logits) {
            *logit = self.with(*logit, id);
        }
    }

    /// l / T + g.
    #[inline(always)]
    pub(super) fn with(&self, logit: f32, id: u32) -> f32 {
        logit * self.scale + gumbel(self.counter.at(id))
    }
}

/// g of a hash; within 2·10⁻⁶.
#[inline(always)]
fn gumbel(hash: u32) -> f32 {
    /// 2⁻³².
    const UNIT: f32 = 1.0 / 4_294_967_296.0;
    /// Where 1 − v would lose digits of v, −ln(1 − v) = v + v²·r(v), r fitted on Chebyshev nodes.
    const NEAR: f32 = 0.25;
    const R: [f32; 5] = [0.500_000_5, 0.333_234_24, 0.253_097_5, 0.167_063_05, 0.300_674];
    let v = (hash as f32 + 0.5) * UNIT;
    let near = v + v * v * polynomial(v, R);
    let far = -ln((1.0 - v).max(0.25 * f32::EPSILON));
    -ln(if v < NEAR { near } else { far })
}

/// ln x of a normal number: x = 2ᵉ·(1 + f) with √½ ≤ 1 + f < √2, and ln(1 + f) = f + f²·q(f), q fitted on Chebyshev nodes.
#[inline(always)]
fn ln(x: f32) -> f32 {
    const ROOT_HALF: i32 = 0x3f35_04f3;
    const Q: [f32; 8] = [
        -0.5,
        0.333_336_7,
        -0.250_011_47,
        0.199_720_5,
        -0.165_884_9,
        0.148_347_86,
        -0.141_596_48,
        0.087_872_654,
    ];
    let bits = x.to_bits() as i32;
    let exponent = (bits - ROOT_HALF) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    let e = exponent as f32;
    e * LN_2_HIGH + (f + (e * LN_2_LOW + f * f * polynomial(f, Q)))
}

/// `c[0] + c[1]·x + c[2]·x² + …` by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum * x + coefficient;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::kernels::Kernels;
    use super::super::{Likeliest, Storage};
    use super::*;
    use crate::Isa;

    #[test]
    fn noise_is_gumbels_with_the_stated_error() {
        let hashes = (0..4096).map(|idx| (idx << 20) | (idx * 255));
        for hash in hashes.chain([0, 1, 2, 255, u32::MAX - 300]) {
            let v = (f64::from(hash) + 0.5) / 4_294_967_296.0;
            let exact = -(-(-v).ln_1p()).ln();
            // v itself is rounded: near 1 that counts.
            let error = 2e-6 + 1e-7 / ((1.0 - v) * -(-v).ln_1p());
            assert!((f64::from(gumbel(hash)) - exact).abs() < error, "{hash}");
        }
        assert!(gumbel(u32::MAX).is_finite());
    }

    #[test]
    fn noise_has_the_same_bits_on_every_instruction_set() {
        let noise = Noise::new(0.7, 5);
        let logits: Vec<f32> = (0..1003).map(|idx| (idx % 97) as f32 / 9.0 - 4.0).collect();
        for isa in Isa::available() {
            let mut found = logits.clone();
            // SAFETY: the machine has this instruction set.
            unsafe {
                (Kernels::of(isa, Storage::F32, 1).disturb)(&noise, &mut found[..500], 40);
                (Kernels::of(isa, Storage::F32, 1).disturb)(&noise, &mut found[500..], 540);
            }
            for (idx, (found, &logit)) in found.into_iter().zip(&logits).enumerate() {
                assert_eq!(found, noise.with(logit, 40 + idx as u32), "{isa}");
            }
        }
    }

    #[test]
    fn tokens_are_drawn_as_often_as_their_probabilities_say() {
        let logits: Vec<f32> = (0..300).map(|idx| (idx * 37 % 101) as f32 / 12.0).collect();
        for temperature in [0.5, 1.0, 3.0] {
            let weights = logits.iter().map(|&l| (f64::from(l) / temperature).exp());
            let weights: Vec<f64> = weights.collect();
            let total: f64 = weights.iter().sum();
            let (n, mut counts) = (30_000, [0_u32; 300]);
            for key in 0..n {
                let mut logits = logits.clone();
                Noise::new(temperature, key).add(&mut logits, 7);
                counts[Likeliest::of(&logits).id as usize] += 1;
            }
            for (id, (&count, weight)) in counts.iter().zip(weights).enumerate() {
                let mean = n as f64 * weight / total;
                assert!(
                    (f64::from(count) - mean).abs() <= 5.0 * (mean + 1.0).sqrt(),
                    "token {id}: {count}, not {mean}"
                );
            }
        }
    }

    #[test]
    fn what_is_masked_stays_masked_at_any_temperature() {
        for temperature in [1e-300, 1.0, 1e300] {
            let mut logits = [f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY];
            Noise::new(temperature, 1).add(&mut logits, 0);
            assert_eq!(Likeliest::of(&logits).id, 1);
            assert!(logits[1].is_finite() && logits[0] == f32::NEG_INFINITY);
        }
    }
}
