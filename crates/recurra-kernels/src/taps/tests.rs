//! Every instruction set against the plain loops, and the gradients against the sums.

use super::*;
use crate::recurrent::tests::values;

#[track_caller]
fn check(rows: usize, cols: usize, past: usize, offsets: &[isize]) {
    let plain = Cpu::with_isa(Isa::Plain, 1);
    let [x, w, b, d_y] = [(rows + past) * cols, offsets.len() * cols, cols, rows * cols]
        .map(|len| values(len as u64, len, 1.0));
    let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let solve = |bias: Option<&[f64]>| {
        let (mut y, mut d_w) = (vec![0.0; rows * cols], w.clone());
        sum(&plain, Taps { coefficients: &w, offsets, cols }, bias, &x, &mut y);
        gradient(&plain, offsets, cols, &x, &d_y, &mut d_w);
        [y, d_w]
    };
    for bias in [None, Some(&b[..])] {
        let expected = solve(bias);
        let bias = bias.map(narrow);
        let [x, w, d_y] = [&x[..], &w, &d_y].map(narrow);
        for isa in Isa::available() {
            let solve = |threads: usize| {
                let cpu = Cpu::with_isa(isa, threads);
                let (mut y, mut d_w) = (vec![0.0; rows * cols], w.clone());
                let taps = Taps { coefficients: &w, offsets, cols };
                sum(&cpu, taps, bias.as_deref(), &x, &mut y);
                gradient(&cpu, offsets, cols, &x, &d_y, &mut d_w);
                [y, d_w]
            };
            let found = solve(1);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                let off = (f64::from(*found) - expected).abs() / (1.0 + rows as f64);
                assert!(off < 1e-6, "{isa} {rows}×{cols} {offsets:?}: {found} for {expected}");
            }
            assert!([2, 3].into_iter().all(|threads| solve(threads) == found), "{isa}");
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_plain_loops() {
    for cols in [1, 3, 8, 15, 16, 17, 66, 200] {
        for rows in [0, 1, 7, 33, 300] {
            let step = cols as isize;
            check(rows, cols, 3, &[0, step, 2 * step, 3 * step]);
            check(rows, cols, 0, &[0, 2 * step]);
            check(rows, cols, 0, &[-3, -2, -1, 0, 1, 2, 3]);
            check(rows, cols, 0, &[0]);
        }
    }
}

#[test]
fn a_convolution_is_one() {
    let (x, w) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 100.0, 1.0, 0.0]);
    let mut y = [0.0; 4];
    let taps = Taps { coefficients: &w, offsets: &[2, 0], cols: 2 };
    sum(&Cpu::with_isa(Isa::Plain, 1), taps, Some(&[0.5, 0.25]), &x, &mut y);
    assert_eq!(y, [31.5, 400.25, 53.5, 600.25]);
}

#[test]
#[should_panic(expected = "3 coefficients of 2 copies, 4 values in 2 columns")]
fn shapes_that_do_not_fit_are_said() {
    let taps = Taps { coefficients: &[0.0; 3], offsets: &[0, 1], cols: 2 };
    sum(&Cpu::with_isa(Isa::Plain, 1), taps, None, &[0.0; 4], &mut [0.0; 4]);
}
