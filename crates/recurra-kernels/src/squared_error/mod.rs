//! Mean squared error and its gradient. Small by nature (one value a prediction), so it has no fast path.

mod reference;

use crate::Element;

/// Returns L = mean (y − t)² and sets d_y = scale · 2 (y − t) / n.
///
/// # Panics
/// When the sizes differ or are zero.
#[track_caller]
pub fn forward_backward<E: Element>(
    prediction: &[E],
    targets: &[E],
    scale: E,
    d_prediction: &mut [E],
) -> f64 {
    assert!(
        prediction.len() == targets.len()
            && targets.len() == d_prediction.len()
            && !targets.is_empty(),
        "{} predictions, {} targets, {} gradients",
        prediction.len(),
        targets.len(),
        d_prediction.len()
    );
    reference::forward_backward(prediction, targets, scale, d_prediction)
}

#[cfg(test)]
mod tests;
