//! Scores of texts by one model, with what helps it.

use std::ops::ControlFlow;

use recurra_data::TokenFile;
use recurra_metrics::{LanguageScore, Signature};
use recurra_tensor::Workspace;

use super::cache::{Cache, mixed};
use super::dynamic::DynamicWeights;
use super::{AddOns, DynamicEvaluation, NeuralCache, WINDOW, check_ids, check_tokenizer};
use crate::predictor::{Predictor, Reading, Wanted};
use crate::{Error, ModelRef, Result};

/// Hears how much of how much is done, and may break off.
pub(super) type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// A model that scores texts, and what it keeps from one to the next. The model itself stays as it is.
#[derive(Debug)]
pub struct Evaluation<'a> {
    pub(super) model: ModelRef<'a>,
    workspace: Workspace<f32>,
    weights: Option<DynamicWeights>,
}

impl<'a> Evaluation<'a> {
    /// Nothing is read yet.
    pub fn new(model: ModelRef<'a>) -> Self {
        Self::with_workspace(model, Workspace::new())
    }

    /// The same in a workspace that has been used with this model.
    pub(super) fn with_workspace(model: ModelRef<'a>, workspace: Workspace<f32>) -> Self {
        Self { model, workspace, weights: None }
    }

    /// The workspace, to be used again.
    pub(super) fn into_workspace(self) -> Workspace<f32> {
        self.workspace
    }

    /// Takes the statistics that dynamic evaluation in segments of this length needs from the training text, or the first
    /// million tokens of its streams; `progress` hears of windows.
    ///
    /// # Errors
    /// When the text has fewer than two tokens, one is none of the model's, the segment makes no sense, the model is prepared,
    /// or `progress` broke off.
    pub fn collect(
        &mut self,
        train: &TokenFile,
        segment: usize,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let dynamic = Some(DynamicEvaluation::new(segment));
        self.check(&AddOns { dynamic, ..AddOns::default() }, &Wanted::nats())?;
        self.weights = Some(DynamicWeights::collect(self.model, train, segment, progress)?);
        Ok(())
    }

    /// Scores a text with `add_ons`; `progress` hears how many tokens of how many are done.
    ///
    /// # Errors
    /// When there are fewer than two tokens, another tokenizer made them, one is none of the model's, a number of the add-ons makes no sense, there are no
    /// statistics for dynamic evaluation, predictions are no finite numbers, or `progress` broke off.
    pub fn score(
        &mut self,
        tokens: &TokenFile,
        add_ons: &AddOns,
        progress: &mut Progress<'_>,
    ) -> Result<LanguageScore> {
        let total_nats = self.nats(tokens, tokens.len().saturating_sub(1), add_ons, progress)?;
        if !total_nats.is_finite() {
            return Err(match add_ons.dynamic {
                Some(DynamicEvaluation { learning_rate, .. }) => Error::Lost { learning_rate },
                None => Error::Logits,
            });
        }
        let score = super::plain_score(self.model, tokens, total_nats);
        let [temperature, cache, dynamic] = add_ons.parts();
        let dynamic = dynamic.zip(self.weights.as_ref());
        let dynamic = dynamic.map(|(part, weights)| format!("{part},{}", weights.train_digits()));
        let signature = Signature { temperature, cache, dynamic, ..score.signature };
        Ok(LanguageScore { signature, ..score })
    }

    /// −Σ ln p of the first `total` tokens that are predicted.
    pub(super) fn nats(
        &mut self,
        tokens: &TokenFile,
        total: usize,
        add_ons: &AddOns,
        progress: &mut Progress<'_>,
    ) -> Result<f64> {
        let wanted =
            Wanted { temperatures: vec![add_ons.temperature()], hidden: add_ons.cache.is_some() };
        let cpu = self.model.cpu;
        // One after the other, whatever the windows.
        let mut total_nats = 0.0;
        let Some(NeuralCache { window, theta, lambda }) = add_ons.cache else {
            self.read(tokens, total, add_ons, &wanted, progress, &mut |reading, _| {
                reading.nats[0].iter().for_each(|nats| total_nats += nats);
            })?;
            return Ok(total_nats);
        };
        let mut cache = Cache::new(window, vec![theta]);
        let (mut waiting, mut answers) = (Vec::new(), Vec::new());
        let mut mix = |waiting: &mut Vec<f64>, answers: &mut Vec<Option<f64>>| {
            let n = answers.len();
            for (nats, share) in waiting.drain(..n).zip(answers.drain(..)) {
                total_nats += mixed(nats, share, lambda);
            }
        };
        self.read(tokens, total, add_ons, &wanted, progress, &mut |reading, targets| {
            waiting.extend(&reading.nats[0]);
            let each = &mut |shares: Option<&[f64]>| answers.push(shares.map(|shares| shares[0]));
            cache.push(cpu, &reading.hidden, targets, each);
            mix(&mut waiting, &mut answers);
        })?;
        cache.finish(cpu, &mut |shares| answers.push(shares.map(|shares| shares[0])));
        mix(&mut waiting, &mut answers);
        Ok(total_nats)
    }

    /// Reads the first tokens of a text, window by window, and hands on what is wanted of each with the tokens it is of.
    pub(super) fn read(
        &mut self,
        tokens: &TokenFile,
        total: usize,
        add_ons: &AddOns,
        wanted: &Wanted,
        progress: &mut Progress<'_>,
        each: &mut dyn FnMut(&Reading, &[u32]),
    ) -> Result<()> {
        self.check(add_ons, wanted)?;
        check_tokenizer(self.model, tokens)?;
        if tokens.len() < 2 {
            return Err(Error::TooShort { tokens: tokens.len() });
        }
        let model = self.model;
        let mut following = match (&add_ons.dynamic, &mut self.weights) {
            (None, _) => None,
            (Some(options), Some(weights)) if weights.segment() == options.segment => {
                weights.reset();
                Some((options, weights))
            }
            (Some(options), _) => return Err(Error::Statistics { segment: options.segment }),
        };
        let at_once = add_ons.dynamic.map_or(WINDOW, |dynamic| dynamic.segment);
        let mut ids = [0; WINDOW + 1];
        let mut state = model.network.zero_state(1);
        let mut predictor = Predictor::new(model, &mut self.workspace);
        let mut done = 0;
        while done < total {
            let time = at_once.min(total - done);
            let ids = &mut ids[..=time];
            tokens.read(done, ids);
            check_ids(model, ids)?;
            let (inputs, targets) = (&ids[..time], &ids[1..]);
            let reading = match &mut following {
                None => predictor.read(inputs, targets, &mut state, wanted),
                Some((options, weights)) => {
                    weights.read(model, options, [inputs, targets], &mut state, wanted)
                }
            };
            each(reading, targets);
            done += time;
            if progress(done as u64, total as u64).is_break() && done < total {
                return Err(Error::Stopped { done: done as u64, total: total as u64 });
            }
        }
        Ok(())
    }

    /// Refuses numbers that make no sense, and more than nats of single steps.
    fn check(&self, add_ons: &AddOns, wanted: &Wanted) -> Result<()> {
        add_ons.check()?;
        let is_plain = add_ons.is_empty() && wanted == &Wanted::nats();
        if is_plain { Ok(()) } else { self.expect_training_weights() }
    }

    /// Refuses a model that is prepared: nothing can help its score.
    ///
    /// # Errors
    /// [`Error::Storage`] says how its weights are stored.
    pub fn expect_training_weights(&self) -> Result<()> {
        match self.model.prepared {
            Some(_) => Err(Error::Storage { storage: self.model.storage().to_string() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
