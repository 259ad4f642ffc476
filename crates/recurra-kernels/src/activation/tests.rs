//! Every path against the formulas, and those against finite differences and published values.

use super::*;

const FUNCTIONS: [Function; 2] = [Function::Gelu, Function::Silu];

fn values<E: Element>(n: usize, seed: usize) -> Vec<E> {
    let value = |idx: usize| ((idx * 37 + seed * 11) % 101) as f64 / 10.0 - 5.0;
    (0..n).map(|idx| E::from_f64(value(idx))).collect()
}

/// y, d_x, and both of the gate.
fn run<E: Element>(
    cpu: &Cpu,
    function: Function,
    rows: usize,
    width: usize,
    adds: bool,
) -> [Vec<E>; 4] {
    let n = rows * width;
    let (x, d_y) = (values::<E>(2 * n, 1), values::<E>(n, 2));
    let (mut y, mut d_x) = (vec![E::ZERO; n], values::<E>(n, 3));
    forward(cpu, function, &x[..n], &mut y);
    backward(cpu, function, &x[..n], &d_y, &mut d_x, adds);
    let (mut gated, mut d_gated) = (vec![E::ZERO; n], values::<E>(2 * n, 4));
    gated_forward(cpu, function, &x, width, &mut gated);
    gated_backward(cpu, function, &x, width, &d_y, &mut d_gated, adds);
    [y, d_x, gated, d_gated]
}

#[test]
fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
    for isa in Isa::available() {
        let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
        for function in FUNCTIONS {
            for (rows, width) in [(0, 5), (1, 1), (3, 7), (2, 16), (5, 33), (70, 700)] {
                for adds in [false, true] {
                    let expected = run::<f64>(&cpus[0], function, rows, width, adds);
                    let [first, others @ ..] =
                        cpus.each_ref().map(|cpu| run::<f32>(cpu, function, rows, width, adds));
                    assert!(others.iter().all(|other| *other == first), "{isa} {function:?}");
                    for (found, expected) in first.iter().flatten().zip(expected.iter().flatten()) {
                        assert!(
                            (f64::from(*found) - expected).abs() < 5e-5,
                            "{isa} {function:?} {rows}×{width}: {found} for {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn slopes_are_differences() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    for function in FUNCTIONS {
        let x = values::<f64>(100, 1);
        let mut slopes = vec![0.0; 100];
        backward(&cpu, function, &x, &[1.0; 100], &mut slopes, false);
        for (&x, slope) in x.iter().zip(&slopes) {
            let mut y = [0.0; 2];
            forward(&cpu, function, &[x + 1e-6, x - 1e-6], &mut y);
            assert!(((y[0] - y[1]) / 2e-6 - slope).abs() < 1e-8, "{function:?} at {x}");
        }
    }
}

/// PyTorch 2.15: `gelu(x, approximate="tanh")` and `silu(x)` in `f64`.
#[test]
fn published_values_are_met() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let x = [-3.0, -0.5, 0.0, 1.0, 2.5];
    for (function, expected) in [
        (
            Function::Gelu,
            [
                -0.0036373920817729943,
                -0.15428599017485606,
                0.0,
                0.8411919906082768,
                2.484915733910001,
            ],
        ),
        (
            Function::Silu,
            [
                -0.14227761953270035,
                -0.1887703343990727,
                0.0,
                0.7310585786300049,
                2.3103545499468914,
            ],
        ),
    ] {
        let mut y = [0.0_f64; 5];
        forward(&cpu, function, &x, &mut y);
        for (found, expected) in y.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{function:?}: {found} for {expected}");
        }
    }
}

#[test]
#[should_panic(expected = "a gate from 6 values into 4, 2 a row")]
fn sizes_that_do_not_fit_are_said() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    gated_forward(&cpu, Function::Silu, &[0.0_f32; 6], 2, &mut [0.0; 4]);
}
