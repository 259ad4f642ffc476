//! Against the reference in f64, and the reference against finite differences.

use super::*;
use crate::{Isa, Precision, mixed};

/// Numbers in −1..1: SplitMix64 (Steele, Lea and Flood 2014) of `seed` and the place.
fn numbers(n: usize, seed: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|idx| {
            let z = (seed << 40).wrapping_add(idx + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed(z) >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
        })
        .collect()
}

/// A loss with its gradients, in one type.
#[derive(Clone, Debug, PartialEq)]
struct Case<E> {
    hidden: Vec<E>,
    weight: Vec<E>,
    bias: Vec<E>,
    targets: Vec<u32>,
    nats: Vec<f64>,
    d_hidden: Vec<E>,
    d_weight: Vec<E>,
    d_bias: Vec<E>,
    adds: bool,
    squares: Vec<f64>,
}

impl Case<f32> {
    fn new(n: usize, h: usize, v: usize) -> Self {
        let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<_>>();
        // Cut to `bf16`, so that every precision has the same logits.
        let cut = |x: f64| f32::from_bits((x as f32).to_bits() & 0xffff_0000);
        let cut = |values: Vec<f64>| values.into_iter().map(cut).collect::<Vec<_>>();
        Self {
            hidden: cut(numbers(n * h, 1)),
            weight: cut(numbers(v * h, 2)),
            bias: narrow(numbers(v, 3)),
            targets: (0..n).map(|row| (row * 7919 % v) as u32).collect(),
            nats: vec![f64::NAN; n],
            d_hidden: vec![f32::NAN; n * h],
            d_weight: narrow(numbers(v * h, 4)),
            d_bias: narrow(numbers(v, 5)),
            adds: true,
            squares: vec![f64::NAN; v],
        }
    }

    fn widened(&self) -> Case<f64> {
        let wide = |values: &[f32]| values.iter().map(|&x| x.into()).collect();
        Case {
            hidden: wide(&self.hidden),
            weight: wide(&self.weight),
            bias: wide(&self.bias),
            targets: self.targets.clone(),
            nats: self.nats.clone(),
            d_hidden: wide(&self.d_hidden),
            d_weight: wide(&self.d_weight),
            d_bias: wide(&self.d_bias),
            adds: self.adds,
            squares: self.squares.clone(),
        }
    }
}

impl<E: Element> Case<E> {
    fn run(&mut self, cpu: &Cpu, scale: E) {
        let Self { hidden, weight, bias, targets, nats, d_hidden, d_weight, d_bias, .. } = self;
        let arguments = Arguments { hidden, weight, bias, targets };
        let (adds, squares) = (self.adds, &mut self.squares[..]);
        let gradients = Gradients { scale, d_hidden, d_weight, d_bias, adds, squares };
        forward_backward(cpu, arguments, nats, gradients);
    }

    fn losses(&self, cpu: &Cpu) -> Vec<f64> {
        let Self { hidden, weight, bias, targets, .. } = self;
        let mut nats = vec![f64::NAN; targets.len()];
        forward(cpu, Arguments { hidden, weight, bias, targets }, &mut nats);
        nats
    }
}

#[track_caller]
fn near(got: &[f32], expected: &[f64], bound: f64, what: &str) {
    for (idx, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - expected).abs();
        assert!(error < bound * (1.0 + expected.abs()), "{what} at {idx}: {got} for {expected}");
    }
}

#[track_caller]
fn check(n: usize, h: usize, v: usize, isas: &[Isa]) {
    let case = Case::new(n, h, v);
    let scale = 1.0 / n.max(1) as f32;
    let mut fresh = case.clone();
    fresh.adds = false;
    fresh.d_weight.fill(f32::NAN);
    fresh.d_bias.fill(f32::NAN);
    for case in [case, fresh] {
        let mut expected = case.widened();
        expected.run(&Cpu::with_isa(Isa::Plain, 1), f64::from(scale));
        for &isa in isas {
            let what = format!("{isa} N {n} H {h} V {v}, adds {}", case.adds);
            let runs = [1, 2, 3].map(|threads| {
                let cpu = Cpu::with_isa(isa, threads);
                let mut run = case.clone();
                run.run(&cpu, scale);
                assert_eq!(run.losses(&cpu), run.nats, "{what}: the loss alone");
                run
            });
            assert!(runs[1] == runs[0] && runs[2] == runs[0], "{what}: threads change bits");
            check_run(&runs[0], &expected, isa, &what);
        }
    }
}

