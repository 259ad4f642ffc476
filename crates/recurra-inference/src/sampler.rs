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
//! Where all tokens stay (no top-k, top-p or min-p) the one that is the likeliest after [`Noise`] is taken: a draw from the
//! same probabilities, for which not every logit has to be known.
//!
//! Of equal logits the lower id counts as the likelier one. The n-th draw of a seed is always the same number, whatever
//! was drawn before, so a seed and a count are the whole position of a sampler.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recurra_tensor::step::{Likeliest, Noise, exponentials, place_of, sum};
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
    /// θ, 0.01 to 100: above 1 makes tokens rarer that came lately; 1 for none.
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
        // It is used in f32, where no number within this range becomes 0 or infinite.
        let fits = (0.01..=100.0).contains(&repetition_penalty);
        check("repetition penalty", repetition_penalty, fits, "0.01 to 100")?;
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

    /// The next number, in [0, 1): a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Noise in place of the next number.
    pub fn noise(&mut self, temperature: f64) -> Noise {
        Noise::new(temperature, self.bits())
    }

    /// The next 64 bits (ChaCha, Bernstein, 2008, 8 rounds, two words a draw).
    fn bits(&mut self) -> u64 {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_word_pos(u128::from(self.count) * 2);
        self.count = self.count.wrapping_add(1);
        generator.next_u64()
    }
}

/// Chooses tokens; keeps the buffers that it works in, so that a choice takes no memory.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// Logits, then weights, of the tokens that may be chosen.
    weights: Vec<f32>,
    /// Which tokens these are, rising; all where it is empty.
    ids: Vec<u32>,
    /// What top-k and top-p put in order.
    order: Vec<u64>,
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
        let (weights, ids) = (Vec::new(), Vec::new());
        let (order, penalised) = (Vec::new(), Vec::new());
        Ok(Self { sampling, weights, ids, order, penalised, n_choices: 0 })
    }

    /// What it was made with.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Whether every choice is the likeliest token, whatever came lately.
    pub fn takes_the_likeliest(&self) -> bool {
        let Sampling { temperature, top_k, repetition_penalty, .. } = self.sampling;
        (temperature == 0.0 || top_k == Some(1)) && repetition_penalty == 1.0
    }

    /// Whether every choice is a draw from all tokens, whatever came lately; then a [`Noise`] is all that it needs.
    pub fn draws_from_all(&self) -> bool {
        self.keeps_all() && self.sampling.repetition_penalty == 1.0
    }

    /// Whether a draw is from all tokens.
    fn keeps_all(&self) -> bool {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        temperature > 0.0 && top_k.is_none() && top_p == 1.0 && min_p == 0.0
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
        self.ids.clear();
        let likeliest = match self.penalise(recent) {
            // A penalty cannot hide what is no number.
            true if !Likeliest::of(logits).is_sound() => return Err(Error::Logits),
            _ => Likeliest::of(&self.weights),
        };
        if !likeliest.is_sound() {
            return Err(Error::Logits);
        }
        if self.sampling.temperature == 0.0 || self.sampling.top_k == Some(1) {
            return Ok(likeliest.id);
        }
        if self.keeps_all() {
            draws.noise(self.sampling.temperature).add(&mut self.weights, 0);
            return Ok(Likeliest::of(&self.weights).id);
        }
        if let Some(k) = self.sampling.top_k {
            self.keep_top_k(k);
        }
        let scale = (1.0 / self.sampling.temperature) as f32;
        exponentials(&mut self.weights, likeliest.logit, scale);
        if self.sampling.top_p < 1.0 {
            self.keep_top_p(self.sampling.top_p);
        }
        if self.sampling.min_p > 0.0 {
            let least = self.sampling.min_p as f32;
            for weight in &mut self.weights {
                *weight = if *weight < least { 0.0 } else { *weight };
            }
        }
        let target = draws.unit() * sum(&self.weights);
        let Some(place) = place_of(&self.weights, target) else { return Ok(likeliest.id) };
        Ok(self.ids.get(place).copied().unwrap_or(place as u32))
    }

    /// Whether there is a penalty.
    fn penalise(&mut self, recent: &Recent) -> bool {
        let penalty = self.sampling.repetition_penalty as f32;
        if penalty == 1.0 {
            return false;
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
        true
    }

    /// Leaves the `k` largest logits.
    fn keep_top_k(&mut self, k: usize) {
        if k >= self.weights.len() {
            return;
        }
        let weights = &self.weights;
        // The k-th largest of the maxima of pieces is no larger than the k-th largest of all: what lies below is out.
        let piece = (weights.len() / (4 * k)).clamp(1, 64);
        let ranks = weights.chunks(piece).map(|piece| u64::from(rank(largest(piece))));
        self.order.clear();
        self.order.extend(ranks);
        let (_, &mut bound, _) = self.order.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        self.order.clear();
        for (first, piece) in (0..).step_by(piece).zip(weights.chunks(piece)) {
            if u64::from(rank(largest(piece))) >= bound {
                let ids = (first..).zip(piece);
                self.order.extend(ids.map(|(id, &w)| place(w, id)).filter(|&p| p >> 32 >= bound));
            }
        }
        self.order.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        self.order.truncate(k);
        self.ids.extend(self.order.iter().map(|&place| id_of(place)));
        self.ids.sort_unstable();
        for idx in 0..k {
            // Ids rise, so what is overwritten has been read.
            self.weights[idx] = self.weights[self.ids[idx] as usize];
        }
        self.weights.truncate(k);
    }

    /// Sets every weight to 0 that is not among the fewest that reach the share `p`.
    fn keep_top_p(&mut self, p: f64) {
        let total = sum(&self.weights);
        // All below this together have less than 1 − p: none of them is needed, and none has to be sorted.
        let least = ((1.0 - p) * total / self.weights.len() as f64) as f32 * 0.999;
        self.order.clear();
        let places = (0..).zip(&self.weights).filter(|(_, w)| **w >= least);
        self.order.extend(places.map(|(id, &w)| place(w, id)));
        let (mut share, mut n_sorted, mut last) = (0.0, 0, None);
        while last.is_none() && n_sorted < self.order.len() {
            // Mostly the first few are enough: four times as many each time.
            let rest = &mut self.order[n_sorted..];
            let n = rest.len().min((3 * n_sorted).max(64));
            if n < rest.len() {
                rest.select_nth_unstable_by(n, |a, b| b.cmp(a));
            }
            rest[..n].sort_unstable_by(|a, b| b.cmp(a));
            let found = rest[..n].iter().position(|&place| {
                share += f64::from(self.weights[id_of(place) as usize]);
                share >= p * total
            });
            last = found.map(|found| n_sorted + found);
            n_sorted += n;
        }
        let Some(last) = last else { return };
        let bound = self.order[last];
        for (id, weight) in (0..).zip(&mut self.weights) {
            *weight = if place(*weight, id) < bound { 0.0 } else { *weight };
        }
    }
}

/// A whole number that orders as tokens do by their likelihood: by the logit or weight, of equal ones the lower id.
fn place(logit: f32, id: u32) -> u64 {
    u64::from(rank(logit)) << 32 | u64::from(!id)
}

fn id_of(place: u64) -> u32 {
    !(place as u32)
}

/// A whole number that orders as the logit does; whole numbers are compared much faster.
fn rank(logit: f32) -> u32 {
    let bits = (logit + 0.0).to_bits(); // −0 becomes 0
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The largest of a few logits.
fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(f32::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest })
}

#[cfg(test)]
mod tests;
