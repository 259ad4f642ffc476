//! Every instruction set against the reference in `f64`, and the reference against differences.

use super::*;
use crate::recurrent::tests::values;

const SIZES: [[usize; 2]; 6] = [[1, 1], [3, 5], [2, 16], [5, 17], [7, 33], [64, 300]];

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

#[track_caller]
fn assert_near(isa: Isa, found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (idx, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(found) - expected).abs() / (1.0 + expected.abs());
        assert!(off < 1e-5, "{isa}: {what} at {idx}: {found}, not {expected}");
    }
}

#[test]
fn every_instruction_set_scales_as_the_reference() {
    for [batch, width] in SIZES {
        let n = batch * width;
        let (a, v, d) = (values(1, n, 3.0), values(2, n, 2.0), values(3, n, 1.0));
        let (mut gate, mut out) = (a.clone(), vec![0.0; n]);
        reference::scale(&mut gate, &v, &mut out);
        let (mut d_a, mut d_v) = (gate.clone(), d.clone());
        reference::scale_backward(&mut d_a, &v, &mut d_v);
        for isa in Isa::available() {
            for threads in [1, 3] {
                let cpu = Cpu::with_isa(isa, threads);
                let (mut found, v, mut to) = (narrow(&a), narrow(&v), vec![f32::NAN; n]);
                scale(&cpu, &mut found, &v, &mut to);
                assert_near(isa, &found, &gate, "gate");
                assert_near(isa, &to, &out, "out");
                let mut d = narrow(&d);
                scale_backward(&cpu, &mut found, &v, &mut d);
                assert_near(isa, &found, &d_a, "d_a");
                assert_near(isa, &d, &d_v, "d_v");
            }
        }
    }
}

#[test]
fn every_instruction_set_steps_as_the_reference() {
    for ([batch, hidden], is_coupled) in SIZES.into_iter().zip([true, false].into_iter().cycle()) {
        let n = batch * hidden;
        let (a, before) = (values(1, GATES * n, 3.0), values(2, n, 2.0));
        let (d_h, d_c) = (values(3, n, 1.0), values(4, n, 1.0));
        let plain = Cpu::with_isa(Isa::Plain, 1);
        let (mut gates, mut c, mut h) = (a.clone(), vec![0.0; n], vec![0.0; n]);
        step(&plain, hidden, is_coupled, &mut gates, &before, &mut c, &mut h);
        let (mut d_a, mut d_before) = (gates.clone(), d_c.clone());
        step_backward(&plain, hidden, is_coupled, &mut d_a, &before, &c, &d_h, &mut d_before);
        for isa in Isa::available() {
            for threads in [1, 3] {
                let cpu = Cpu::with_isa(isa, threads);
                let (mut found, before) = (narrow(&a), narrow(&before));
                let (mut c_now, mut h_now) = (vec![f32::NAN; n], vec![f32::NAN; n]);
                step(&cpu, hidden, is_coupled, &mut found, &before, &mut c_now, &mut h_now);
                assert_near(isa, &found, &gates, "gates");
                assert_near(isa, &c_now, &c, "c");
                assert_near(isa, &h_now, &h, "h");
                let (d_h, mut d_c) = (narrow(&d_h), narrow(&d_c));
                let found = &mut found;
                step_backward(&cpu, hidden, is_coupled, found, &before, &c_now, &d_h, &mut d_c);
                assert_near(isa, found, &d_a, "d_a");
                assert_near(isa, &d_c, &d_before, "d_c");
            }
        }
    }
}

/// One row of the reference against central differences, through c and h.
#[test]
fn gradients_of_the_reference_are_differences() {
    const STEP: f64 = 1e-6;
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    for is_coupled in [false, true] {
        let n = 6;
        let (a, before) = (values(1, GATES * n, 2.0), values(2, n, 1.0));
        let (d_h, d_c) = (values(3, n, 1.0), values(4, n, 1.0));
        let loss = |a: &[f64], before: &[f64]| -> f64 {
            let (mut gates, mut c, mut h) = (a.to_vec(), vec![0.0; n], vec![0.0; n]);
            step(&cpu, n, is_coupled, &mut gates, before, &mut c, &mut h);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(&h, &d_h) + dot(&c, &d_c)
        };
        let (mut gates, mut c, mut h) = (a.clone(), vec![0.0; n], vec![0.0; n]);
        step(&cpu, n, is_coupled, &mut gates, &before, &mut c, &mut h);
        let mut d_before = d_c.clone();
        step_backward(&cpu, n, is_coupled, &mut gates, &before, &c, &d_h, &mut d_before);
        for (idx, found) in gates.iter().chain(&d_before).enumerate() {
            let shifted = |by: f64| {
                let mut all = [a.clone(), before.clone()].concat();
                all[idx] += by;
                loss(&all[..GATES * n], &all[GATES * n..])
            };
            let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            assert!((found - expected).abs() < 1e-8, "{idx}: {found} but {expected}");
        }
    }
}
