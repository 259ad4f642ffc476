//! The numbers of add-ons, chosen so that a validation text is predicted best.

use recurra_data::TokenFile;

use super::cache::{Cache, mixed};
use super::evaluation::Progress;
use super::{AddOns, DynamicEvaluation, Evaluation, NeuralCache};
use crate::predictor::Wanted;
use crate::{Error, Result};

/// Tokens of the validation text that dynamic evaluation is tuned on, at most: each try reads them all.
const DYNAMIC_TOKENS: usize = 10_000;

/// Nats of which a try must gain so much, as a part, for another one to be worth it.
const LEAST_GAIN: f64 = 1e-5;

/// The η below which weights hardly move: whatever is lost there is not lost by following.
const LEAST_RATE: f64 = 1e-9;

/// Tokens that a temperature and a cache are tuned on, at most: they are read once.
const TOKENS: usize = 50_000;

/// Temperatures that are tried, in hundredths.
const TEMPERATURES: std::ops::RangeInclusive<u32> = 70..=120;

/// θ that are tried.
const THETAS: [f64; 14] =
    [0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.45, 0.662, 1.0, 1.5, 2.2, 3.3];

/// Which numbers are to be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuned {
    /// The temperature.
    pub temperature: bool,
    /// θ and λ of the cache, not its window.
    pub cache: bool,
    /// η and λ of dynamic evaluation, not its segment.
    pub dynamic: bool,
}

impl Evaluation<'_> {
    /// Chooses what `tuned` names by the first tokens of a validation text, beginning with `add_ons`; what is not named stays.
    ///
    /// Dynamic evaluation comes first, η and λ in turns doubled or halved as long as that helps; then the temperature, of a row
    /// of them, beside a cache whose numbers are given; then θ, of a row of them, with the best λ of each.
    ///
    /// # Errors
    /// As [`score`](Evaluation::score).
    pub fn tune(
        &mut self,
        valid: &TokenFile,
        add_ons: &AddOns,
        tuned: Tuned,
        progress: &mut Progress<'_>,
    ) -> Result<AddOns> {
        let mut best = *add_ons;
        if let (true, Some(dynamic)) = (tuned.dynamic, add_ons.dynamic) {
            best.dynamic = Some(self.tune_dynamic(valid, dynamic, progress)?);
        }
        if tuned.temperature || (tuned.cache && add_ons.cache.is_some()) {
            self.tune_mixture(valid, &mut best, tuned, progress)?;
        }
        Ok(best)
    }

    /// Climbs down from the first numbers.
    fn tune_dynamic(
        &mut self,
        valid: &TokenFile,
        first: DynamicEvaluation,
        progress: &mut Progress<'_>,
    ) -> Result<DynamicEvaluation> {
        let total = valid.len().saturating_sub(1).min(DYNAMIC_TOKENS);
        let mut nats_of = |dynamic: DynamicEvaluation| {
            let add_ons = AddOns { dynamic: Some(dynamic), ..AddOns::default() };
            let nats = self.nats(valid, total, &add_ons, progress)?;
            // Weights that were lost on the way are worse than any others.
            Ok::<_, Error>(if nats.is_nan() { f64::INFINITY } else { nats })
        };
        let (mut best, mut least) = (first, nats_of(first)?);
        // Where the first rate loses the weights, a lower one is the way, however far.
        while least.is_infinite() && best.learning_rate > LEAST_RATE {
            best.learning_rate /= 4.0;
            least = nats_of(best)?;
        }
        type Number = fn(&mut DynamicEvaluation) -> &mut f64;
        let numbers: [Number; 2] = [|of| &mut of.learning_rate, |of| &mut of.decay];
        for number in numbers {
            for factor in [2.0, 0.5] {
                let before = least;
                loop {
                    let mut next = best;
                    *number(&mut next) = (*number(&mut next) * factor).min(1.0);
                    let nats = nats_of(next)?;
                    let is_worth_more = nats < least * (1.0 - LEAST_GAIN);
                    if nats < least {
                        (best, least) = (next, nats);
                    }
                    if !is_worth_more {
                        break;
                    }
                }
                // Where one way helps, the other does not.
                if least < before {
                    break;
                }
            }
        }
        Ok(best)
    }

    /// Reads the text once, and chooses by what was read.
    fn tune_mixture(
        &mut self,
        valid: &TokenFile,
        best: &mut AddOns,
        tuned: Tuned,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let temperatures: Vec<f64> = match tuned.temperature {
            true => {
                TEMPERATURES.step_by(2).map(|hundredths| f64::from(hundredths) / 100.0).collect()
            }
            false => vec![best.temperature()],
        };
        // What is given counts as it is; what is not, by each θ.
        let given = best.cache.filter(|_| !tuned.cache);
        let thetas = given.map_or(THETAS.to_vec(), |cache| vec![cache.theta]);
        let most = if best.dynamic.is_some() { DYNAMIC_TOKENS } else { TOKENS };
        let total = valid.len().saturating_sub(1).min(most);
        let wanted = Wanted { temperatures, hidden: best.cache.is_some() };
        let mut nats = vec![Vec::new(); wanted.temperatures.len()];
        let mut past = best.cache.map(|cache| Cache::new(cache.window, thetas.clone()));
        let mut shares = vec![Vec::new(); thetas.len()];
        let cpu = self.model.cpu;
        let mut keep = |answer: Option<&[f64]>| {
            for (idx, shares) in shares.iter_mut().enumerate() {
                shares.push(answer.map(|answer| answer[idx]));
            }
        };
        let without_cache = AddOns { cache: None, ..*best };
        self.read(valid, total, &without_cache, &wanted, progress, &mut |reading, targets| {
            nats.iter_mut().zip(&reading.nats).for_each(|(all, these)| all.extend(these));
            if let Some(past) = &mut past {
                past.push(cpu, &reading.hidden, targets, &mut keep);
            }
        })?;
        if let Some(past) = &mut past {
            past.finish(cpu, &mut keep);
        }
        let sums = nats.iter().map(|nats| match given {
            Some(cache) => mixture(nats, &shares[0], cache.lambda),
            None => nats.iter().sum::<f64>(),
        });
        let (idx, _) = sums.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).expect("a temperature");
        if tuned.temperature {
            best.temperature = Some(wanted.temperatures[idx]);
        }
        if let Some(NeuralCache { window, .. }) = best.cache.filter(|_| tuned.cache) {
            let tried = thetas.iter().zip(&shares).map(|(&theta, shares)| {
                let (lambda, nats) = best_share(&nats[idx], shares);
                (nats, NeuralCache { window, theta, lambda })
            });
            best.cache = tried.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, cache)| cache);
        }
        Ok(())
    }
}

/// The nats of a model and its cache together.
fn mixture(nats: &[f64], shares: &[Option<f64>], lambda: f64) -> f64 {
    nats.iter().zip(shares).map(|(&nats, &share)| mixed(nats, share, lambda)).sum()
}

/// The λ with the fewest nats, and these: golden-section search, as the nats are convex in λ.
fn best_share(nats: &[f64], shares: &[Option<f64>]) -> (f64, f64) {
    let sum = |lambda: f64| mixture(nats, shares, lambda);
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.0, 0.9999);
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut sums = inner.map(sum);
    while high - low > 1e-4 {
        if sums[0] < sums[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            sums = [sum(inner[0]), sums[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            sums = [sums[1], sum(inner[1])];
        }
    }
    let lambda = ((low + high) / 2.0 * 1e4).round() / 1e4;
    (lambda, sum(lambda))
}
