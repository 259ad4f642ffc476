//! What helps a model to a better score without training: each is a part of the score's signature.

use serde::Serialize;

use crate::{Error, Result};

/// What a text is scored with beside the model. Without any of it the score is the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AddOns {
    /// What logits are divided by before the softmax; tuned on a validation text it corrects a model that is too sure or not
    /// sure enough (Melis et al. 2018).
    pub temperature: Option<f64>,
    /// Words that came lately are likelier.
    pub cache: Option<NeuralCache>,
    /// The weights follow the text.
    pub dynamic: Option<DynamicEvaluation>,
}

/// A cache of the last W positions (Grave, Joulin and Usunier 2016):
/// p(w) = (1 − λ)·p_model(w) + λ·Σ_{i: x_{i+1} = w} softmax(θ·h·h_i), h being what the output layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NeuralCache {
    /// W: how many positions are remembered.
    pub window: usize,
    /// θ: how much likeness counts.
    pub theta: f64,
    /// λ: the share of the cache.
    pub lambda: f64,
}

/// Weights that learn from each segment after it was scored (Krause et al. 2018), by the rule with statistics of the training
/// text: θ ← θ − η·g / (r + ε) + min(λ·r/r̄, 1)·(θ₀ − θ), r being the root of the mean square of each gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DynamicEvaluation {
    /// Tokens of a segment.
    pub segment: usize,
    /// η.
    pub learning_rate: f64,
    /// λ.
    pub decay: f64,
    /// ε.
    pub epsilon: f64,
}

impl NeuralCache {
    /// The published numbers for the Penn Treebank (Grave, Joulin and Usunier 2016, as AWD-LSTM uses it), with this window.
    pub fn new(window: usize) -> Self {
        Self { window, theta: 1.0, lambda: 0.1 }
    }
}

impl DynamicEvaluation {
    /// The published numbers for the Penn Treebank, which are for segments of five tokens; η and λ grow with the segment.
    pub fn new(segment: usize) -> Self {
        let longer = segment as f64 / 5.0;
        Self { segment, learning_rate: 5e-5 * longer, decay: 2e-3 * longer, epsilon: 2e-5 }
    }
}

impl AddOns {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// [`Error::Setting`] with what would do.
    pub fn check(&self) -> Result<()> {
        let is_share = |x: &f64| (0.0..1.0).contains(x);
        if let Some(temperature) = self.temperature {
            let is_good = (0.1..=10.0).contains(&temperature);
            check("temperature", temperature, is_good, "a number from 0.1 to 10")?;
        }
        if let Some(NeuralCache { window, theta, lambda }) = self.cache {
            let is_good = (1..=1_000_000).contains(&window);
            check("cache window", window, is_good, "a number of tokens from 1 to 1,000,000")?;
            let is_good = (0.0..=100.0).contains(&theta);
            check("cache's θ", theta, is_good, "a number from 0 to 100")?;
            check(
                "cache's λ",
                lambda,
                is_share(&lambda),
                "a number from 0 up to, but not including, 1",
            )?;
        }
        if let Some(DynamicEvaluation { segment, learning_rate, decay, epsilon }) = self.dynamic {
            let is_good = (1..=512).contains(&segment);
            check(
                "segment of dynamic evaluation",
                segment,
                is_good,
                "a number of tokens from 1 to 512",
            )?;
            let is_good = (0.0..=1.0).contains(&learning_rate);
            check("η of dynamic evaluation", learning_rate, is_good, "a number from 0 to 1")?;
            let is_good = (0.0..=1.0).contains(&decay);
            check("λ of dynamic evaluation", decay, is_good, "a number from 0 to 1")?;
            // Weights and ε are `f32`, in which less would be 0.
            let is_good = (1e-30..=1.0).contains(&epsilon);
            check("ε of dynamic evaluation", epsilon, is_good, "a number from 1e-30 to 1")?;
        }
        Ok(())
    }

    /// The temperature that is scored at.
    pub(super) fn temperature(&self) -> f64 {
        self.temperature.unwrap_or(1.0)
    }

    /// What the signature says of each: temperature, cache, dynamic evaluation.
    pub(super) fn parts(&self) -> [Option<String>; 3] {
        let cache = self
            .cache
            .map(|NeuralCache { window, theta, lambda }| format!("{window},{theta},{lambda}"));
        let dynamic =
            self.dynamic.map(|DynamicEvaluation { segment, learning_rate, decay, epsilon }| {
                format!("rms,{segment},{learning_rate},{decay},{epsilon}")
            });
        let temperature = self.temperature.filter(|&temperature| temperature != 1.0); // 1 is none
        [temperature.map(|temperature| temperature.to_string()), cache, dynamic]
    }
}

fn check(
    name: &'static str,
    found: impl ToString,
    is_good: bool,
    expected: &'static str,
) -> Result<()> {
    match is_good {
        true => Ok(()),
        false => Err(Error::Setting { name, found: found.to_string(), expected }),
    }
}
