//! Plain loops.

use crate::Element;

pub(super) fn forward_backward<E: Element>(
    prediction: &[E],
    targets: &[E],
    scale: E,
    d_prediction: &mut [E],
) -> f64 {
    let n = targets.len() as f64;
    let slope = scale * E::from_f64(2.0 / n);
    let mut sum = 0.0;
    for ((&y, &t), d_y) in prediction.iter().zip(targets).zip(d_prediction) {
        let error = y - t;
        sum += (error * error).to_f64();
        *d_y = slope * error;
    }
    sum / n
}
