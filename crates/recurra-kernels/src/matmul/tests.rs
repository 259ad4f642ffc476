//! Against the reference in f64 at every shape class, every instruction set, any number of threads.

use super::*;
use crate::{Precision, mixed};

/// Numbers in −1..1: SplitMix64 (Steele, Lea and Flood 2014) of `seed` and the place.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|idx| {
            let z = (seed << 40).wrapping_add(idx + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed(z) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// (rows, depth, cols): 1, odd, tile ± 1 of every instruction set, past a block of k, past a task of rows.
const SHAPES: [(usize, usize, usize); 28] = [
    (1, 1, 1),
    (1, 7, 3),
    (1, 650, 333),
    (2, 5, 9),
    (2, 129, 257),
    (3, 3, 31),
    (4, 8, 8),
    (5, 17, 33),
    (6, 16, 16),
    (7, 31, 15),
    (8, 255, 12),
    (9, 256, 13),
    (13, 257, 32),
    (14, 33, 31),
    (15, 32, 33),
    (20, 650, 64),
    (28, 64, 96),
    (29, 40, 129),
    (35, 300, 65),
    (64, 65, 66),
    (141, 20, 257),
    (139, 513, 40),
    (150, 130, 300),
    (530, 3, 20),
    (20, 1030, 40),
    (0, 3, 4),
    (3, 0, 40),
    (3, 4, 0),
];

fn view(values: &[f32], rows: usize, cols: usize, transposed: bool) -> Matrix<'_, f32> {
    if transposed {
        Matrix::new(values, cols, rows).transposed()
    } else {
        Matrix::new(values, rows, cols)
    }
}

/// One product: operands, what C held before, and what the reference makes of them in f64.
struct Case {
    shape: (usize, usize, usize),
    transposed: [bool; 2],
    start_idx: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    bias: Vec<f32>,
    before: Vec<f32>,
    /// With operands as they are, and rounded to `bf16`.
    expected: [Vec<f64>; 2],
}

/// The nearest number of 8 bits of mantissa, ties to even.
fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

impl Case {
    fn new((m, k, n): (usize, usize, usize), transposed: [bool; 2], start_idx: usize) -> Self {
        let (a, b, bias, before) =
            (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3), numbers(m * n, 4));
        let expected = [|x: f32| x, to_bf16].map(|round| {
            let wide = |values: &[f32]| values.iter().map(|&x| x.into()).collect::<Vec<f64>>();
            let rounded = |values: &[f32]| values.iter().map(|&x| round(x).into()).collect();
            let (a64, b64): (Vec<f64>, Vec<f64>) = (rounded(&a), rounded(&b));
            let (bias64, mut expected) = (wide(&bias), wide(&before));
            reference::matmul(
                view(&a, m, k, transposed[0]).with_values(&a64),
                view(&b, k, n, transposed[1]).with_values(&b64),
                [Start::Zero, Start::Bias(&bias64[..]), Start::Sum][start_idx],
                &mut expected,
            );
            expected
        });
        Self { shape: (m, k, n), transposed, start_idx, a, b, bias, before, expected }
    }

    /// The bits of C, after they are found near the reference and equal with B laid out beforehand.
    #[track_caller]
    fn check(&self, cpu: &Cpu) -> Vec<u32> {
        let (m, k, n) = self.shape;
        let what = format!("{} {m}×{k}×{n} {:?} {}", cpu.isa(), self.transposed, self.start_idx);
        let (a, b) =
            (view(&self.a, m, k, self.transposed[0]), view(&self.b, k, n, self.transposed[1]));
        let start = [Start::Zero, Start::Bias(&self.bias[..]), Start::Sum][self.start_idx];
        let [mut c, mut packed] = [self.before.clone(), self.before.clone()];
        matmul(cpu, a, b, start, &mut c);
        matmul_packed(cpu, a, &PackedMatrix::pack(cpu, b), start, &mut packed);
        // Rounding may add up over k; one product forgotten or doubled is a million times that.
        let bound = f64::from(f32::EPSILON) * (k as f64 + 2.0);
        let expected = &self.expected[usize::from(cpu.isa().precision() == Precision::Bf16)];
        for (idx, (&got, expected)) in c.iter().zip(expected).enumerate() {
            let error = (f64::from(got) - expected).abs();
            assert!(error < bound, "{what} at {idx}: {got} for {expected}");
        }
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&c) == bits(&packed), "{what}: packed differs");
        bits(&c)
    }
}

