//! Writing: tokens a second over all streams, the likeliest token each time.
//!
//! A network that learned nothing repeats itself within a few tokens, which would flatter what is remembered of tokens. So each
//! step finds the likeliest token, as writing does, and reads another one, drawn as words come in texts: the n-th most
//! frequent with probability ∝ 1 / (n + 2.7) (Zipf, 1935; Mandelbrot, 1953). Nothing is remembered before the first.

use std::time::Instant;

use recurra::kernels::step::Storage;
use recurra::models::{LanguageModel, LanguageModelConfig, Prepared, Stepper};
use recurra::tensor::{Cpu, Parameters, Random, Tape, Workspace};
use recurra::train::median;

use super::Task;
use crate::failure::Failure;

/// Steps that take some tenths of a second: the first of them wait until each thread has its core.
pub fn enough_steps(config: &LanguageModelConfig, n_streams: usize) -> usize {
    let work = config.n_parameters() as usize * n_streams.min(8);
    ((1 << 35) / work).clamp(300, 20_000)
}

/// Steps that are timed together: what is remembered is found for some of them.
const STRETCH: usize = 20;

/// A network that is ready to write.
pub struct Writing {
    model: LanguageModel,
    parameters: Parameters<f32>,
    prepared: Prepared,
}

impl Writing {
    /// One that learned nothing.
    pub fn new(task: &Task, cpu: &Cpu, storage: Storage) -> Result<Writing, Failure> {
        let mut parameters = Parameters::new();
        let model = LanguageModel::new(&task.config, &mut parameters)?;
        model.initialize(&mut parameters, 1);
        let prepared = model.prepare(cpu, &parameters, storage);
        Ok(Writing { model, parameters, prepared })
    }

    /// How its weights are stored, whatever was asked for.
    pub fn storage(&self) -> Storage {
        self.prepared.storage()
    }
}

/// The median stretch of many, the first left out; tokens of all streams a second.
pub fn tokens_per_second(task: &Task, cpu: &Cpu, writing: &Writing) -> Result<f64, Failure> {
    let Writing { model, parameters, prepared } = writing;
    let n_streams = task.window.batch;
    check(cpu, (model, parameters), prepared, n_streams)?;
    let mut stepper = Stepper::new(cpu, prepared, n_streams);
    let mut random = Random::new(1, 0);
    let mut seconds = Vec::with_capacity(task.steps / STRETCH + 1);
    for stretch in 0..=task.steps.div_ceil(STRETCH) {
        let ids: Vec<u32> = (0..STRETCH * n_streams)
            .map(|_| frequent(random.unit(), task.config.vocab_size))
            .collect();
        let start = Instant::now();
        for ids in ids.chunks_exact(n_streams) {
            std::hint::black_box(stepper.likeliest(cpu, prepared, parameters, ids));
        }
        if stretch > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok((n_streams * STRETCH) as f64 / median(seconds))
}

/// Steps that are checked before any is timed.
const CHECKED: u32 = 3;
/// How far a logit may be from that of training, as a part of the largest: weights of eight bits.
const TOLERANCE: f32 = 0.05;

/// Refuses to time a wrong result: logits beside those that training computes, and the likeliest token beside the logits.
fn check(
    cpu: &Cpu,
    (model, parameters): (&LanguageModel, &Parameters<f32>),
    prepared: &Prepared,
    n_streams: usize,
) -> Result<(), Failure> {
    let (mut workspace, mut state) = (Workspace::new(), model.zero_state(n_streams));
    let [mut computing, mut finding] = [(); 2].map(|()| Stepper::new(cpu, prepared, n_streams));
    let vocab_size = model.config().vocab_size;
    for step in 0..CHECKED {
        let ids: Vec<u32> = (0..n_streams as u32)
            .map(|stream| (stream * 7919 + step) % vocab_size as u32)
            .collect();
        let mut tape = Tape::inference(cpu, parameters, &mut workspace);
        let logits = model.step(&mut tape, &ids, &mut state);
        let expected = tape.value(logits).chunks_exact(vocab_size);
        let found = computing.logits(cpu, prepared, parameters, &ids);
        let likeliest = finding.likeliest(cpu, prepared, parameters, &ids);
        for ((found, expected), likeliest) in found.zip(expected).zip(likeliest) {
            let bound = TOLERANCE * expected.iter().fold(0.0, |most: f32, l| most.max(l.abs()));
            let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= bound;
            if !found.iter().zip(expected).all(is_near) {
                return Err(Failure::of_wrong_result(
                    "logits differ from those of training".to_owned(),
                ));
            }
            let most = found.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if found[likeliest.id as usize] != most {
                let message = format!("token {} is not the likeliest", likeliest.id);
                return Err(Failure::of_wrong_result(message));
            }
        }
    }
    Ok(())
}

/// A token by a number in [0, 1): the logarithm of n + 2.7 is uniform.
fn frequent(unit: f64, vocab_size: usize) -> u32 {
    const SHIFT: f64 = 2.7;
    let n = SHIFT * ((vocab_size as f64 + SHIFT) / SHIFT).powf(unit) - SHIFT;
    (n as u32).min(vocab_size as u32 - 1)
}
