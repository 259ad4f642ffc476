//! How fast networks train on a machine.

use recurra_models::LanguageModelConfig;
use recurra_tensor::{Cpu, Window};

use crate::optimizer::OptimizerSettings;
use crate::trial::{Trial, median};

/// Knows how fast networks train.
pub trait Speed {
    /// Operations a second of training this network in windows of this shape.
    fn flops(
        &self,
        config: &LanguageModelConfig,
        window: Window,
        optimizer: &OptimizerSettings,
    ) -> f64;
}

/// As fast as stated, whatever the network.
#[derive(Debug, Clone, Copy)]
pub struct Assumed(pub f64);

impl Speed for Assumed {
    fn flops(&self, _: &LanguageModelConfig, _: Window, _: &OptimizerSettings) -> f64 {
        self.0
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
    ) -> f64 {
        const UPDATES: usize = 6;
        let goes_on = |n_made, seconds| n_made < UPDATES && seconds < self.most_seconds;
        let trial = Trial { config, optimizer: (*optimizer).into(), clip: 1.0 };
        // A network that cannot be is refused later, by name.
        let Ok(outcome) = trial.time(self.cpu, window, goes_on) else { return f64::INFINITY };
        let first = usize::from(outcome.seconds.len() > 1);
        let seconds = median(outcome.seconds[first..].to_vec());
        window.len() as f64 * config.flops_per_token() as f64 / seconds.max(1e-9)
    }
}
