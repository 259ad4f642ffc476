//! One step of one LSTM layer in one stream, as a call of its own: what a server pays that has one token to read.

use std::fmt;
use std::time::Instant;

use clap::Args;
use recurra::kernels::step::{CellKind, LayerWeights, Stepper, Storage, Weights, reference};
use recurra::models::LanguageModelConfig;
use recurra::tensor::{Cpu, Random};
use recurra::train::{Purpose, median};
use serde::Serialize;

use super::WARM_UP;
use crate::failure::Failure;
use crate::machine_flags::UseFlags;
use crate::{memory, output, values};

/// What to time.
#[derive(Args, Clone, Debug)]
#[command(allow_negative_numbers = true)] // so that `--hidden -1` is told what it may be
pub struct Step {
    /// Width of the layer and of its input
    #[arg(long, value_parser = values::size::<1, 65536>, default_value = "512", value_name = "N")]
    hidden: usize,
    /// Steps to time
    #[arg(long, value_parser = values::size::<1, 1_000_000>, default_value = "2000", value_name = "N")]
    steps: usize,
    /// Print one JSON object as last line of standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: UseFlags,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Timing {
    mode: &'static str,
    cell: &'static str,
    hidden: usize,
    microseconds: f64,
    weight_bytes: usize,
    gbytes_per_second: f64,
    isa: &'static str,
    precision: &'static str,
    threads: usize,
}

impl Step {
    /// Checks a step against the plain reference, then times it.
    pub fn run(self) -> Result<(), Failure> {
        let cpu = self.machine.cpu()?;
        let storage = self.machine.storage().unwrap_or(Storage::FASTEST);
        let config = LanguageModelConfig {
            embed_size: self.hidden,
            hidden_sizes: vec![self.hidden],
            ..LanguageModelConfig::new(2)
        };
        memory::expect_room(&config, Purpose::Use { streams: 1 })?;
        let layer = Layer::random(self.hidden);
        let weights = Weights::pack(&cpu, storage, CellKind::Lstm, &[layer.weights()], None);
        let mut stepper = Stepper::new(&cpu, &weights, 1);
        layer.check(&cpu, &weights, &mut stepper)?;
        let mut seconds = Vec::with_capacity(self.steps);
        for step in 0..WARM_UP + self.steps {
            let start = Instant::now();
            stepper.read(&cpu, &weights, &layer.x);
            if step >= WARM_UP {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let seconds = median(seconds);
        let timing = Timing {
            mode: "step",
            cell: "lstm",
            hidden: self.hidden,
            microseconds: seconds * 1e6,
            weight_bytes: weights.n_bytes(),
            gbytes_per_second: weights.n_bytes() as f64 / seconds / 1e9,
            isa: cpu.isa().name(),
            precision: storage.name(),
            threads: cpu.threads(),
        };
        tell_line!("{timing}");
        if self.json { output::write_json(&timing) } else { Ok(()) }
    }
}

/// A layer with an input and a state, all random.
struct Layer {
    matrices: [Vec<f32>; 2],
    biases: [Vec<f32>; 2],
    x: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

/// How far a step may be from the reference.
const TOLERANCE: f32 = 1e-4;

impl Layer {
    fn random(hidden: usize) -> Self {
        let mut random = Random::new(1, 0);
        let mut values = |n: usize, bound: f64| {
            let mut values = vec![0.0; n];
            random.fill_uniform(&mut values, bound);
            values
        };
        let (rows, bound) = (4 * hidden, 1.0 / (hidden as f64).sqrt());
        Self {
            matrices: [values(rows * hidden, bound), values(rows * hidden, bound)],
            biases: [values(rows, bound), values(rows, bound)],
            x: values(hidden, 1.0),
            h: values(hidden, 1.0),
            c: values(hidden, 1.0),
        }
    }

    fn weights(&self) -> LayerWeights<'_> {
        let ([weight_ih, weight_hh], [bias_ih, bias_hh]) = (&self.matrices, &self.biases);
        LayerWeights { weight_ih, weight_hh, bias_ih, bias_hh }
    }

    /// Refuses to time a wrong result.
    fn check(&self, cpu: &Cpu, weights: &Weights, stepper: &mut Stepper) -> Result<(), Failure> {
        let (mut h, mut c) = (self.h.clone(), self.c.clone());
        reference::layer(
            weights.storage(),
            CellKind::Lstm,
            &self.weights(),
            &self.x,
            &mut h,
            &mut c,
        );
        stepper.state_mut(0, 0).copy_from_slice(&self.h);
        stepper.state_mut(0, 1).copy_from_slice(&self.c);
        stepper.read(cpu, weights, &self.x);
        for (found, expected) in [(stepper.state(0, 0), &h), (stepper.state(0, 1), &c)] {
            let is_near = |(found, expected): (&f32, &f32)| (found - expected).abs() < TOLERANCE;
            if !found.iter().zip(expected).all(is_near) {
                let storage = weights.storage();
                return Err(Failure::of_wrong_result(format!(
                    "a step in {storage} differs from the reference"
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "one LSTM step, H = E = {}, {} in {}, {} threads: {:.1} µs, {:.1} GB/s of weights",
            self.hidden,
            self.isa,
            self.precision,
            self.threads,
            self.microseconds,
            self.gbytes_per_second
        )
    }
}
