//! Penalties on what a layer hands up, and their gradients (Merity, McCann and Socher 2017).
//!
//! They are of the last layer alone, one value a unit and position, so they have no fast path.

mod reference;
#[cfg(test)]
mod tests;

use crate::Element;

/// Adds the gradient of scale · mean(h²) to `d_h` and returns mean(h²).
///
/// # Shapes
/// `h` and `d_h` any, alike.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn activation<E: Element>(h: &[E], scale: f64, d_h: &mut [E]) -> f64 {
    assert!(h.len() == d_h.len(), "{} values, {} gradients", h.len(), d_h.len());
    reference::activation(h, scale, d_h)
}

/// Adds the gradient of scale · mean((h_t − h_{t−1})²) to `d_h` and returns that mean, over t = 1 … T−1; 0 of a single step.
///
/// # Shapes
/// `h` and `d_h` (T, `step`), with `step` = B·H values a time step.
///
/// # Panics
/// When the sizes differ or are no whole steps.
#[track_caller]
pub fn temporal<E: Element>(h: &[E], step: usize, scale: f64, d_h: &mut [E]) -> f64 {
    assert!(
        h.len() == d_h.len() && step > 0 && h.len().is_multiple_of(step),
        "{} values, {} gradients, {step} a step",
        h.len(),
        d_h.len()
    );
    reference::temporal(h, step, scale, d_h)
}
