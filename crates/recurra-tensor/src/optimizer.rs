//! Clip, update and forget the gradient in one pass over the flat store.

use std::ops::Range;

use recurra_kernels::update::{self, AdamW, Sgd};
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
        match self {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::AdamW { .. } => 2,
        }
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
        let n_parameters = parameters.len();
        let (values, gradients, moments) = parameters.for_update();
        let written: Vec<Vec<Range<usize>>> =
            (0..n_parameters).map(|idx| gradients.written_ranges(idx)).collect();
        let square: f64 = (0..n_parameters).map(|idx| gradients.squared_norm(cpu, idx)).sum();
        let norm = square.sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let scale = clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        for (idx, written) in written.into_iter().enumerate() {
            let whole = gradients.ranges()[idx].clone();
            let ranges = if self.skips_zero_gradients() { written } else { vec![whole] };
            for range in ranges {
                let value = &mut values[range.clone()];
                let gradient = &mut gradients.slab_mut()[range.clone()];
                self.update(cpu, step, lr, scale, value, gradient, moments, range);
            }
        }
        parameters.ids().for_each(|id| parameters.gradients.forget(id));
        norm
    }

    #[allow(clippy::too_many_arguments)] // the slabs side by side
    fn update<E: Element>(
        self,
        cpu: &Cpu,
        step: u64,
        lr: f64,
        scale: f64,
        value: &mut [E],
        gradient: &mut [E],
        moments: &mut [Vec<E>],
        range: Range<usize>,
    ) {
        match self {
            Optimizer::Sgd { momentum, weight_decay } => {
                let velocity = moments.first_mut().map(|slab| &mut slab[range]);
                update::sgd(
                    cpu,
                    Sgd { lr, momentum, weight_decay, scale },
                    value,
                    gradient,
                    velocity,
                );
            }
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let [m, v] = moments else { unreachable!("AdamW keeps two slabs") };
                let rates = AdamW { lr, beta1, beta2, epsilon, weight_decay, step, scale };
                update::adamw(cpu, rates, value, gradient, &mut m[range.clone()], &mut v[range]);
            }
        }
    }
}
