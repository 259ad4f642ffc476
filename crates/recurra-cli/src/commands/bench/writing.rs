//! Writing: tokens a second over all streams, the likeliest token each time.

use std::time::Instant;

use recurra::kernels::step::Storage;
use recurra::models::{LanguageModelConfig, Stepper};
use recurra::tensor::Cpu;

use super::{Task, WARM_UP, median};
use crate::failure::Failure;

/// Steps that take some tenths of a second: the first of them wait until each thread has its core.
pub fn enough_steps(config: &LanguageModelConfig, n_streams: usize) -> usize {
    let work = config.n_parameters() as usize * n_streams.min(8);
    ((1 << 35) / work).clamp(300, 20_000)
}

/// The median step of many, streams a second.
pub fn tokens_per_second(task: &Task, cpu: &Cpu, storage: Storage) -> Result<f64, Failure> {
    let (model, parameters) = task.build()?;
    let prepared = model.prepare(cpu, &parameters, storage);
    let n_streams = task.window.batch;
    let mut stepper = Stepper::new(cpu, &prepared, n_streams);
    let mut ids = vec![0; n_streams];
    let mut seconds = Vec::with_capacity(task.steps);
    for step in 0..WARM_UP + task.steps {
        let start = Instant::now();
        let likeliest = stepper.likeliest(cpu, &prepared, &parameters, &ids);
        for (id, likeliest) in ids.iter_mut().zip(likeliest) {
            *id = likeliest.id;
        }
        if step >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(n_streams as f64 / median(&mut seconds))
}