#[test]
fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
    let isas = Isa::available();
    let cpus: Vec<_> =
        isas.iter().map(|&isa| [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads))).collect();
    for shape in SHAPES {
        for idx in 0..12 {
            let case = Case::new(shape, [idx & 1 > 0, idx & 2 > 0], idx / 4);
            let mut fused = None;
            for cpus in &cpus {
                let [first, others @ ..] = cpus.each_ref().map(|cpu| case.check(cpu));
                assert!(others.iter().all(|bits| *bits == first), "{} {shape:?}", cpus[0].isa());
                let isa = cpus[0].isa();
                if isa != Isa::Plain && isa.precision() == Precision::F32 {
                    assert!(
                        *fused.get_or_insert(first.clone()) == first,
                        "{shape:?}: instruction sets differ"
                    );
                }
            }
        }
    }
}

#[test]
fn the_recipes_own_shapes_agree() {
    for (shape, transposed, start_idx) in
        [((700, 650, 260), [false, true], 1), ((260, 700, 650), [true, false], 2)]
    {
        let case = Case::new(shape, transposed, start_idx);
        for isa in Isa::available().into_iter().rev().take(2) {
            case.check(&Cpu::with_isa(isa, 2));
        }
    }
}

#[test]
fn operands_larger_than_a_layout_are_done_in_parts() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 2);
    for (shape, transposed, start_idx) in [
        ((9, 33, 4500), [false, true], 1),
        ((4500, 20, 9), [true, false], 2),
        ((40, 2500, 40), [true, false], 0),
    ] {
        Case::new(shape, transposed, start_idx).check(&cpu);
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    let (m, k, n) = (37, 300, 131);
    let (a, b) = (numbers(m * k, 5), numbers(k * n, 6));
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let b = Matrix::new(&b, k, n);
        let packed = PackedMatrix::pack(&cpu, b);
        let mut together = vec![0.0; m * n];
        matmul(&cpu, Matrix::new(&a, m, k), b, Start::Zero, &mut together);
        for count in [1, 2, 3, 20] {
            let mut some = vec![0.0; count * n];
            matmul_packed(
                &cpu,
                Matrix::new(&a[..count * k], count, k),
                &packed,
                Start::Zero,
                &mut some,
            );
            assert!(
                some.iter().zip(&together).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{isa} {count} rows"
            );
        }
    }
}

/// The same numbers with about half of them zero, some of these negative.
fn half_zeros(values: &[f32]) -> Vec<f32> {
    let drop = numbers(values.len(), 9);
    values.iter().zip(drop).map(|(&x, drop)| if drop < 0.0 { x * 0.0 } else { x }).collect()
}

#[test]
fn zeros_that_are_left_out_change_no_value() {
    const SHAPES: [(usize, usize, usize); 5] =
        [(128, 32, 1537), (129, 63, 1536), (131, 64, 1570), (150, 129, 1600), (200, 1100, 1550)];
    for isa in Isa::available() {
        let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
        for ((rows, depth, cols), idx) in
            SHAPES.into_iter().flat_map(|s| (0..12).map(move |i| (s, i)))
        {
            let (is_turned, transposed, start_idx) = (idx & 1 > 0, idx & 2 > 0, idx / 4);
            let (zeros, full) = (half_zeros(&numbers(rows * depth, 5)), numbers(depth * cols, 6));
            let (a, b) = if is_turned {
                (view(&full, cols, depth, transposed), Matrix::new(&zeros, depth, rows))
            } else {
                (Matrix::new(&zeros, rows, depth), view(&full, depth, cols, transposed))
            };
            let (bias, before) = (numbers(b.cols(), 7), numbers(rows * cols, 8));
            let start = [Start::Zero, Start::Bias(&bias[..]), Start::Sum][start_idx];
            let mut expected = before.clone();
            blocks::product(&cpus[0], kernels_of(isa), a, Right::Matrix(b), start, &mut expected);
            for cpu in &cpus {
                let what = format!("{isa} {rows}×{depth}×{cols}, case {idx}, {}", cpu.threads());
                let mut c = before.clone();
                let done =
                    sparse::product(cpu, kernels_of(isa), a, Right::Matrix(b), start, &mut c);
                let can = kernels_of(isa).sparse.is_some() && !(is_turned && start_idx == 1);
                assert_eq!(done, can, "{what}");
                assert!(c == *if done { &expected } else { &before }, "{what}");
                let mut c = before.clone();
                matmul_packed(cpu, a, &PackedMatrix::pack(cpu, b), start, &mut c);
                assert!(c == expected, "{what}: packed differs");
            }
        }
    }
}

