//! From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, and a draw that a seed decides.
//!
//! The steps come in the order of Hugging Face's `generate`: the penalty works on the logits, the temperature divides them,
//! then each filter sees what the one before it has left:
//!
//! 1. repetition penalty θ (Keskar et al., 2019): the logit of every token among the last `repetition_window` is divided
//!    by θ where it is positive and multiplied by it where it is negative;
//! 2. temperature T: p ∝ e^(logit / T); at T = 0 (or k = 1) the likeliest is taken and nothing drawn;
//! 3. top-k (Fan et al., 2018): the k likeliest stay;
//! 4. top-p (Holtzman et al., 2020): the fewest likeliest tokens whose probabilities add up to p or more stay;
//! 5. min-p (Nguyen et al., 2024): tokens of at least `min_p` times the largest probability stay;
//! 6. the probabilities of those that stay are scaled to 1 and one token is drawn.
//!
//! Of equal logits the lower id counts as the likelier one. The n-th draw of a seed is always the same number, whatever
//! was drawn before, so a seed and a count are the whole position of a sampler.

use std::cmp::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod recent;

pub use recent::Recent;

/// The most tokens that a repetition penalty looks back.
const LARGEST_WINDOW: usize = 1 << 16;

/// How a token is chosen among the likely ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// T: below 1 more daring tokens become rarer, above 1 more frequent; 0 takes the likeliest always.
    pub temperature: f64,
    /// Only so many of the likeliest; `None` for all.
    pub top_k: Option<usize>,
    /// Only the likeliest that together have this probability; 1 for all.
    pub top_p: f64,
    /// Only those of at least this share of the largest probability; 0 for all.
    pub min_p: f64,
    /// θ: above 1 makes tokens rarer that came lately; 1 for none.
    pub repetition_penalty: f64,
    /// How many of the last tokens count as lately, the prompt's among them.
    pub repetition_window: usize,
}

impl Default for Sampling {
    /// The model's own probabilities.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
        }
    }
}

impl Sampling {
    /// The likeliest token always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// Names the first that is outside of its range.
    pub fn check(&self) -> Result<()> {
        let check = |name, found: f64, fits: bool, expected| {
            if fits {
                Ok(())
            } else {
                Err(Error::Setting { name, found: found.to_string(), expected })
            }
        };
        let Self { temperature, top_k, top_p, min_p, repetition_penalty, repetition_window } =
            *self;
        let positive = |x: f64| x > 0.0 && x.is_finite();
        check(
            "temperature",
            temperature,
            temperature == 0.0 || positive(temperature),
            "0 or more",
        )?;
        let k = top_k.unwrap_or(1);
        check("top-k", k as f64, k > 0, "1 or more")?;
        check("top-p", top_p, top_p > 0.0 && top_p <= 1.0, "more than 0, at most 1")?;
        check("min-p", min_p, (0.0..=1.0).contains(&min_p), "0 to 1")?;
        let expected = "more than 0";
        check("repetition penalty", repetition_penalty, positive(repetition_penalty), expected)?;
        let (window, fits) = (repetition_window as f64, repetition_window <= LARGEST_WINDOW);
        check("repetition window", window, fits, "at most 65536")
    }
}

/// Where a sampler stands: all that the next draw depends on, besides the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draws {
    /// Decides every draw.
    pub seed: u64,
    /// How many have been made.
    pub count: u64,
}