#[track_caller]
fn check_run(run: &Case<f32>, expected: &Case<f64>, isa: Isa, what: &str) {
    let n = run.targets.len();
    for (row, (got, expected)) in run.nats.iter().zip(&expected.nats).enumerate() {
        let error = (got - expected).abs();
        assert!(error < 1e-5 * expected.abs().max(0.1), "{what} row {row}: {got} for {expected}");
    }
    // Sums over rows begin at values near 1, beside which each row's part is rounded.
    // In `bf16` each gradient of a logit, at most 1/N in all of a row, is off by up to a 512th.
    let rounded = if isa.precision() == Precision::Bf16 { 4e-3 / n.max(1) as f64 } else { 0.0 };
    let bound = 2e-6 + 2e-8 * n as f64 + rounded * n as f64;
    near(&run.d_hidden, &expected.d_hidden, 2e-6 + rounded, &format!("{what} d_hidden"));
    near(&run.d_weight, &expected.d_weight, bound, &format!("{what} d_weight"));
    near(&run.d_bias, &expected.d_bias, bound, &format!("{what} d_bias"));
    for (row, square) in run.squares.iter().enumerate() {
        let h = run.weight.len() / run.bias.len();
        let exact: f64 =
            run.d_weight[row * h..(row + 1) * h].iter().map(|&g| f64::from(g).powi(2)).sum();
        assert!((square - exact).abs() <= 1e-12 * exact, "{what} row {row}: {square} for {exact}");
    }
}

#[test]
fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
    for (n, h, v) in [
        (0, 4, 5),
        (1, 1, 1),
        (1, 3, 2),
        (2, 5, 17),
        (9, 16, 47),
        (10, 33, 49),
        (63, 24, 65),
        (35, 8, 1023),
        (19, 5, 1025),
        (7, 40, 3001),
    ] {
        check(n, h, v, &Isa::available());
    }
}

#[test]
fn blocks_of_rows_and_of_vocabulary_agree_with_the_reference() {
    // A matrix unit has ways of its own.
    let mut isas = vec![Isa::best(None).unwrap(), Isa::best(Some(Precision::F32)).unwrap()];
    isas.dedup();
    check(170, 3, 78_000, &isas); // one pass, several blocks of rows
    check(170, 3, 80_000, &isas); // two passes
    check(1030, 1, 80_000, &isas); // two passes, two blocks of rows
}

#[test]
fn shapes_of_large_vocabularies_agree_with_the_reference() {
    let best = [Isa::best(None).unwrap()];
    // One, odd, a tile and one more of each; several tasks and groups of tokens; several blocks of rows.
    for (n, h, v) in [
        (0, 3, 2048),
        (1, 1, 2048),
        (33, 33, 2049),
        (31, 65, 7200),
        (64, 32, 13_000),
        (2100, 2, 2048),
    ] {
        check(n, h, v, &best);
    }
    // So large that gradients, or exponentials, go past the caches.
    check(3, 260, 33_000, &best);
    check(500, 2, 33_000, &best);
}

#[test]
fn a_row_has_the_same_loss_alone_and_among_others() {
    let (n, h, v) = (180, 4, 14_000);
    let all = Case::new(n, h, v);
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 2);
    let together = all.losses(&cpu);
    for row in [0, 77, 179] {
        let alone = Case {
            hidden: all.hidden[row * h..][..h].to_vec(),
            targets: vec![all.targets[row]],
            ..all.clone()
        };
        assert_eq!(alone.losses(&cpu), [together[row]]);
    }
}

#[test]
fn gradients_of_the_reference_are_finite_differences() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let (scale, step) = (0.25, 1e-5);
    let mut case = Case::new(4, 3, 6).widened();
    case.targets = vec![5, 0, 5, 2];
    for gradient in [&mut case.d_weight, &mut case.d_bias] {
        gradient.fill(0.0);
    }
    case.run(&cpu, scale);
    type Part = fn(&mut Case<f64>) -> &mut Vec<f64>;
    let parts: [(Part, &[f64]); 3] = [
        (|case| &mut case.hidden, &case.d_hidden),
        (|case| &mut case.weight, &case.d_weight),
        (|case| &mut case.bias, &case.d_bias),
    ];
    for (part, gradient) in parts {
        for (idx, gradient) in gradient.iter().enumerate() {
            let loss = |by: f64| {
                let mut moved = case.clone();
                part(&mut moved)[idx] += by;
                moved.losses(&cpu).iter().sum::<f64>() * scale
            };
            let slope = (loss(step) - loss(-step)) / (2.0 * step);
            assert!((slope - gradient).abs() < 1e-8, "{idx}: {gradient} for {slope}");
        }
    }
}

