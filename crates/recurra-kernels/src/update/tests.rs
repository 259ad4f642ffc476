//! Against PyTorch's numbers (`golden/optimizers.py`), against the formulas in `f64`, and the same bits for 1, 2, 3 threads.

use serde_json::Value;

use super::*;
use crate::Cpu;

fn numbers<E: Element>(json: &Value) -> Vec<E> {
    json.as_array().unwrap().iter().map(|x| E::from_f64(x.as_f64().unwrap())).collect()
}

/// One step with those of the moments that the rule keeps.
fn make<E: Element>(cpu: &Cpu, rule: Rule, [value, gradient, m, v]: [&mut [E]; 4]) {
    let kept = |n, moments| if rule.n_moments() > n { moments } else { &mut [][..] };
    step(cpu, rule, Slabs { value, gradient, moments: [kept(0, m), kept(1, v)] });
}

/// Runs the steps of one golden case and compares the values after each.
#[track_caller]
fn check_golden<E: Element>(cpu: &Cpu, case: &Value, precision: &str, tolerance: f64) {
    let (kind, options) = (&case["kind"], &case["options"]);
    let option = |name: &str| options[name].as_f64().unwrap_or(0.0);
    let mut value: Vec<E> = numbers(&case["start"]);
    let (mut m, mut v) = (vec![E::ZERO; value.len()], vec![E::ZERO; value.len()]);
    let steps =
        case["gradients"].as_array().unwrap().iter().zip(case[precision].as_array().unwrap());
    for (step, (gradient, expected)) in (1..).zip(steps) {
        let mut gradient: Vec<E> = numbers(gradient);
        let (lr, weight_decay) = (option("lr"), option("weight_decay"));
        if kind == "sgd" {
            let settings = Sgd { lr, momentum: option("momentum"), weight_decay, scale: 1.0 };
            make(cpu, Rule::Sgd(settings), [&mut value, &mut gradient, &mut m, &mut v]);
        } else {
            let beta = |idx: usize| options["betas"][idx].as_f64().unwrap();
            let (beta1, beta2, epsilon) = (beta(0), beta(1), option("eps"));
            let settings = AdamW { lr, beta1, beta2, epsilon, weight_decay, step, scale: 1.0 };
            make(cpu, Rule::AdamW(settings), [&mut value, &mut gradient, &mut m, &mut v]);
        }
        assert!(gradient.iter().all(|&g| g == E::ZERO), "the gradient is zero after a step");
        for (&got, expected) in value.iter().zip(numbers::<f64>(expected)) {
            let error = (got.to_f64() - expected).abs() / expected.abs().max(1.0);
            let what = format!("{kind} {options}, {precision}, {}, step {step}", cpu.isa());
            assert!(error <= tolerance, "{what}: {got} for PyTorch's {expected}");
        }
    }
}

#[test]
fn steps_are_those_of_pytorch() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../golden/optimizers.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        check_golden::<f64>(&Cpu::with_isa(Isa::Plain, 1), case, "f64", 1e-14);
        for isa in Isa::available() {
            check_golden::<f32>(&Cpu::with_isa(isa, 1), case, "f32", 5e-7);
        }
    }
}

fn values(n: usize, salt: u32) -> Vec<f32> {
    (0..n as u32)
        .map(|i| ((i ^ salt).wrapping_mul(2_654_435_761) >> 8) as f32 / 8e6 - 1.0)
        .collect()
}

const SIZES: [usize; 12] =
    [0, 1, 7, 8, 9, 15, 16, 17, 100, BLOCK - 1, BLOCK + 1, 2 * BLOCK + BLOCK / 2 + 5];

/// Makes a step on every instruction set with 1, 2 and 3 threads: near to `exact` for all, equal bits for all threads.
#[track_caller]
fn check(n: usize, exact: [Vec<f64>; 3], rule: Rule) {
    for isa in Isa::available() {
        let mut first: Option<Vec<u32>> = None;
        for threads in 1..=3 {
            let mut slices = [values(n, 1), values(n, 2), values(n, 3), values(n, 4)];
            slices[3].iter_mut().for_each(|v| *v = v.abs());
            let [x, g, m, v] = &mut slices;
            make(&Cpu::with_isa(isa, threads), rule, [x, g, m, v]);
            let what = format!("{isa}, {threads} threads, {n} values");
            assert!(slices[1].iter().all(|&g| g == 0.0), "{what}: the gradient is zero");
            for (got, exact) in [&slices[0], &slices[2], &slices[3]].into_iter().zip(&exact) {
                for (&got, &exact) in got.iter().zip(exact) {
                    assert!((f64::from(got) - exact).abs() < 5e-6, "{what}: {got} for {exact}");
                }
            }
            let bits: Vec<u32> = slices.iter().flatten().map(|x| x.to_bits()).collect();
            assert_eq!(&bits, first.get_or_insert(bits.clone()), "same bits: {what}");
        }
    }
}

/// The start of [`check`] in `f64`: x, g, m, v.
fn start(n: usize) -> impl Iterator<Item = [f64; 4]> {
    let at = move |salt| values(n, salt).into_iter().map(f64::from);
    at(1).zip(at(2)).zip(at(3)).zip(at(4)).map(|(((x, g), m), v)| [x, g, m, v.abs()])
}

fn columns(rows: impl Iterator<Item = [f64; 3]>) -> [Vec<f64>; 3] {
    let mut columns = [const { Vec::new() }; 3];
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, x)| column.push(x));
    }
    columns
}

