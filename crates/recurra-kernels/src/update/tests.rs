//! Against PyTorch's numbers (`golden/optimizers.py`), against the formulas in `f64`, and the same bits for 1, 2, 3 threads.

use serde_json::Value;

use super::*;
use crate::Cpu;

fn numbers<E: Element>(json: &Value) -> Vec<E> {
    json.as_array().unwrap().iter().map(|x| E::from_f64(x.as_f64().unwrap())).collect()
}

/// One step with those of the moments that the rule keeps.
fn make<E: Element>(
    cpu: &Cpu,
    pass: impl Into<Pass>,
    [value, gradient, m, v, average]: [&mut [E]; 5],
) {
    let pass = pass.into();
    let kept = |is_kept: bool, slab| if is_kept { slab } else { &mut [][..] };
    let n = pass.rule.n_moments();
    let average = kept(pass.average.is_some(), average);
    step(cpu, pass, Slabs { value, gradient, moments: [kept(n > 0, m), kept(n > 1, v)], average });
}

/// The rule of a golden case.
fn rule(case: &Value, step: u64) -> Rule {
    let (kind, options) = (case["kind"].as_str().unwrap(), &case["options"]);
    let option = |name: &str| options[name].as_f64().unwrap_or(0.0);
    let (lr, weight_decay, scale) = (option("lr"), option("weight_decay"), 1.0);
    match kind {
        "sgd" | "asgd" => {
            Rule::Sgd(Sgd { lr, momentum: option("momentum"), weight_decay, scale: 1.0 })
        }
        _ => {
            let beta = |idx: usize| options["betas"][idx].as_f64().unwrap();
            let (beta1, beta2, epsilon) = (beta(0), beta(1), option("eps"));
            let is_decoupled = kind == "adamw";
            Rule::Adam(Adam { lr, beta1, beta2, epsilon, weight_decay, is_decoupled, step, scale })
        }
    }
}

/// Runs the steps of one golden case and compares the values, and the average where there is one, after each.
#[track_caller]
fn check_golden<E: Element>(cpu: &Cpu, case: &Value, precision: &str, tolerance: f64) {
    let mut slabs: [Vec<E>; 5] =
        std::array::from_fn(|_| vec![E::ZERO; numbers::<E>(&case["start"]).len()]);
    slabs[0] = numbers(&case["start"]);
    let expected = &case[precision];
    for (idx, gradient) in case["gradients"].as_array().unwrap().iter().enumerate() {
        let average = case["averaged"][idx].as_f64();
        slabs[1] = numbers(gradient);
        let pass = Pass { rule: rule(case, idx as u64 + 1), average };
        make(cpu, pass, slabs.each_mut().map(Vec::as_mut_slice));
        let [value, gradient, _, _, mean] = &slabs;
        assert!(gradient.iter().all(|&g| g == E::ZERO), "the gradient is zero after a step");
        let near = |what: &str, found: &[E], expected: &Value| {
            for (&got, expected) in found.iter().zip(numbers::<f64>(expected)) {
                let error = (got.to_f64() - expected).abs() / expected.abs().max(1.0);
                let what = format!("{what} of {pass:?}, {precision}, {}", cpu.isa());
                assert!(error <= tolerance, "{what}: {got} for PyTorch's {expected}");
            }
        };
        near("value", value, &expected["values"][idx]);
        if average.is_some() {
            near("average", mean, &expected["averages"][idx]);
        }
    }
}

#[test]
fn steps_are_those_of_pytorch() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../golden/optimizers.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
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

/// The start of [`check`]: x, g, two moments, θ̄.
fn slabs(n: usize) -> [Vec<f32>; 5] {
    let mut slabs = [1, 2, 3, 4, 5].map(|salt| values(n, salt));
    slabs[2..4].iter_mut().flatten().for_each(|moment| *moment = moment.abs());
    slabs
}

/// Makes a step on every instruction set with 1, 2 and 3 threads: near to `exact` (of x, g, two moments, θ̄) for all, equal
/// bits for all threads.
#[track_caller]
fn check(pass: impl Into<Pass>, exact: impl Fn([f64; 5]) -> [f64; 5]) {
    let pass = pass.into();
    for n in SIZES {
        let start = slabs(n);
        let exact: Vec<[f64; 5]> =
            (0..n).map(|idx| exact(start.each_ref().map(|slab| f64::from(slab[idx])))).collect();
        for isa in Isa::available() {
            let mut first: Option<Vec<u32>> = None;
            for threads in 1..=3 {
                let mut found = start.clone();
                make(&Cpu::with_isa(isa, threads), pass, found.each_mut().map(Vec::as_mut_slice));
                let what = format!("{pass:?} of {n} values, {isa}, {threads} threads");
                for (idx, exact) in exact.iter().enumerate() {
                    for (got, exact) in
                        found.each_ref().map(|slab| f64::from(slab[idx])).iter().zip(exact)
                    {
                        assert!((got - exact).abs() < 5e-6, "{what}: {got} for {exact}");
                    }
                }
                let bits: Vec<u32> = found.iter().flatten().map(|x| x.to_bits()).collect();
                assert_eq!(&bits, first.get_or_insert(bits.clone()), "same bits: {what}");
            }
        }
    }
}

#[test]
fn sgd_is_its_formula_at_odd_sizes() {
    let settings = Sgd { lr: 0.3, momentum: 0.9, weight_decay: 0.05, scale: 0.25 };
    check(Rule::Sgd(settings), |[x, g, m, v, mean]| {
        let u = 0.9 * m + (0.25 * g + 0.05 * x);
        [x - 0.3 * u, 0.0, u, v, mean]
    });
    let rule = Rule::Sgd(Sgd { momentum: 0.0, ..settings });
    let value = |x: f64, g: f64| x - 0.3 * (0.25 * g + 0.05 * x);
    check(rule, |[x, g, m, v, mean]| [value(x, g), 0.0, m, v, mean]);
    check(Pass { rule, average: Some(0.2) }, |[x, g, m, v, mean]| {
        [value(x, g), 0.0, m, v, mean + 0.2 * (value(x, g) - mean)]
    });
}

