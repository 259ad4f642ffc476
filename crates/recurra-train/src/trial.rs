//! A few updates of a new network, outside of any run: to time them, or to see what they come to.

use std::time::Instant;

use recurra_data::Batch;
use recurra_models::{LanguageModel, LanguageModelConfig};
use recurra_tensor::{Cpu, Optimizer, Parameters, Random, Step, Tape, Window, Workspace};

use crate::error::Error;
use crate::run::dropout_key;
use crate::start::begin;

/// What is tried.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// The network.
    pub config: &'a LanguageModelConfig,
    /// What makes the updates.
    pub optimizer: Optimizer,
    /// The largest norm of all gradients.
    pub clip: f64,
    /// How often each token is in the text to learn from, where there is one.
    pub token_counts: Option<&'a [u64]>,
    /// Decides first weights and dropout.
    pub seed: u64,
}

/// What came out of a [`Trial`].
#[derive(Debug)]
pub struct TrialOutcome {
    /// Loss a token before the first update: about ln V where the arithmetic is right.
    pub first_loss_nats: f64,
    /// What each update took: batch → loss → gradients → update. The first one or two also lay out memory.
    pub seconds: Vec<f64>,
    /// The network.
    pub model: LanguageModel,
    /// Its weights after the last update.
    pub parameters: Parameters<f32>,
}

impl Trial<'_> {
    /// Makes an update, and more for as long as `rate` has a learning rate for the next one, given how many were made and the
    /// seconds that they took together. `fill` lays out the batch of each, which are counted from 0.
    ///
    /// # Errors
    /// There can be no such network.
    pub fn run(
        &self,
        cpu: &Cpu,
        rate: impl Fn(usize, f64) -> Option<f64>,
        mut fill: impl FnMut(usize, &mut Batch),
    ) -> Result<TrialOutcome, Error> {
        let (model, mut parameters) =
            begin(self.config, self.optimizer, self.seed, self.token_counts)?;
        let (mut batch, mut workspace) = (Batch::default(), Workspace::new());
        let (mut first_loss_nats, mut seconds, mut spent) = (f64::NAN, Vec::new(), 0.0);
        let mut state = None;
        while let Some(lr) = rate(seconds.len(), spent).or(seconds.is_empty().then_some(0.0)) {
            let started = Instant::now();
            let idx = seconds.len();
            fill(idx, &mut batch);
            let state = state.get_or_insert_with(|| model.zero_state(batch.batch));
            let window = Window { time: batch.time, batch: batch.batch };
            let dropout_key = dropout_key(self.seed, idx as u64);
            let mut tape = Tape::training(cpu, &mut parameters, &mut workspace, dropout_key);
            let loss = model.loss(&mut tape, &batch.inputs, &batch.targets, window, state);
            tape.backward(loss);
            if idx == 0 {
                first_loss_nats = tape.loss(loss);
            }
            let step = Step {
                number: idx as u64 + 1,
                lr,
                clip: (self.clip > 0.0).then_some(self.clip),
                average: None,
            };
            self.optimizer.make(cpu, &mut parameters, &step);
            seconds.push(started.elapsed().as_secs_f64());
            spent += seconds[idx];
        }
        Ok(TrialOutcome { first_loss_nats, seconds, model, parameters })
    }

    /// Times updates on random tokens for as long as `goes_on` says so of how many were made and what they took together.
    ///
    /// # Errors
    /// There can be no such network.
    pub fn time(
        &self,
        cpu: &Cpu,
        window: Window,
        goes_on: impl Fn(usize, f64) -> bool,
    ) -> Result<TrialOutcome, Error> {
        let mut random = Random::new(1, 0);
        let vocab_size = self.config.vocab_size as f64;
        let mut tokens =
            || (0..window.len()).map(|_| (random.unit() * vocab_size) as u32).collect();
        let (inputs, targets) = (tokens(), tokens());
        let random_batch = Batch { inputs, targets, time: window.time, batch: window.batch };
        let rate = |n_made, seconds| goes_on(n_made, seconds).then_some(1e-3);
        self.run(cpu, rate, |_, batch| batch.clone_from(&random_batch))
    }
}

/// The middle one, of an even number the upper of two.
///
/// # Panics
/// When there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_made_until_it_is_enough_and_at_least_one() {
        let config = LanguageModelConfig::new(96);
        let trial = Trial {
            config: &config,
            optimizer: Optimizer::SGD,
            clip: 0.25,
            token_counts: None,
            seed: 1,
        };
        let cpu = Cpu::new(1).unwrap();
        for (n_asked, n_made) in [(0, 1), (1, 1), (4, 4)] {
            let window = Window { time: 4, batch: 2 };
            let outcome = trial.time(&cpu, window, |n_made, _| n_made < n_asked).unwrap();
            assert_eq!(outcome.seconds.len(), n_made);
            assert!((outcome.first_loss_nats - 96f64.ln()).abs() < 0.5, "{outcome:?}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![5.0, 1.0, 3.0]), 3.0);
    }
}
