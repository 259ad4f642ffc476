//! Random numbers that depend on a seed and a stream only: not on order, threads or machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recurra_kernels::Element;

/// A counter-based generator (ChaCha, Bernstein 2008, 8 rounds): each `(seed, stream)` is its own sequence.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The sequence number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A number in [0, 1), a multiple of 2⁻²⁴, so that `f32` and `f64` models start alike.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32() >> 8) / f64::from(1_u32 << 24)
    }

    /// Fills `values` with numbers uniform in [−bound, bound).
    pub fn fill_uniform<E: Element>(&mut self, values: &mut [E], bound: f64) {
        for value in values {
            *value = E::from_f64(bound * (2.0 * self.unit() - 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.unit(), random.unit(), random.unit()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn uniform_has_the_right_mean_and_variance() {
        let mut values = vec![0.0_f64; 100_000];
        Random::new(7, 0).fill_uniform(&mut values, 0.5);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / n;
        assert!(mean.abs() < 4.0 * (1.0_f64 / 12.0 / n).sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 1e-3, "{variance}");
    }
}
