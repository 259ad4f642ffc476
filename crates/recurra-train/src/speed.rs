//! How fast networks train on a machine.

use recurra_models::LanguageModelConfig;
use recurra_tensor::{Cpu, Window};

use crate::error::Error;
use crate::optimizer::OptimizerSettings;
use crate::room::{Purpose, expect_room, machine_memory_bytes};
use crate::trial::{Trial, median};

/// Knows how fast networks train.
pub trait Speed {
    /// Operations a second of training this network in windows of this shape.
    ///
    /// # Errors
    /// There can be no such network, or there is no memory for it.
    fn flops(
        &self,
        config: &LanguageModelConfig,
        window: Window,
        optimizer: &OptimizerSettings,
    ) -> Result<f64, Error>;
}

/// As fast as stated, whatever the network.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct Assumed(pub f64);

#[cfg(test)]
impl Speed for Assumed {
    fn flops(
        &self,
        _: &LanguageModelConfig,
        _: Window,
        _: &OptimizerSettings,
    ) -> Result<f64, Error> {
        Ok(self.0)
    }
}

/// As fast as a few updates are found to be.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Where they are made.
    pub cpu: &'a Cpu,
    /// Wall clock after which no further one is begun.
    pub most_seconds: f64,
}

impl<'a> Measured<'a> {
    /// For a run of so many seconds, of which a two-hundredth may go into measuring a network.
    pub fn for_budget(cpu: &'a Cpu, budget_seconds: f64) -> Measured<'a> {
        Measured { cpu, most_seconds: 0.005 * budget_seconds }
    }
}

impl Speed for Measured<'_> {
    /// By the median of up to five updates, after one that also lays out memory.
    fn flops(
        &self,
        config: &LanguageModelConfig,
        window: Window,
        optimizer: &OptimizerSettings,
    ) -> Result<f64, Error> {
        const UPDATES: usize = 6;
        let purpose = Purpose::Training { moments: optimizer.n_moments(), window };
        expect_room(config, purpose, machine_memory_bytes())?;
        let goes_on = |n_made, seconds| n_made < UPDATES && seconds < self.most_seconds;
        let trial = Trial {
            config,
            optimizer: (*optimizer).into(),
            clip: 1.0,
            token_counts: None,
            seed: 1,
        };
        let outcome = trial.time(self.cpu, window, goes_on)?;
        let first = usize::from(outcome.seconds.len() > 1);
        let seconds = median(outcome.seconds[first..].to_vec());
        Ok(window.len() as f64 * config.flops_per_token() as f64 / seconds.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_not_built_to_be_timed() {
        let cpu = Cpu::new(1).unwrap();
        let flops = |config: &LanguageModelConfig| {
            let window = Window { time: 4, batch: 2 };
            Measured::for_budget(&cpu, 1.0).flops(config, window, &OptimizerSettings::sgd())
        };
        let small = LanguageModelConfig { hidden_sizes: vec![8], ..LanguageModelConfig::new(16) };
        assert!(flops(&small).unwrap() > 0.0);
        let none = LanguageModelConfig { hidden_sizes: vec![], ..small.clone() };
        let huge = LanguageModelConfig { hidden_sizes: vec![1 << 22; 9], ..small };
        assert!(matches!(flops(&none), Err(Error::Model(_))));
        assert!(matches!(flops(&huge), Err(Error::Model(_) | Error::NoRoom { .. })));
    }
}
