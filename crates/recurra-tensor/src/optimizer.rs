//! Clip, update, lay out and forget the gradient in one pass over the flat store.

use std::iter::zip;
use std::ops::Range;

use recurra_kernels::layer::{self, PackedLayer};
use recurra_kernels::update::{self, AdamW, Rule, Sgd};
use recurra_kernels::{Cpu, Element};

use crate::parameters::Parameters;

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent: v ← μ·v + g, θ ← θ − η·v, with g including λ·θ (PyTorch's `SGD`).
    Sgd {
        /// μ; 0 keeps no v.
        momentum: f64,
        /// λ.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, PyTorch's `AdamW`).
    AdamW {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// λ: θ ← θ − η·λ·θ.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// Plain gradient descent.
    pub const SGD: Self = Self::Sgd { momentum: 0.0, weight_decay: 0.0 };
    /// AdamW with PyTorch's decay rates and no weight decay.
    pub const ADAMW: Self =
        Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };

    /// How many slabs of state it keeps beside the parameters.
    pub fn n_moments(self) -> usize {
        self.rule(1, 0.0, 1.0).n_moments()
    }

    /// Whether a parameter whose gradient is zero stays as it is, so that unread rows of an embedding can be passed over.
    fn skips_zero_gradients(self) -> bool {
        matches!(self, Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 })
    }

    /// Scales all gradients so that their joint norm is at most `clip` (Pascanu et al. 2013), follows them with the
    /// learning rate `lr`, and sets them to zero; returns their norm before clipping. `step` counts from 1.
    ///
    /// When the norm is not finite, nothing changes: the caller decides what that means.
    pub fn step<E: Element>(
        self,
        cpu: &Cpu,
        parameters: &mut Parameters<E>,
        step: u64,
        lr: f64,
        clip: Option<f64>,
    ) -> f64 {
        if parameters.n_moments() != self.n_moments() {
            parameters.set_n_moments(self.n_moments());
        }
        let gradients = &parameters.gradients;
        let squares = parameters.ids().map(|id| gradients.squared_norm(cpu, id));
        let norm = squares.sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let rule = self.rule(step, lr, clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0)));
        let whole = gradients.ranges().to_vec();
        let mut changing: Vec<Vec<Range<usize>>> = match self.skips_zero_gradients() {
            true => parameters.ids().map(|id| gradients.written_ranges(id)).collect(),
            false => whole.iter().map(|range| vec![range.clone()]).collect(),
        };
        let (mut slabs, layers, version) = parameters.for_update();
        if layer::is_available(cpu)
            && let Some(mut slabs) = slabs.as_f32()
        {
            // Both weights of a layer, and what becomes of them laid out, unless another layer has changed one of them already.
            layers.write(version, |weights, copies| {
                let ranges = weights.map(|id| whole[id.index()].clone());
                let is_due = zip(weights, &ranges)
                    .all(|(id, range)| changing[id.index()] == [range.clone()]);
                if is_due {
                    weights.into_iter().for_each(|id| changing[id.index()].clear());
                    PackedLayer::update_all(copies, cpu, rule, slabs.parts(ranges));
                }
                is_due
            });
        }
        for range in changing.into_iter().flatten() {
            let [part] = slabs.parts([range]);
            update::step(cpu, rule, part);
        }
        parameters.ids().for_each(|id| parameters.gradients.forget(id));
        norm
    }

    fn rule(self, step: u64, lr: f64, scale: f64) -> Rule {
        match self {
            Optimizer::Sgd { momentum, weight_decay } => {
                Rule::Sgd(Sgd { lr, momentum, weight_decay, scale })
            }
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                Rule::AdamW(AdamW { lr, beta1, beta2, epsilon, weight_decay, step, scale })
            }
        }
    }
}
