//! Scores of texts by one model, with what helps it.

use std::ops::ControlFlow;

use recurra_data::TokenFile;
use recurra_metrics::{LanguageScore, Signature};
use recurra_tensor::Workspace;

use super::{AddOns, WINDOW};
use crate::predictor::{Predictor, Reading, Wanted};
use crate::{Error, ModelRef, Result};

/// A model that scores texts, and what it keeps from one to the next.
#[derive(Debug)]
pub struct Evaluation<'a> {
    model: ModelRef<'a>,
    workspace: Workspace<f32>,
}

impl<'a> Evaluation<'a> {
    /// Nothing is read yet.
    pub fn new(model: ModelRef<'a>) -> Self {
        Self { model, workspace: Workspace::new() }
    }

    /// Scores a text with `add_ons`.
    ///
    /// # Errors
    /// When there are fewer than two tokens, one is none of the model's, a number of the add-ons makes no sense, or
    /// `progress` broke off.
    pub fn score(
        &mut self,
        tokens: &TokenFile,
        add_ons: &AddOns,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<LanguageScore> {
        score_with(self.model, &mut self.workspace, tokens, add_ons, progress)
    }
}

/// See [`Evaluation::score`].
pub(super) fn score_with(
    model: ModelRef<'_>,
    workspace: &mut Workspace<f32>,
    tokens: &TokenFile,
    add_ons: &AddOns,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<LanguageScore> {
    add_ons.check()?;
    if model.prepared.is_some() && !add_ons.is_empty() {
        return Err(Error::Storage { storage: model.storage().to_string() });
    }
    let wanted = Wanted { temperatures: vec![add_ons.temperature()], hidden: false };
    let mut total_nats = 0.0;
    let total = tokens.len().saturating_sub(1);
    read(model, workspace, tokens, total, &wanted, progress, &mut |reading, _| {
        reading.nats[0].iter().for_each(|nats| total_nats += nats);
    })?;
    let score = super::plain_score(model, tokens, total_nats);
    let temperature = add_ons.temperature.map(|temperature| temperature.to_string());
    Ok(LanguageScore { signature: Signature { temperature, ..score.signature }, ..score })
}

/// Reads the first tokens of a text, window by window, and hands on what is wanted of each with the tokens it is of.
fn read(
    model: ModelRef<'_>,
    workspace: &mut Workspace<f32>,
    tokens: &TokenFile,
    total: usize,
    wanted: &Wanted,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    each: &mut dyn FnMut(&Reading, &[u32]),
) -> Result<()> {
    if tokens.len() < 2 {
        return Err(Error::TooShort { tokens: tokens.len() });
    }
    let mut ids = [0; WINDOW + 1];
    let mut state = model.network.zero_state(1);
    let mut predictor = Predictor::new(model, workspace);
    let mut done = 0;
    while done < total {
        let time = WINDOW.min(total - done);
        let ids = &mut ids[..=time];
        tokens.read(done, ids);
        check_ids(model, ids)?;
        let (inputs, targets) = (&ids[..time], &ids[1..]);
        each(predictor.read(inputs, targets, &mut state, wanted), targets);
        done += time;
        if progress(done as u64, total as u64).is_break() && done < total {
            return Err(Error::Stopped { done: done as u64, total: total as u64 });
        }
    }
    Ok(())
}

/// Refuses tokens that are none of the model's.
fn check_ids(model: ModelRef<'_>, ids: &[u32]) -> Result<()> {
    let (vocab_size, largest) = (model.vocab_size(), ids.iter().copied().max().unwrap_or(0));
    match (largest as usize) < vocab_size {
        true => Ok(()),
        false => Err(Error::Token { id: largest, vocab_size }),
    }
}
