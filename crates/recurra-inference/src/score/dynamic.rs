//! Dynamic evaluation (Krause et al. 2018): a copy of the weights follows the text that it is scored on.

use std::ops::ControlFlow;

use recurra_data::{Batch, Streams, TokenFile};
use recurra_models::State;
use recurra_tensor::{DynamicParameters, Tape, Window, Workspace};

use super::{DynamicEvaluation, check_ids, check_tokenizer, digits};
use crate::predictor::{Reading, Wanted};
use crate::{Error, ModelRef, Result};

/// Streams that the training text is cut into for the statistics, as in the published program.
const STREAMS: usize = 100;

/// Tokens of the training text that the statistics are taken from, at most: the first of each stream, which are spread over
/// all of it.
const MOST_TOKENS: usize = 1_000_000;

/// A copy of a model's weights, with the statistics of their gradients on the training text.
#[derive(Debug)]
pub(super) struct DynamicWeights {
    segment: usize,
    /// The first digits of the hash of the training text.
    train_digits: String,
    parameters: DynamicParameters<f32>,
    workspace: Workspace<f32>,
    reading: Reading,
}

impl DynamicWeights {
    /// Reads a training text in windows of `segment` tokens of many streams, without dropout, as the rule's author does.
    pub fn collect(
        model: ModelRef<'_>,
        train: &TokenFile,
        segment: usize,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        check_tokenizer(model, train)?;
        if train.len() < 2 {
            return Err(Error::TooShort { tokens: train.len() });
        }
        let streams = STREAMS.min((train.len() - 1) / segment).min(train.len() / 2).max(1);
        let segment_of_train = segment.min(train.len() - 1);
        let streams = Streams::new(train.clone(), streams, segment_of_train)?;
        let mut batch = Batch::default();
        streams.window(0, &mut batch);
        let total = streams.windows_per_epoch().min((MOST_TOKENS / batch.inputs.len()).max(1));
        let mut state = model.network.zero_state(batch.batch);
        let mut workspace = Workspace::new();
        let (mut idx, mut outcome) = (0, Ok(()));
        let parameters = model.parameters.clone();
        let parameters = DynamicParameters::collect(model.cpu, parameters, |parameters| {
            if idx == total || outcome.is_err() {
                return false;
            }
            streams.window(idx, &mut batch);
            let Batch { inputs, targets, time, batch } = &batch;
            outcome = check_ids(model, inputs).and_then(|()| check_ids(model, targets));
            if outcome.is_err() {
                return false;
            }
            let window = Window { time: *time, batch: *batch };
            let tape = Tape::training(model.cpu, parameters, &mut workspace, 0);
            let mut tape = tape.without_dropout();
            // The penalties of training are none of what a text says.
            let hidden = model.network.read(&mut tape, inputs, window, &mut state); // (T·B, H)
            let loss = model.network.loss_of(&mut tape, hidden, targets);
            tape.backward(loss);
            idx += 1;
            let (done, total) = (idx as u64, total as u64);
            if progress(done, total).is_break() && done < total {
                outcome = Err(Error::Stopped { done, total });
            }
            true
        });
        outcome?;
        let train_digits = digits(train.text_sha256()).to_owned();
        Ok(Self { segment, train_digits, parameters, workspace, reading: Reading::default() })
    }

    /// The segment that the statistics were taken with.
    pub fn segment(&self) -> usize {
        self.segment
    }

    /// The text that the statistics were taken from, as signatures name texts.
    pub fn train_digits(&self) -> &str {
        &self.train_digits
    }

    /// Goes back to the weights of the model.
    pub fn reset(&mut self) {
        self.parameters.reset();
    }

    /// What is wanted of a segment; then the weights learn from it.
    pub fn read(
        &mut self,
        model: ModelRef<'_>,
        options: &DynamicEvaluation,
        [inputs, targets]: [&[u32]; 2],
        state: &mut State<f32>,
        wanted: &Wanted,
    ) -> &Reading {
        let ModelRef { cpu, network, .. } = model;
        let window = Window { time: targets.len(), batch: 1 };
        let tape = Tape::training(cpu, self.parameters.parameters_mut(), &mut self.workspace, 0);
        let mut tape = tape.without_dropout();
        let hidden = network.read(&mut tape, inputs, window, state); // (T, H)
        let loss = network.loss_of(&mut tape, hidden, targets);
        let reading = &mut self.reading;
        reading.start(wanted);
        let at_one = tape.row_nats_of_loss().to_vec();
        for (nats, &temperature) in reading.nats.iter_mut().zip(&wanted.temperatures) {
            match temperature == 1.0 {
                true => nats.extend(&at_one),
                false => nats.extend(network.row_nats(&mut tape, hidden, targets, temperature)),
            }
        }
        if wanted.hidden {
            reading.hidden.extend(tape.value(hidden));
        }
        tape.backward(loss);
        let DynamicEvaluation { learning_rate, decay, epsilon, .. } = *options;
        self.parameters.step(cpu, learning_rate, decay, epsilon);
        reading
    }
}
