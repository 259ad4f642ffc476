//! One step of an optimizer in one pass over memory, and the norm that gradients are clipped by.
//!
//! A pass reads the value, the gradient and the moments once, writes them once and leaves the gradient at zero for the next
//! step. The formulas are those of PyTorch's `torch.optim.SGD` and `torch.optim.AdamW` (Loshchilov & Hutter, 2019), with
//! every coefficient computed in `f64` before it is rounded to the element type. Clipping by the global norm (Pascanu et
//! al., 2013) is `scale` = min(1, clip / ‖g‖), applied in the same pass. Weights of recurrent layers in tiles are laid out
//! there too, see [`PackedLayer::update_all`](crate::layer::PackedLayer::update_all).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod plain;
#[cfg(target_arch = "x86_64")]
pub(crate) mod put_row;
mod reference;
mod slabs;
#[cfg(test)]
mod tests;
mod vector;

pub use norm::{squared_norm, squared_norms, squared_norms_at};
#[cfg(target_arch = "x86_64")]
pub(crate) use slabs::Update;
pub use slabs::{Slabs, step};

use crate::{Element, Isa};

/// Values of one task. Partial sums of the norm are formed over blocks of this many, whatever the number of threads.
const BLOCK: usize = 16 * 1024;

/// How values follow their gradients in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// [`Sgd`]
    Sgd(Sgd),
    /// [`AdamW`]
    AdamW(AdamW),
}

/// Stochastic gradient descent as PyTorch's: g ← scale·g + weight_decay·x; u ← momentum·u + g; x ← x − lr·u.
///
/// u is zero before the first step; without momentum it is g.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// How much of the last velocity stays; with 0 no velocity is kept.
    pub momentum: f64,
    /// How much of the value is added to its gradient.
    pub weight_decay: f64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// Adam with decoupled weight decay as PyTorch's: x ← x − lr·weight_decay·x; g ← scale·g; m ← β₁·m + (1−β₁)·g;
/// v ← β₂·v + (1−β₂)·g²; x ← x − lr · m̂ / (√v̂ + ε) with m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ).
///
/// m and v are zero before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the second moment, the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The value shrinks by lr · weight_decay, whatever its gradient.
    pub weight_decay: f64,
    /// Which step this is, counted from 1.
    pub step: u64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// Coefficients of an AdamW step: m ← m + (g − m)·`toward_m`, v ← `keep_v`·v + `add_v`·g²,
/// x ← `keep`·x − `rate`·m / (√v·`root_scale` + `epsilon`).
#[derive(Clone, Copy, Debug)]
struct AdamWStep<E> {
    scale: E,
    keep: E,
    toward_m: E,
    keep_v: E,
    add_v: E,
    rate: E,
    root_scale: E,
    epsilon: E,
}

/// Coefficients of an SGD step: g ← `scale`·g + `weight_decay`·x, u ← `momentum`·u + g, x ← x − `lr`·u.
#[derive(Clone, Copy, Debug)]
struct SgdStep<E> {
    scale: E,
    weight_decay: E,
    momentum: E,
    lr: E,
}

impl Rule {
    /// How many slabs of state it keeps beside values and gradients.
    pub fn n_moments(self) -> usize {
        match self {
            Rule::Sgd(Sgd { momentum: 0.0, .. }) => 0,
            Rule::Sgd(_) => 1,
            Rule::AdamW(_) => 2,
        }
    }
}

impl Sgd {
    fn prepare<E: Element>(self) -> SgdStep<E> {
        SgdStep {
            scale: E::from_f64(self.scale),
            weight_decay: E::from_f64(self.weight_decay),
            momentum: E::from_f64(self.momentum),
            lr: E::from_f64(self.lr),
        }
    }
}

impl AdamW {
    fn prepare<E: Element>(self) -> AdamWStep<E> {
        let steps = self.step.min(i32::MAX as u64) as i32;
        let (correction1, correction2) =
            (1.0 - self.beta1.powi(steps), 1.0 - self.beta2.powi(steps));
        AdamWStep {
            scale: E::from_f64(self.scale),
            keep: E::from_f64(1.0 - self.lr * self.weight_decay),
            toward_m: E::from_f64(1.0 - self.beta1),
            keep_v: E::from_f64(self.beta2),
            add_v: E::from_f64(1.0 - self.beta2),
            rate: E::from_f64(self.lr / correction1),
            root_scale: E::from_f64(1.0 / correction2.sqrt()),
            epsilon: E::from_f64(self.epsilon),
        }
    }
}

/// One step of [`Sgd`] on slices of one length; then the gradient is zero.
fn sgd<E: Element>(
    isa: Isa,
    sgd: Sgd,
    value: &mut [E],
    gradient: &mut [E],
    momentum: Option<&mut [E]>,
) {
    if let (Some(value), Some(gradient)) = (E::as_f32_mut(value), E::as_f32_mut(gradient)) {
        sgd_f32(isa, sgd.prepare(), value, gradient, momentum.and_then(E::as_f32_mut));
    } else {
        reference::sgd(sgd.prepare(), value, gradient, momentum);
    }
}

fn sgd_f32(
    isa: Isa,
    step: SgdStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    momentum: Option<&mut [f32]>,
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::sgd(step, value, gradient, momentum),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::sgd(step, value, gradient, momentum),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::sgd(step, value, gradient, momentum),
            _ => plain::sgd(step, value, gradient, momentum),
        }
    }
}

/// One step of [`AdamW`] on slices of one length; then the gradient is zero.
fn adamw<E: Element>(
    isa: Isa,
    adamw: AdamW,
    value: &mut [E],
    gradient: &mut [E],
    [m, v]: [&mut [E]; 2],
) {
    if let (Some(value), Some(gradient), Some(m), Some(v)) =
        (E::as_f32_mut(value), E::as_f32_mut(gradient), E::as_f32_mut(m), E::as_f32_mut(v))
    {
        adamw_f32(isa, adamw.prepare(), value, gradient, m, v);
    } else {
        reference::adamw(adamw.prepare(), value, gradient, m, v);
    }
}

fn adamw_f32(
    isa: Isa,
    step: AdamWStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::adamw(step, value, gradient, m, v),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::adamw(step, value, gradient, m, v),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::adamw(step, value, gradient, m, v),
            _ => plain::adamw(step, value, gradient, m, v),
        }
    }
}