#[test]
fn adam_is_its_formula_at_odd_sizes() {
    let (lr, beta1, beta2, epsilon, weight_decay, scale) = (0.01, 0.9, 0.99, 1e-3, 0.1, 0.5);
    let adamw =
        Adam { lr, beta1, beta2, epsilon, weight_decay, is_decoupled: true, step: 3, scale };
    let moments = |g: f64, m: f64, v: f64| {
        let (m, v) = (beta1 * m + (1.0 - beta1) * g, beta2 * v + (1.0 - beta2) * g * g);
        let (m_hat, v_hat) = (m / (1.0 - beta1.powi(3)), v / (1.0 - beta2.powi(3)));
        (m, v, lr * m_hat / (v_hat.sqrt() + epsilon))
    };
    check(Rule::Adam(adamw), |[x, g, m, v, mean]| {
        let (m, v, step) = moments(scale * g, m, v);
        [x - lr * weight_decay * x - step, 0.0, m, v, mean]
    });
    let rule = Rule::Adam(Adam { is_decoupled: false, ..adamw });
    check(Pass { rule, average: Some(1.0) }, |[x, g, m, v, _]| {
        let (m, v, step) = moments(scale * g + weight_decay * x, m, v);
        [x - step, 0.0, m, v, x - step]
    });
}

#[test]
fn without_a_first_moment_the_only_slab_is_the_second() {
    let (lr, beta2, epsilon, scale) = (0.01, 0.99, 1e-3, 0.5);
    let (beta1, weight_decay, is_decoupled) = (0.0, 0.0, false);
    let rule =
        Rule::Adam(Adam { lr, beta1, beta2, epsilon, weight_decay, is_decoupled, step: 2, scale });
    assert_eq!(rule.n_moments(), 1);
    check(rule, |[x, g, v, other, mean]| {
        let (g, v) = (scale * g, beta2 * v + (1.0 - beta2) * (scale * g).powi(2));
        let v_hat = v / (1.0 - beta2 * beta2);
        [x - lr * g / (v_hat.sqrt() + epsilon), 0.0, v, other, mean]
    });
}

#[test]
fn an_average_alone_is_that_behind_a_step() {
    for isa in Isa::available() {
        for n in SIZES {
            let sgd = Sgd { lr: 0.0, momentum: 0.0, weight_decay: 0.0, scale: 1.0 };
            let pass = Pass { rule: Rule::Sgd(sgd), average: Some(0.125) };
            let [mut behind, mut alone] = [slabs(n), slabs(n)];
            make(&Cpu::with_isa(isa, 2), pass, behind.each_mut().map(Vec::as_mut_slice));
            let [value, .., mean] = &mut alone;
            average(&Cpu::with_isa(isa, 3), 0.125, value, mean);
            assert_eq!(behind[4], alone[4], "{isa}, {n} values");
        }
    }
}

#[test]
fn dynamic_evaluation_is_its_formula_at_odd_sizes() {
    // Some roots are so large that a value goes back all the way.
    let (lr, decay, epsilon) = (0.01, 1.5, 0.05);
    check(Rule::Dynamic(Dynamic { lr, decay, epsilon }), |[x, g, r, x0, mean]| {
        [x - lr * g / (r + epsilon) + (decay * r).min(1.0) * (x0 - x), 0.0, r, x0, mean]
    });
}

#[test]
fn a_rate_and_a_decay_of_nothing_change_no_bit() {
    for isa in Isa::available() {
        let mut found = slabs(1000);
        found[2].fill(0.0);
        let rule = Rule::Dynamic(Dynamic { lr: 0.0, decay: 0.0, epsilon: 1e-5 });
        make(&Cpu::with_isa(isa, 1), rule, found.each_mut().map(Vec::as_mut_slice));
        assert_eq!(found[0], slabs(1000)[0], "{isa}");
    }
}

#[test]
fn squares_add_up_at_odd_sizes() {
    for n in SIZES {
        for isa in Isa::available() {
            for threads in 1..=3 {
                let (mut gradient, mut sum) = (values(n, 1), values(n, 2));
                add_squares(&Cpu::with_isa(isa, threads), &mut gradient, &mut sum);
                assert!(gradient.iter().all(|&g| g == 0.0), "{isa}: the gradient is zero");
                for ((g, before), found) in values(n, 1).into_iter().zip(values(n, 2)).zip(sum) {
                    let exact = f64::from(g) * f64::from(g) + f64::from(before);
                    assert!((f64::from(found) - exact).abs() < 1e-6, "{isa}: {found}, {exact}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "lengths of gradient and squares")]
fn squares_of_another_length_panic() {
    add_squares(&Cpu::with_isa(Isa::Plain, 1), &mut [0.0_f32; 2], &mut [0.0; 3]);
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
    let (value, gradient) = (&mut [0.0_f32; 2][..], &mut [0.0; 2][..]);
    let slabs = Slabs { value, gradient, moments: [&mut [], &mut []], average: &mut [] };
    step(&Cpu::with_isa(Isa::Plain, 1), Rule::Sgd(settings), slabs);
}

#[test]
#[should_panic(expected = "lengths of gradient and value")]
fn unlike_lengths_panic() {
    let settings = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, scale: 1.0 };
    let slabs = [&mut [0.0_f32; 2][..], &mut [0.0; 3], &mut [], &mut [], &mut []];
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
