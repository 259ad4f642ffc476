//! Against numbers done by hand, and finite differences.

use super::*;

#[test]
fn two_steps_by_hand() {
    let mut d_h = [1.0_f32; 4];
    assert_eq!(activation(&[1.0, 2.0, 4.0, 4.0], 2.0, &mut d_h), 37.0 / 4.0);
    assert_eq!(d_h, [2.0, 3.0, 5.0, 5.0]);
    let mut d_h = [1.0_f32; 4];
    assert_eq!(temporal(&[1.0, 2.0, 4.0, 4.0], 2, 2.0, &mut d_h), (9.0 + 4.0) / 2.0);
    assert_eq!(d_h, [-5.0, -3.0, 7.0, 5.0]);
}

#[test]
fn a_single_step_does_not_change() {
    let mut d_h = [0.0_f64; 3];
    assert_eq!(temporal(&[1.0, 2.0, 3.0], 3, 1.0, &mut d_h), 0.0);
    assert_eq!(d_h, [0.0; 3]);
}

#[test]
fn gradients_are_slopes() {
    let h = [0.3_f64, -1.2, 0.7, 2.0, 0.1, -0.4];
    for is_temporal in [false, true] {
        let penalty = |h: &[f64], d_h: &mut [f64]| match is_temporal {
            false => activation(h, 0.7, d_h),
            true => temporal(h, 2, 0.7, d_h),
        };
        let mut gradient = [0.0; 6];
        penalty(&h, &mut gradient);
        for idx in 0..6 {
            let at = |shift: f64| {
                let mut shifted = h;
                shifted[idx] += shift;
                0.7 * penalty(&shifted, &mut [0.0; 6])
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slope - gradient[idx]).abs() < 1e-8, "{idx}: {slope} {}", gradient[idx]);
        }
    }
}

#[test]
#[should_panic(expected = "5 values, 5 gradients, 2 a step")]
fn sizes_must_agree() {
    temporal(&[0.0_f32; 5], 2, 1.0, &mut [0.0; 5]);
}
