//! Validation on the way: a loss to steer by, read in parallel streams because that is fast.
//!
//! It differs a little from the score that is reported in the end: that one reads the text as one stream.

use recurra_data::{Batch, Streams};
use recurra_models::LanguageModel;
use recurra_tensor::{Cpu, Parameters, Tape, Window, Workspace};

use crate::corpus::TokenizedText;
use crate::error::Error;

/// The validation text as parallel streams.
pub(crate) struct Validation {
    streams: Streams,
    n_streams: usize,
    batch: Batch,
    workspace: Workspace<f32>,
}

impl Validation {
    /// As many streams as training has, fewer where the text is short.
    pub fn new(valid: &TokenizedText, batch: usize, bptt: usize) -> Result<Validation, Error> {
        let tokens = &valid.tokens;
        let n_inputs = tokens.len().saturating_sub(1);
        if n_inputs == 0 {
            return Err(Error::TooShort { text: valid.text.describe(), tokens: tokens.len() });
        }
        let bptt = bptt.min(n_inputs);
        let n_streams = batch.min(n_inputs / bptt).min(tokens.len() / 2).max(1);
        let streams = Streams::new(tokens.clone(), n_streams, bptt)?;
        Ok(Validation { streams, n_streams, batch: Batch::default(), workspace: Workspace::new() })
    }

    /// Windows of the whole text.
    pub fn n_windows(&self) -> usize {
        self.streams.windows_per_epoch()
    }

    /// The part of the text that its first `n_windows` windows are.
    pub fn part(&self, n_windows: usize) -> f64 {
        n_windows.min(self.n_windows()) as f64 / self.n_windows() as f64
    }

    /// Mean loss a token over the first `n_windows` windows, from a zero state that is carried on.
    pub fn loss_nats(
        &mut self,
        cpu: &Cpu,
        model: &LanguageModel,
        parameters: &Parameters<f32>,
        n_windows: usize,
    ) -> f64 {
        let mut state = model.zero_state(self.n_streams);
        let (mut total_nats, mut n_tokens) = (0.0, 0);
        for window_idx in 0..n_windows.min(self.n_windows()) {
            self.streams.window(window_idx, &mut self.batch);
            let Batch { inputs, targets, time, batch } = &self.batch;
            let mut tape = Tape::inference(cpu, parameters, &mut self.workspace);
            total_nats += model.nats(
                &mut tape,
                inputs,
                targets,
                Window { time: *time, batch: *batch },
                &mut state,
            );
            n_tokens += targets.len();
        }
        total_nats / n_tokens as f64
    }
}