impl Draws {
    /// The beginning of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next number, in [0, 1): a multiple of 2⁻⁵³ (ChaCha, Bernstein, 2008, 8 rounds, two words a draw).
    pub fn unit(&mut self) -> f64 {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_word_pos(u128::from(self.count) * 2);
        self.count = self.count.wrapping_add(1);
        (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Chooses tokens; keeps the buffers that it works in, so that a choice takes no memory.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    weights: Vec<f32>,
    /// Ranks of logits in top-k, ids in top-p.
    order: Vec<u32>,
    /// The last choice in which a token was penalised, so that none is twice.
    penalised: Vec<u64>,
    n_choices: u64,
}

impl Sampler {
    /// A sampler of these settings.
    ///
    /// # Errors
    /// As [`Sampling::check`].
    pub fn new(sampling: Sampling) -> Result<Self> {
        sampling.check()?;
        let (weights, order, penalised) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { sampling, weights, order, penalised, n_choices: 0 })
    }

    /// What it was made with.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses a token by its logits and what came lately.
    ///
    /// # Shapes
    /// `logits` (V), not empty.
    ///
    /// # Errors
    /// When a logit is not a number or +∞, or all are −∞: the model is damaged.
    pub fn choose(&mut self, logits: &[f32], recent: &Recent, draws: &mut Draws) -> Result<u32> {
        self.weights.clear();
        self.weights.extend_from_slice(logits);
        if !logits.iter().fold(true, |sound, &x| sound & (x < f32::INFINITY)) {
            return Err(Error::Logits);
        }
        self.penalise(recent);
        let (likeliest, largest) = largest(&self.weights).ok_or(Error::Logits)?;
        if self.sampling.temperature == 0.0 || self.sampling.top_k == Some(1) {
            return Ok(likeliest);
        }
        if let Some(k) = self.sampling.top_k {
            self.keep_top_k(k);
        }
        let scale = (1.0 / self.sampling.temperature) as f32;
        for weight in &mut self.weights {
            *weight = exp((*weight - largest) * scale);
        }
        if self.sampling.top_p < 1.0 {
            self.keep_top_p(self.sampling.top_p);
        }
        if self.sampling.min_p > 0.0 {
            let least = self.sampling.min_p as f32;
            self.weights
                .iter_mut()
                .filter(|weight| **weight < least)
                .for_each(|weight| *weight = 0.0);
        }
        Ok(draw(&self.weights, draws.unit()).unwrap_or(likeliest))
    }

    fn penalise(&mut self, recent: &Recent) {
        let penalty = self.sampling.repetition_penalty as f32;
        if penalty == 1.0 {
            return;
        }
        self.n_choices += 1;
        self.penalised.resize(self.weights.len(), 0);
        for id in recent.last(self.sampling.repetition_window) {
            let Some(last) = self.penalised.get_mut(id as usize) else { continue };
            if std::mem::replace(last, self.n_choices) != self.n_choices {
                let logit = &mut self.weights[id as usize];
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    /// Sets every logit to −∞ that is not among the `k` largest.
    fn keep_top_k(&mut self, k: usize) {
        if k >= self.weights.len() {
            return;
        }
        self.order.clear();
        self.order.extend(self.weights.iter().map(|&logit| rank(logit)));
        let (_, &mut last, _) = self.order.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        let n_above = self.order[..k].iter().filter(|&&rank| rank > last).count();
        let mut n_equal = k - n_above;
        for logit in &mut self.weights {
            let is_equal = rank(*logit) == last;
            if rank(*logit) < last || (is_equal && n_equal == 0) {
                *logit = f32::NEG_INFINITY;
            } else if is_equal {
                n_equal -= 1;
            }
        }
    }

    /// Sets every weight to 0 that is not among the fewest that reach the share `p`.
    fn keep_top_p(&mut self, p: f64) {
        let total = sum(&self.weights);
        // All below this together have less than 1 − p: none of them is needed, and none has to be sorted.
        let least = ((1.0 - p) * total / self.weights.len() as f64) as f32 * 0.999;
        let weights = &mut self.weights;
        self.order.clear();
        self.order.extend((0..).zip(&*weights).filter(|(_, w)| **w >= least).map(|(id, _)| id));
        self.order.sort_unstable_by(|&a, &b| likelier(weights, a, b));
        let mut share = 0.0;
        let last = self.order.iter().position(|&id| {
            share += f64::from(weights[id as usize]);
            share >= p * total
        });
        if let Some(last) = last {
            self.order.truncate(last + 1);
            self.order.sort_unstable();
            let mut kept = self.order.iter().copied().peekable();
            for (id, weight) in (0..).zip(weights) {
                if kept.next_if_eq(&id).is_none() {
                    *weight = 0.0;
                }
            }
        }
    }
}

/// A whole number that orders as the logit does; whole numbers are compared much faster.
fn rank(logit: f32) -> u32 {
    let bits = (logit + 0.0).to_bits(); // −0 becomes 0
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The order of likelihood, likeliest first; of equal ones the lower id.
fn likelier(weights: &[f32], a: u32, b: u32) -> Ordering {
    weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b))
}

/// The place and the value of the first largest finite logit.
fn largest(logits: &[f32]) -> Option<(u32, f32)> {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = logits.as_chunks::<16>();
    for values in whole {
        for (lane, &x) in lanes.iter_mut().zip(values) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let largest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let place = logits.iter().position(|&x| x == largest)?;
    (largest > f32::NEG_INFINITY).then_some((place as u32, largest))
}

fn sum(weights: &[f32]) -> f64 {
    weights.iter().map(|&w| f64::from(w)).sum()
}

/// The first token whose weights, added up to it, exceed the share `unit` of all.
fn draw(weights: &[f32], unit: f64) -> Option<u32> {
    let target = unit * sum(weights);
    let mut sum = 0.0;
    let place = weights.iter().position(|&weight| {
        sum += f64::from(weight);
        sum > target
    });
    place.map(|place| place as u32)
}

/// eˣ for x ≤ 0, and 0 below −87: additions and multiplications only, so the same bits on every machine, and as vectors.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, then 2ⁿ·eʳ by Taylor's series to r⁷; relative error below 3·10⁻⁷.
fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding 1.5·2²³ leaves the nearest whole number in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let clamped = if x > -87.0 { x } else { -87.0 };
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x >= -87.0 { sum * power } else { 0.0 }
}

#[cfg(test)]
mod tests;
