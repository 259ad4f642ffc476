//! Against numbers done by hand, and finite differences.

use super::*;

#[test]
fn three_predictions_by_hand() {
    let mut gradient = [0.0_f32; 3];
    let loss = forward_backward(&[1.0, 2.0, 4.0], &[1.0, 0.0, 1.0], 3.0, &mut gradient);
    assert!((loss - 13.0 / 3.0).abs() < 1e-12);
    assert_eq!(gradient, [0.0, 4.0, 6.0]);
}

#[test]
fn the_gradient_is_the_slope() {
    let (prediction, targets) = ([0.3_f64, -1.2, 0.7, 2.0], [0.1, 0.4, 0.7, -0.5]);
    let mut gradient = [0.0; 4];
    forward_backward(&prediction, &targets, 1.0, &mut gradient);
    for idx in 0..4 {
        let loss_at = |shift: f64| {
            let mut shifted = prediction;
            shifted[idx] += shift;
            forward_backward(&shifted, &targets, 1.0, &mut [0.0; 4])
        };
        let slope = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6;
        assert!((slope - gradient[idx]).abs() < 1e-8, "{idx}: {slope} {}", gradient[idx]);
    }
}

#[test]
#[should_panic(expected = "2 predictions, 1 targets")]
fn sizes_must_agree() {
    forward_backward(&[1.0_f32, 2.0], &[1.0], 1.0, &mut [0.0]);
}
