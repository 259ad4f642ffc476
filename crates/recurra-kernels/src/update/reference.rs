//! The plain loops.

use super::{AdamStep, DynamicStep, SgdStep};
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

/// g ← scale·g + pull·x; m ← m + (g − m)·(1−β₁), or g where no m is kept; v ← β₂·v + (1−β₂)·g²;
/// x ← keep·x − rate·m / (√v·root_scale + ε); then the gradient is zero.
pub fn adam<E: Element>(
    step: AdamStep<E>,
    value: &mut [E],
    gradient: &mut [E],
    mut m: Option<&mut [E]>,
    v: &mut [E],
) {
    for (idx, ((x, gradient), v)) in value.iter_mut().zip(gradient).zip(v).enumerate() {
        let g = step.scale * *gradient + step.pull * *x;
        let mut first = g;
        if let Some(m) = &mut m {
            first = m[idx] + (g - m[idx]) * step.toward_m;
            m[idx] = first;
        }
        *v = step.keep_v * *v + step.add_v * g * g;
        *x = step.keep * *x - step.rate * first / (v.sqrt() * step.root_scale + step.epsilon);
        *gradient = E::ZERO;
    }
}

/// θ̄ ← θ̄ + w·(θ − θ̄).
pub fn average<E: Element>(weight: E, value: &[E], average: &mut [E]) {
    for (mean, &x) in average.iter_mut().zip(value) {
        *mean += weight * (x - *mean);
    }
}

/// x ← x − lr·g / (r + ε) + min(decay·r, 1)·(x₀ − x); then the gradient is zero.
pub fn dynamic<E: Element>(
    step: DynamicStep<E>,
    value: &mut [E],
    gradient: &mut [E],
    [root, origin]: [&[E]; 2],
) {
    for (((x, gradient), &r), &origin) in value.iter_mut().zip(gradient).zip(root).zip(origin) {
        let rate = step.decay * r;
        let rate = if rate < E::ONE { rate } else { E::ONE };
        *x += rate * (origin - *x) - step.lr * *gradient / (r + step.epsilon);
        *gradient = E::ZERO;
    }
}

/// s ← s + g²; then the gradient is zero.
pub fn add_squares<E: Element>(gradient: &mut [E], sum: &mut [E]) {
    for (gradient, sum) in gradient.iter_mut().zip(sum) {
        *sum += *gradient * *gradient;
        *gradient = E::ZERO;
    }
}
