//! One step of an optimizer in one pass over memory, and the norm that gradients are clipped by.
//!
//! A pass reads the value, the gradient and the moments once, writes them once and leaves the gradient at zero for the next
//! step. The formulas are those of PyTorch's `torch.optim.SGD`, `torch.optim.Adam` (Kingma & Ba, 2015) and
//! `torch.optim.AdamW` (Loshchilov & Hutter, 2019), with every coefficient computed in `f64` before it is rounded to the
//! element type. Clipping by the global norm (Pascanu et al., 2013) is `scale` = min(1, clip / ‖g‖), applied in the same
//! pass. An average of the values follows while they are in the caches. Weights of recurrent layers in tiles are laid out
//! there too, see [`PackedLayer::update_all`](crate::layer::PackedLayer::update_all).

mod average;
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
mod squares;
#[cfg(test)]
mod tests;
mod vector;

pub use average::average;
pub use norm::{squared_norm, squared_norms, squared_norms_at};
#[cfg(target_arch = "x86_64")]
pub(crate) use slabs::Update;
pub use slabs::{Slabs, step};
pub use squares::add_squares;

use crate::isa::by_isa;
use crate::{Element, Isa};

/// Values of one task. Partial sums of the norm are formed over blocks of this many, whatever the number of threads.
const BLOCK: usize = 16 * 1024;

/// How values follow their gradients in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// [`Sgd`]
    Sgd(Sgd),
    /// [`Adam`]
    Adam(Adam),
    /// [`Dynamic`]
    Dynamic(Dynamic),
}

/// What is made of the values in one pass over memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// How they follow their gradients.
    pub rule: Rule,
    /// w, by how much of its distance to them their [`average`] follows; `None` keeps no average.
    pub average: Option<f64>,
}

impl From<Rule> for Pass {
    fn from(rule: Rule) -> Self {
        Self { rule, average: None }
    }
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

/// Adam as PyTorch's: g ← scale·g; m ← β₁·m + (1−β₁)·g; v ← β₂·v + (1−β₂)·g²; x ← x − lr · m̂ / (√v̂ + ε) with
/// m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ).
///
/// Weight decay λ comes before all that: decoupled (AdamW) as x ← x − lr·λ·x, else (Adam) as g ← scale·g + λ·x.
/// m and v are zero before the first step; with β₁ = 0, m is g and only v is kept, as the first moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, the running mean of the gradient; with 0 none is kept.
    pub beta1: f64,
    /// Decay of the second moment, the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// λ.
    pub weight_decay: f64,
    /// Whether the value shrinks by lr · λ whatever its gradient; else λ times the value is added to its gradient.
    pub is_decoupled: bool,
    /// Which step this is, counted from 1.
    pub step: u64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// A step of dynamic evaluation (Krause et al. 2018): x ← x − lr·g / (r + ε) + min(decay·r, 1)·(x₀ − x), where r is the root
/// of the mean square of the gradient over the training text and x₀ the value that training ended with.
///
/// The moments are r and x₀, which it reads and does not change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dynamic {
    /// Learning rate.
    pub lr: f64,
    /// How fast a value goes back to where training left it, for each unit of r: λ divided by the mean of all r.
    pub decay: f64,
    /// Added to r.
    pub epsilon: f64,
}

/// Coefficients of an Adam step: g ← `scale`·g + `pull`·x, m ← m + (g − m)·`toward_m`, v ← `keep_v`·v + `add_v`·g²,
/// x ← `keep`·x − `rate`·m / (√v·`root_scale` + `epsilon`).
#[derive(Clone, Copy, Debug)]
struct AdamStep<E> {
    scale: E,
    pull: E,
    keep: E,
    toward_m: E,
    keep_v: E,
    add_v: E,
    rate: E,
    root_scale: E,
    epsilon: E,
}

/// [`Dynamic`] rounded to the element type.
#[derive(Clone, Copy, Debug)]
struct DynamicStep<E> {
    lr: E,
    decay: E,
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
            Rule::Adam(Adam { beta1: 0.0, .. }) => 1,
            Rule::Adam(_) | Rule::Dynamic(_) => 2,
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

impl Adam {
    fn prepare<E: Element>(self) -> AdamStep<E> {
        let steps = self.step.min(i32::MAX as u64) as i32;
        let (correction1, correction2) =
            (1.0 - self.beta1.powi(steps), 1.0 - self.beta2.powi(steps));
        let (shrink, pull) = match self.is_decoupled {
            true => (self.lr * self.weight_decay, 0.0),
            false => (0.0, self.weight_decay),
        };
        AdamStep {
            scale: E::from_f64(self.scale),
            pull: E::from_f64(pull),
            keep: E::from_f64(1.0 - shrink),
            toward_m: E::from_f64(1.0 - self.beta1),
            keep_v: E::from_f64(self.beta2),
            add_v: E::from_f64(1.0 - self.beta2),
            rate: E::from_f64(self.lr / correction1),
            root_scale: E::from_f64(1.0 / correction2.sqrt()),
            epsilon: E::from_f64(self.epsilon),
        }
    }
}

impl Dynamic {
    fn prepare<E: Element>(self) -> DynamicStep<E> {
        let [lr, decay, epsilon] = [self.lr, self.decay, self.epsilon].map(E::from_f64);
        DynamicStep { lr, decay, epsilon }
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
    unsafe { by_isa!(isa, self::file => file::sgd(step, value, gradient, momentum)) }
}

/// One step of [`Adam`] on slices of one length; then the gradient is zero.
fn adam<E: Element>(
    isa: Isa,
    adam: Adam,
    value: &mut [E],
    gradient: &mut [E],
    m: Option<&mut [E]>,
    v: &mut [E],
) {
    if let (Some(value), Some(gradient)) = (E::as_f32_mut(value), E::as_f32_mut(gradient)) {
        let v = E::as_f32_mut(v).expect("one type for all slabs");
        adam_f32(isa, adam.prepare(), value, gradient, m.and_then(E::as_f32_mut), v);
    } else {
        reference::adam(adam.prepare(), value, gradient, m, v);
    }
}

fn adam_f32(
    isa: Isa,
    step: AdamStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: Option<&mut [f32]>,
    v: &mut [f32],
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe { by_isa!(isa, self::file => file::adam(step, value, gradient, m, v)) }
}

/// One step of [`Dynamic`] on slices of one length; then the gradient is zero.
fn dynamic<E: Element>(
    isa: Isa,
    dynamic: Dynamic,
    value: &mut [E],
    gradient: &mut [E],
    [root, origin]: [&[E]; 2],
) {
    if let (Some(value), Some(gradient), Some(root), Some(origin)) =
        (E::as_f32_mut(value), E::as_f32_mut(gradient), E::as_f32(root), E::as_f32(origin))
    {
        dynamic_f32(isa, dynamic.prepare(), value, gradient, [root, origin]);
    } else {
        reference::dynamic(dynamic.prepare(), value, gradient, [root, origin]);
    }
}

fn dynamic_f32(
    isa: Isa,
    step: DynamicStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    moments: [&[f32]; 2],
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe { by_isa!(isa, self::file => file::dynamic(step, value, gradient, moments)) }
}
