//! The plain loops.

use super::{AdamWStep, SgdStep};
use crate::Element;

/// Running sums of a block: value i goes into sum i mod 16.
pub const SUMS: usize = 16;

/// Σ g² of one block.
pub fn squared_norm<E: Element>(block: &[E]) -> f64 {
    let mut sums = [0.0; SUMS];
    for (idx, &g) in block.iter().enumerate() {
        sums[idx % SUMS] += g.to_f64() * g.to_f64();
    }
    sums.iter().sum()
}

/// g ← scale·g + weight_decay·x; u ← momentum·u + g; x ← x − lr·u; then the gradient is zero.
pub fn sgd<E: Element>(
    step: SgdStep<E>,
    value: &mut [E],
    gradient: &mut [E],
    mut momentum: Option<&mut [E]>,
) {
    for (idx, (x, gradient)) in value.iter_mut().zip(gradient).enumerate() {
        let mut u = step.scale * *gradient + step.weight_decay * *x;
        if let Some(momentum) = &mut momentum {
            u += step.momentum * momentum[idx];
            momentum[idx] = u;
        }
        *x -= step.lr * u;
        *gradient = E::ZERO;
    }
}

/// m ← m + (g − m)·(1−β₁); v ← β₂·v + (1−β₂)·g²; x ← keep·x − rate·m / (√v·root_scale + ε); then the gradient is zero.
pub fn adamw<E: Element>(
    step: AdamWStep<E>,
    value: &mut [E],
    gradient: &mut [E],
    m: &mut [E],
    v: &mut [E],
) {
    for (((x, gradient), m), v) in value.iter_mut().zip(gradient).zip(m).zip(v) {
        let g = step.scale * *gradient;
        *m += (g - *m) * step.toward_m;
        *v = step.keep_v * *v + step.add_v * g * g;
        *x = step.keep * *x - step.rate * *m / (v.sqrt() * step.root_scale + step.epsilon);
        *gradient = E::ZERO;
    }
}
