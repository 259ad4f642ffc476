//! What the model writes on the way, for people to see it learn.

use std::ops::ControlFlow;
use std::time::Instant;

use recurra_inference::{GenerateOptions, Generator, ModelRef, Sampling};

use crate::observer::Event;
use crate::run::Run;

/// Parts of a run after each of which the model writes something.
const SAMPLES: f64 = 3.0;

/// Something that the model wrote, and where the run stood then.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub step: u64,
    pub fraction: f64,
    pub text: String,
}

impl Run<'_> {
    /// Whether the validation that was just made should be followed by a sample: the first, and then each part of the run.
    pub(crate) fn sample_is_due(&self) -> bool {
        let since = self.sample.as_ref().map(|sample| self.position.fraction - sample.fraction);
        since.is_none_or(|fraction| fraction >= 1.0 / SAMPLES)
    }

    /// Lets the model write something, for people to see it learn. Whatever is in the way of that does not stop the run.
    pub(crate) fn show_sample(&mut self) {
        let started = Instant::now();
        if self.settings.sample_tokens == 0 {
            return;
        }
        match self.with_weights_that_count(|run| run.write_sample()) {
            Ok(text) => {
                self.observer.observe(&Event::Sampled { step: self.position.step, text: &text });
                let (step, fraction) = (self.position.step, self.position.fraction);
                self.sample = Some(Sample { step, fraction, text });
            }
            Err(error) => {
                self.observer.observe(&Event::Warned { message: format!("no sample: {error}") })
            }
        }
        self.pace.costs.sample.note(started.elapsed().as_secs_f64());
    }

    fn write_sample(&self) -> Result<String, recurra_inference::Error> {
        let model =
            ModelRef::new(&self.cpu, &self.model, &self.parameters, &self.corpus.tokenizer)?;
        let sampling = Sampling { temperature: 0.8, ..Sampling::default() };
        let options = GenerateOptions {
            sampling,
            max_tokens: self.settings.sample_tokens,
            ..GenerateOptions::default()
        };
        // Another opening each time: the same one over and over tells less.
        let seed = self.recipe.seed.wrapping_add(self.position.step);
        let mut generator = Generator::new(model, &options, seed)?;
        let mut text = String::new();
        generator.write(&mut |piece| {
            text.push_str(piece);
            ControlFlow::Continue(())
        })?;
        Ok(text)
    }
}
