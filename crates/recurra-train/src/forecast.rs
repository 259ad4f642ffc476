//! What a run will come to, told before it begins.

use recurra_tensor::Cpu;
use serde::{Deserialize, Serialize};

use crate::choose::{CorpusFacts, UPDATES_SHARE, choose};
use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::optimizer::OptimizerSettings;
use crate::recipe::{Length, Recipe, RecipeOptions};
use crate::rehearsal::Rehearsal;
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
}

/// The part of a budget that a rehearsal takes, and the seconds that it takes at least: what comes before learns so fast that
/// nothing follows from it.
const REHEARSAL_SHARE: f64 = 0.04;
const LEAST_SECONDS: f64 = 8.0;

/// The shortest budget that is worth a rehearsal.
const WORTH_FORECASTING: f64 = 120.0;

impl Prospect {
    /// Where a run is long enough to be foretold.
    pub fn of(facts: CorpusFacts, budget_seconds: f64, flops: f64) -> Option<Prospect> {
        let prospect = Prospect { facts, budget_seconds, flops };
        (budget_seconds >= WORTH_FORECASTING).then_some(prospect)
    }

    /// Rehearses the run and looks ahead from there.
    ///
    /// # Errors
    /// The text is too short for any run.
    pub fn forecast(
        &self,
        recipe: &Recipe,
        corpus: &TokenizedCorpus,
        cpu: &Cpu,
    ) -> Result<Forecast, Error> {
        let seconds = (REHEARSAL_SHARE * self.budget_seconds).max(LEAST_SECONDS);
        let options = RecipeOptions {
            tokenizer: Some(recipe.tokenizer.clone()),
            length: Some(Length::Budget(seconds)),
            seed: Some(recipe.seed),
            ..RecipeOptions::default()
        };
        let speed = Measured::for_budget(cpu, OptimizerSettings::adamw().into(), seconds);
        let shorter = choose(&options, &self.facts, &speed)?.recipe;
        let rehearsal = Rehearsal::of(&shorter, corpus, cpu, seconds)?;
        let text = TextOutlook {
            bytes: self.facts.bytes as f64,
            matching_bits_per_byte: self.facts.predictability.map(|found| found.bits_per_byte),
        };
        let flop = UPDATES_SHARE * self.budget_seconds * self.flops;
        Ok(Forecast {
            bits_per_byte: text.bits_per_byte_after(flop, &rehearsal),
            rehearsed_bits_per_byte: rehearsal.bits_per_byte,
            rehearsed_seconds: seconds,
        })
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
    /// ln L = ln L₀ + (a + b · gap + c · ln (bytes / 10⁶)) · ln R
    /// ```
    ///
    /// where the gap is ln L₀ less the logarithm of what matching needs, within ± 0.3. A text that is small has told all that it
    /// has after some passes; one of which matching makes much more than the short run did repeats itself, and that is learned
    /// late. The constants were fitted to runs of 20, 60 and 180 seconds on eight texts, English, Chinese, Russian and Ukrainian,
    /// of 0.2 to 12 MB: 1.3 % off on average, and 5.4 % at most for a text that was left out of the fit. A text with whole files
    /// that stand in it twice falls faster than this knows.
    fn bits_per_byte_after(&self, flop: f64, rehearsal: &Rehearsal) -> f64 {
        const EXPONENT: f64 = -0.0116;
        const BY_GAP: f64 = -0.294;
        const BY_SIZE: f64 = -0.0228;
        let needed = rehearsal.bits_per_byte;
        let gap = self.matching_bits_per_byte.map_or(0.0, |matching| (needed / matching).ln());
        let size = (self.bytes / 1e6).ln();
        let exponent = EXPONENT + BY_GAP * gap.clamp(-0.3, 0.3) + BY_SIZE * size;
        // More learning does not make a model worse: the best weights are kept.
        needed * (flop / rehearsal.flop).max(1.0).powf(exponent.min(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Rehearsal = Rehearsal { bits_per_byte: 2.0, flop: 1e12 };

    #[track_caller]
    fn check(bytes: f64, matching: f64, flop: f64, expected: f64) {
        let text = TextOutlook { bytes, matching_bits_per_byte: Some(matching) };
        let found = text.bits_per_byte_after(flop, &SHORT);
        assert!((found - expected).abs() < 5e-4, "{found}, expected {expected}");
    }

    #[test]
    fn bits_fall_with_operations_by_what_the_text_still_holds() {
        check(1e6, 2.0, 1e12, 2.0); // no more than the rehearsal
        check(1e6, 2.0, 25e12, 1.9267); // 2 · 25^−0.0116
        check(1e7, 2.0, 25e12, 1.6272); // 2 · 25^(−0.0116 − 0.0228 · ln 10)
        check(1e6, 1.0, 25e12, 1.4505); // 2 · 25^(−0.0116 − 0.294 · 0.3): a gap of ln 2 counts as 0.3
        check(1e5, 2.2, 25e12, 2.0); // a small text, learned by heart
        check(1e6, 2.0, 1e11, 2.0); // a machine that became slower than it was in the rehearsal
    }
}