#[test]
fn operands_without_zeros_are_left_to_the_dense_product() {
    let (a, b) = (numbers(200 * 64, 1), numbers(64 * 1600, 2));
    for isa in Isa::available() {
        let (cpu, mut c) = (Cpu::with_isa(isa, 1), vec![7.0; 200 * 1600]);
        let (a, b) = (Matrix::new(&a, 200, 64), Right::Matrix(Matrix::new(&b, 64, 1600)));
        assert!(!sparse::product(&cpu, kernels_of(isa), a, b, Start::Zero, &mut c), "{isa}");
        assert!(c.iter().all(|&value| value == 7.0));
    }
}

#[test]
fn repacking_replaces_what_was_there() {
    let (a, b) = (numbers(3 * 50, 1), numbers(50 * 70, 2));
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 2);
    let mut packed = PackedMatrix::pack(&cpu, Matrix::new(&numbers(60 * 80, 7), 60, 80));
    packed.repack(&cpu, Matrix::new(&b, 50, 70));
    let [mut got, mut expected] = [vec![0.0; 210], vec![0.0; 210]];
    matmul_packed(&cpu, Matrix::new(&a, 3, 50), &packed, Start::Zero, &mut got);
    matmul(&cpu, Matrix::new(&a, 3, 50), Matrix::new(&b, 50, 70), Start::Zero, &mut expected);
    assert_eq!(got, expected);
}

#[test]
fn doubles_take_the_reference() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 2);
    let (a, b): (Vec<f64>, Vec<f64>) =
        ((1..=6).map(f64::from).collect(), (1..=6).map(f64::from).collect());
    let (a, b) = (Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
    let mut c = vec![1.0; 4];
    matmul(&cpu, a, b, Start::Sum, &mut c);
    assert_eq!(c, [23.0, 29.0, 50.0, 65.0]);
    matmul_packed(&cpu, a, &PackedMatrix::pack(&cpu, b), Start::Bias(&[0.5, 0.25]), &mut c);
    assert_eq!(c, [22.5, 28.25, 49.5, 64.25]);
}

#[test]
fn values_that_are_not_numbers_reach_only_their_row_and_column() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let (m, k, n) = (17, 9, 35);
        let (mut a, mut b) = (numbers(m * k, 1), numbers(k * n, 2));
        a[3 * k + 2] = f32::NAN;
        b[4 * n + 33] = f32::INFINITY;
        let mut c = vec![0.0; m * n];
        matmul(&cpu, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Start::Zero, &mut c);
        for (idx, value) in c.iter().enumerate() {
            assert_eq!(
                value.is_finite(),
                idx / n != 3 && idx % n != 33,
                "{isa} row {} column {}",
                idx / n,
                idx % n
            );
        }
    }
}

#[test]
#[should_panic(expected = "(2, 3) · (4, 5) into 10 values")]
fn shapes_that_do_not_fit_are_said() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    matmul(
        &cpu,
        Matrix::new(&[0.0; 6], 2, 3),
        Matrix::new(&[0.0; 20], 4, 5),
        Start::Zero,
        &mut [0.0; 10],
    );
}

#[test]
#[should_panic(expected = "laid out for `plain`")]
fn a_layout_for_another_instruction_set_is_refused() {
    assert!(
        Isa::best(None).unwrap() != Isa::Plain,
        "laid out for `plain` only: nothing to refuse on this machine"
    );
    let packed =
        PackedMatrix::pack(&Cpu::with_isa(Isa::Plain, 1), Matrix::new(&[0.0_f32; 20], 4, 5));
    matmul_packed(
        &Cpu::with_isa(Isa::best(None).unwrap(), 1),
        Matrix::new(&[0.0; 4], 1, 4),
        &packed,
        Start::Zero,
        &mut [0.0; 5],
    );
}
