//! Against the reference in f64 at every shape class, every instruction set, any number of threads.

use super::*;

/// Numbers in −1..1: SplitMix64 (Steele, Lea and Flood 2014) of `seed` and the place.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|idx| {
            let z = (seed << 40).wrapping_add(idx + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// (rows, depth, cols): 1, odd, tile ± 1 of every instruction set, past a block of k, past a task.
const SHAPES: [(usize, usize, usize); 26] = [
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

#[track_caller]
fn check_shape(
    cpu: &Cpu,
    (m, k, n): (usize, usize, usize),
    transposed: [bool; 2],
    start_idx: usize,
) -> Vec<u32> {
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let (bias, c_before) = (numbers(n, 3), numbers(m * n, 4));
    let a64: Vec<f64> = a.iter().map(|&x| x.into()).collect();
    let b64: Vec<f64> = b.iter().map(|&x| x.into()).collect();
    let (a, b) = (view(&a, m, k, transposed[0]), view(&b, k, n, transposed[1]));
    let mut c = c_before.clone();
    let start = [Start::Zero, Start::Bias(&bias[..]), Start::Sum][start_idx];
    matmul(cpu, a, b, start, &mut c);

    let mut expected: Vec<f64> = c_before.iter().map(|&x| x.into()).collect();
    let bias64: Vec<f64> = bias.iter().map(|&x| x.into()).collect();
    let start64 = [Start::Zero, Start::Bias(&bias64[..]), Start::Sum][start_idx];
    reference::matmul(a.with_values(&a64), b.with_values(&b64), start64, &mut expected);
    // Rounding may add up over k; one product forgotten or doubled is a million times that.
    let bound = f64::from(f32::EPSILON) * (k as f64 + 2.0);
    for (idx, (got, expected)) in c.iter().zip(&expected).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() < bound,
            "{} {m}×{k}×{n} {transposed:?} start {start_idx} at {idx}: {got} for {expected}",
            cpu.isa()
        );
    }

    let mut packed = c_before;
    matmul_packed(cpu, a, &PackedMatrix::pack(cpu, b), start, &mut packed);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&c), bits(&packed), "{} {m}×{k}×{n} packed", cpu.isa());
    bits(&c)
}

#[test]
fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
    for isa in Isa::available() {
        let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
        for shape in SHAPES {
            for case in 0..12 {
                let [first, others @ ..] = cpus
                    .each_ref()
                    .map(|cpu| check_shape(cpu, shape, [case & 1 > 0, case & 2 > 0], case / 4));
                assert!(others.iter().all(|bits| *bits == first), "{isa} {shape:?} case {case}");
            }
        }
    }
}

#[test]
fn the_recipes_own_shapes_agree() {
    for isa in Isa::available().into_iter().rev().take(2) {
        let cpu = Cpu::with_isa(isa, 2);
        check_shape(&cpu, (700, 650, 260), [false, true], 1);
        check_shape(&cpu, (260, 700, 650), [true, false], 2);
    }
}

#[test]
fn operands_larger_than_a_layout_are_done_in_parts() {
    let cpu = Cpu::with_isa(Isa::best(), 2);
    check_shape(&cpu, (9, 33, 4500), [false, true], 1);
    check_shape(&cpu, (4500, 20, 9), [true, false], 2);
    check_shape(&cpu, (40, 60_000, 40), [true, false], 0);
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

#[test]
fn repacking_replaces_what_was_there() {
    let (a, b) = (numbers(3 * 50, 1), numbers(50 * 70, 2));
    let cpu = Cpu::with_isa(Isa::best(), 2);
    let mut packed = PackedMatrix::pack(&cpu, Matrix::new(&numbers(60 * 80, 7), 60, 80));
    packed.repack(&cpu, Matrix::new(&b, 50, 70));
    let [mut got, mut expected] = [vec![0.0; 210], vec![0.0; 210]];
    matmul_packed(&cpu, Matrix::new(&a, 3, 50), &packed, Start::Zero, &mut got);
    matmul(&cpu, Matrix::new(&a, 3, 50), Matrix::new(&b, 50, 70), Start::Zero, &mut expected);
    assert_eq!(got, expected);
}

#[test]
fn doubles_take_the_reference() {
    let cpu = Cpu::with_isa(Isa::best(), 2);
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
        Isa::best() != Isa::Plain,
        "laid out for `plain` only: nothing to refuse on this machine"
    );
    let packed =
        PackedMatrix::pack(&Cpu::with_isa(Isa::Plain, 1), Matrix::new(&[0.0_f32; 20], 4, 5));
    matmul_packed(
        &Cpu::with_isa(Isa::best(), 1),
        Matrix::new(&[0.0; 4], 1, 4),
        &packed,
        Start::Zero,
        &mut [0.0; 5],
    );
}
