//! What a run will come to, told before it begins.

use std::sync::atomic::AtomicBool;

use recurra_tensor::Cpu;
use serde::{Deserialize, Serialize};

use crate::choose::{CorpusFacts, UPDATES_SHARE, choose};
use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::recipe::{Length, Recipe, RecipeOptions};
use crate::rehearsal::{Effort, Rehearsal};
use crate::speed::Measured;

/// The score that a run is expected to reach, with what the expectation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Bits that the model will need for a byte of the validation text.
    pub bits_per_byte: f64,
    /// Bits that a short run needed, which went before.
    pub rehearsed_bits_per_byte: f64,
    /// Wall clock of that run.
    pub rehearsed_seconds: f64,
}

/// What a forecast starts from: a run with a budget, of which everything else was chosen here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prospect {
    pub facts: CorpusFacts,
    pub budget_seconds: f64,
    /// Operations a second that the machine makes.
    pub flops: f64,
    /// Passes over the text that it makes.
    pub passes: f64,
}

/// The part of a budget that a rehearsal takes, and the seconds that it takes at least: what comes before learns so fast that
/// nothing follows from it.
const REHEARSAL_SHARE: f64 = 0.04;
const LEAST_SECONDS: f64 = 8.0;

/// The shortest budget that is worth a rehearsal.
const WORTH_FORECASTING: f64 = 120.0;

impl Prospect {
    /// Where a run is long enough to be foretold.
    pub fn of(
        facts: CorpusFacts,
        budget_seconds: f64,
        flops: f64,
        passes: f64,
    ) -> Option<Prospect> {
        let prospect = Prospect { facts, budget_seconds, flops, passes };
        (budget_seconds >= WORTH_FORECASTING).then_some(prospect)
    }

    /// Wall clock that the rehearsal of the run takes.
    pub fn rehearsal_seconds(&self) -> f64 {
        (REHEARSAL_SHARE * self.budget_seconds).max(LEAST_SECONDS)
    }

    /// Rehearses the run and looks ahead from there; nothing where `stop` is set meanwhile.
    ///
    /// # Errors
    /// The text is too short for any run.
    pub fn forecast(
        &self,
        recipe: &Recipe,
        corpus: &TokenizedCorpus,
        cpu: &Cpu,
        stop: &AtomicBool,
    ) -> Result<Option<Forecast>, Error> {
        let seconds = self.rehearsal_seconds();
        let options = RecipeOptions {
            tokenizer: Some(recipe.tokenizer.clone()),
            length: Some(Length::Budget(seconds)),
            seed: Some(recipe.seed),
            ..RecipeOptions::default()
        };
        let speed = Measured::for_budget(cpu, seconds);
        let shorter = choose(&options, &self.facts, &speed)?.recipe;
        let Some(rehearsal) = Rehearsal::of(&shorter, corpus, cpu, seconds, stop)? else {
            return Ok(None);
        };
        let text = TextOutlook {
            bytes: self.facts.bytes as f64,
            matching_bits_per_byte: self.facts.predictability.map(|found| found.bits_per_byte),
        };
        let flop = UPDATES_SHARE * self.budget_seconds * self.flops;
        let effort = Effort { flop, passes: self.passes };
        let forecast = Forecast {
            bits_per_byte: text.bits_per_byte_after(effort, &rehearsal),
            rehearsed_bits_per_byte: rehearsal.bits_per_byte,
            rehearsed_seconds: seconds,
        };
        // Nothing follows from a rehearsal that diverged.
        Ok(forecast.bits_per_byte.is_finite().then_some(forecast))
    }
}

/// What a text still holds for a model that has had a look at it.
#[derive(Debug, Clone, Copy)]
struct TextOutlook {
    bytes: f64,
    matching_bits_per_byte: Option<f64>,
}

impl TextOutlook {
    /// With R times the operations that a short run had, bits fall as a power of R:
    ///
    /// ```text
    /// ln L = ln L₀ + (a + b · gap + c · ln (bytes / 10⁶)) · s · ln R
    /// ```
    ///
    /// where the gap is ln L₀ less the logarithm of what matching needs, within ± 0.3, and s is the part of the way from the
    /// short run's passes over the text to the long one's, in logarithms, that lies before fifteen passes: after them a text
    /// teaches little more. The larger a text, the more there is to learn; and one of which matching makes much more than the
    /// short run did repeats itself, which is learned late.
    ///
    /// What the gap is worth was fitted to runs of 20 to 180 seconds on seven texts, English, Chinese and Russian, of 0.2 to
    /// 12 MB; the other two constants to runs of ten minutes on four, which are longer than what was fitted before: large
    /// texts had been expected to fall 9 to 11 % further than they did, small ones 5 % less. So those four are no test of it.
    /// A text in which whole files stand twice falls faster than this knows.
    fn bits_per_byte_after(&self, effort: Effort, rehearsal: &Rehearsal) -> f64 {
        const EXPONENT: f64 = -0.0285;
        const BY_GAP: f64 = -0.150;
        const BY_SIZE: f64 = -0.010;
        const TEACHING_PASSES: f64 = 15.0;
        let Rehearsal { bits_per_byte: needed, effort: before } = *rehearsal;
        let gap = self.matching_bits_per_byte.map_or(0.0, |matching| (needed / matching).ln());
        let exponent = EXPONENT + BY_GAP * gap.clamp(-0.3, 0.3) + BY_SIZE * (self.bytes / 1e6).ln();
        let way = (effort.passes / before.passes).ln();
        let teaching = (TEACHING_PASSES / before.passes).ln();
        let part = if way > 0.0 { (teaching / way).clamp(0.0, 1.0) } else { 1.0 };
        let more = (effort.flop / before.flop).max(1.0);
        // More learning does not make a model worse: the best weights are kept.
        needed * more.powf(part * exponent.min(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: f64, matching: f64, flop: f64, passes: f64, expected: f64) {
        let effort = Effort { flop: 1e12, passes: 1.0 };
        let rehearsal = Rehearsal { bits_per_byte: 2.0, effort };
        let text = TextOutlook { bytes, matching_bits_per_byte: Some(matching) };
        let found = text.bits_per_byte_after(Effort { flop, passes }, &rehearsal);
        assert!((found - expected).abs() < 5e-4, "{found}, expected {expected}");
    }

    #[test]
    fn bits_fall_with_operations_by_what_the_text_still_holds() {
        check(1e6, 2.0, 1e12, 1.0, 2.0); // no more than the rehearsal
        check(1e6, 2.0, 25e12, 5.0, 1.8247); // 2 · 25^−0.0285
        check(1e7, 2.0, 25e12, 5.0, 1.6943); // 2 · 25^(−0.0285 − 0.010 · ln 10)
        check(1e6, 1.0, 25e12, 5.0, 1.5786); // 2 · 25^(−0.0285 − 0.150 · 0.3): a gap of ln 2 counts as 0.3
        check(1e6, 2.0, 25e12, 225.0, 1.9103); // half of the way lies before fifteen passes
        check(1e5, 2.2, 25e12, 5.0, 2.0); // a small text, learned by heart
        check(1e6, 2.0, 1e11, 1.0, 2.0); // a machine that became slower than it was in the rehearsal
    }
}