#[test]
fn large_logits_neither_overflow_nor_vanish() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        // A vocabulary of each way to compute the loss.
        for v in [40, 3000] {
            let mut case = Case::new(3, 1, v);
            case.hidden = vec![1.0, -1.0, 0.0];
            case.weight = (0..v).map(|v| v.min(39) as f32 * 1024.0).collect();
            case.weight[40..].fill(0.0);
            case.bias.fill(0.0);
            case.targets = vec![39, 39, 1];
            case.run(&cpu, 1.0);
            let zeros = (v - 39) as f64; // logits that are as large as the largest where h is −1
            let expected = [0.0, 39_936.0 + zeros.ln(), (v as f64).ln()];
            for (got, expected) in case.nats.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-6 * (1.0 + expected), "{isa}: {got}");
            }
            near(&case.d_hidden[..2], &[0.0, -39_936.0], 1e-6, &format!("{isa} d_hidden"));
        }
    }
}

#[test]
fn logits_far_from_zero_lose_nothing() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let plain = Case::new(9, 4, 2500);
        for shift in [-1000.0, -60.0, 60.0, 1000.0] {
            let mut near_zero = plain.clone();
            near_zero.run(&cpu, 1.0);
            let mut shifted = plain.clone();
            shifted.bias.iter_mut().for_each(|bias| *bias += shift);
            shifted.run(&cpu, 1.0);
            for (a, b) in shifted.nats.iter().zip(&near_zero.nats) {
                assert!((a - b).abs() < 1e-3, "{isa} {shift}: {a} and {b}");
            }
            let wide: Vec<f64> = near_zero.d_weight.iter().map(|&x| x.into()).collect();
            near(&shifted.d_weight, &wide, 1e-2, &format!("{isa} {shift}"));
        }
    }
}

#[test]
fn what_is_not_finite_makes_the_loss_and_the_gradients_so() {
    type Poison = fn(&mut Case<f32>, f32);
    let places: [(&str, Poison); 5] = [
        ("hidden", |case, x| case.hidden[5 * 3 + 1] = x),
        ("weight", |case, x| case.weight[40 * 3 + 2] = x),
        ("last weight", |case, x| *case.weight.last_mut().unwrap() = x),
        ("bias", |case, x| case.bias[44] = x),
        ("the bias of a target", |case, x| {
            case.targets.fill(7);
            case.bias[7] = x;
        }),
    ];
    for (isa, v) in Isa::available().into_iter().flat_map(|isa| [(isa, 45), (isa, 2100)]) {
        let cpu = Cpu::with_isa(isa, 2);
        for (place, poison) in places {
            for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut case = Case::new(9, 3, v);
                poison(&mut case, x);
                case.run(&cpu, 1.0);
                for (row, nats) in case.nats.iter().enumerate() {
                    let hit = place != "hidden" || row == 5;
                    let what = format!("{isa}: {x} in {place}, row {row}");
                    assert_eq!(nats.is_finite(), !hit, "{what}: {nats}");
                    assert_eq!(case.d_hidden[row * 3].is_finite(), !hit, "{what}: d_hidden");
                }
                assert!(
                    case.d_weight.iter().all(|d| d.is_nan()),
                    "{isa}: {x} in {place}: d_weight"
                );
                assert!(case.d_bias.iter().all(|d| d.is_nan()), "{isa}: {x} in {place}: d_bias");
                assert!(!case.losses(&cpu)[5].is_finite(), "{isa}: {x} in {place}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "target 7 at row 2 of 3 with a vocabulary of 7")]
fn a_target_outside_of_the_vocabulary_is_said() {
    let mut case = Case::new(3, 2, 7);
    case.targets[2] = 7;
    case.losses(&Cpu::with_isa(Isa::best(None).unwrap(), 1));
}

#[test]
#[should_panic(expected = "3 targets over 7 tokens: 5 hidden values, 14 weights")]
fn sizes_that_do_not_fit_are_said() {
    let mut case = Case::new(3, 2, 7);
    case.hidden.pop();
    case.losses(&Cpu::with_isa(Isa::best(None).unwrap(), 1));
}