#[test]
fn sgd_is_its_formula_at_odd_sizes() {
    let settings = Sgd { lr: 0.3, momentum: 0.9, weight_decay: 0.05, scale: 0.25 };
    for n in SIZES {
        let with = columns(start(n).map(|[x, g, m, v]| {
            let u = 0.9 * m + (0.25 * g + 0.05 * x);
            [x - 0.3 * u, u, v]
        }));
        check(n, with, Rule::Sgd(settings));
        let without = columns(start(n).map(|[x, g, m, v]| [x - 0.3 * (0.25 * g + 0.05 * x), m, v]));
        let settings = Sgd { momentum: 0.0, ..settings };
        check(n, without, Rule::Sgd(settings));
    }
}

#[test]
fn adamw_is_its_formula_at_odd_sizes() {
    let (lr, beta1, beta2, epsilon, weight_decay, scale) = (0.01, 0.9, 0.99, 1e-3, 0.1, 0.5);
    let settings = AdamW { lr, beta1, beta2, epsilon, weight_decay, step: 3, scale };
    for n in SIZES {
        let exact = columns(start(n).map(|[x, g, m, v]| {
            let (x, g) = (x - lr * weight_decay * x, scale * g);
            let (m, v) = (beta1 * m + (1.0 - beta1) * g, beta2 * v + (1.0 - beta2) * g * g);
            let (m_hat, v_hat) = (m / (1.0 - beta1 * beta1 * beta1), v / (1.0 - beta2.powi(3)));
            [x - lr * m_hat / (v_hat.sqrt() + epsilon), m, v]
        }));
        check(n, exact, Rule::AdamW(settings));
    }
}

#[test]
fn the_norm_is_exact_and_the_same_bits_everywhere() {
    for n in SIZES {
        let gradients = values(n, 9);
        // Whole numbers of 2⁻²⁴ in `i128` have no rounding at all.
        let exact: f64 = gradients
            .iter()
            .map(|&g| ((f64::from(g) * 2.0_f64.powi(60)) as i128).pow(2) >> 40)
            .sum::<i128>() as f64
            / 2.0_f64.powi(80);
        let reference = reference_norm(&gradients);
        for isa in Isa::available() {
            for threads in 1..=3 {
                let got = squared_norm(&Cpu::with_isa(isa, threads), &gradients);
                assert_eq!(
                    got.to_bits(),
                    reference.to_bits(),
                    "{isa}, {threads} threads, {n} values"
                );
                assert!((got - exact).abs() <= 1e-9 * exact, "{got} for {exact}");
            }
        }
        let wide: Vec<f64> = gradients.iter().map(|&g| f64::from(g)).collect();
        assert_eq!(squared_norm(&Cpu::with_isa(Isa::Plain, 2), &wide), reference);
    }
}

fn reference_norm(gradients: &[f32]) -> f64 {
    gradients.chunks(BLOCK).map(reference::squared_norm).sum()
}

#[test]
fn one_bad_gradient_shows_in_the_norm() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 2);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut gradients = values(3 * BLOCK + 1, 1);
        gradients[2 * BLOCK + 77] = bad;
        assert!(!squared_norm(&cpu, &gradients).is_finite(), "{bad}");
    }
    // The largest finite gradients do not overflow the sum.
    assert!(squared_norm(&cpu, &[f32::MAX; 100]).is_finite());
}

#[test]
#[should_panic(expected = "moment 0 that Sgd")]
fn momentum_without_a_place_panics() {
    let settings = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, scale: 1.0 };
    let (value, gradient, moments) =
        (&mut [0.0_f32; 2][..], &mut [0.0; 2][..], [&mut [][..], &mut []]);
    step(&Cpu::with_isa(Isa::Plain, 1), Rule::Sgd(settings), Slabs { value, gradient, moments });
}

#[test]
#[should_panic(expected = "lengths of gradient and value")]
fn unlike_lengths_panic() {
    let settings = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, scale: 1.0 };
    let slabs = [&mut [0.0_f32; 2][..], &mut [0.0; 3], &mut [], &mut []];
    make(&Cpu::with_isa(Isa::Plain, 1), Rule::Sgd(settings), slabs);
}

#[test]
fn squares_of_rows_add_up_to_the_norm() {
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let cpu = Cpu::with_isa(isa, threads);
            for (rows, width) in [(0, 0), (1, 1), (7, 17), (300, 130)] {
                let gradients: Vec<f32> =
                    (0..rows * width).map(|idx| (idx % 113) as f32 * 0.37 - 9.0).collect();
                let mut squares = vec![f64::NAN; rows];
                squared_norms(&cpu, &gradients, &mut squares);
                for (row, &square) in squares.iter().enumerate() {
                    let exact: f64 = gradients[row * width..(row + 1) * width]
                        .iter()
                        .map(|&g| f64::from(g).powi(2))
                        .sum();
                    assert!((square - exact).abs() <= 1e-12 * exact, "{isa} {row}: {square}");
                }
                let some: Vec<u32> = (0..rows as u32).step_by(3).collect();
                let mut again = vec![f64::NAN; rows];
                squared_norms_at(&cpu, &gradients, &some, &mut again);
                for (row, (again, square)) in again.iter().zip(&squares).enumerate() {
                    let is_new = row % 3 == 0;
                    assert!(if is_new { again == square } else { again.is_nan() }, "{isa} {row}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "some rows of 4 that do not rise or leave it")]
fn a_row_named_twice_is_said() {
    squared_norms_at(&Cpu::with_isa(Isa::Plain, 1), &[0.0; 8], &[1, 1], &mut [0.0; 4]);
}
