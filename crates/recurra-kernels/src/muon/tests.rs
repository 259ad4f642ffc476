//! Against the formulas PyTorch's Muon has (`golden/optimizers.py`), against the plain loops in `f64`, and the same bits for
//! 1, 2, 3 threads.

use serde_json::Value;

use super::*;
use crate::{Isa, Precision};

fn rows(json: &Value) -> Vec<f64> {
    let rows = json.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    rows.map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn steps_are_those_of_pytorch() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../golden/optimizers.json")).unwrap();
    let cases = golden["muon"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let option = |name: &str| case["options"][name].as_f64().unwrap();
        let (lr, momentum, weight_decay) =
            (option("lr"), option("momentum"), option("weight_decay"));
        let muon = Muon { lr, momentum, weight_decay, scale: 1.0 };
        let cols = case["start"][0].as_array().unwrap().len();
        let mut value = rows(&case["start"]);
        let mut velocity = vec![0.0; value.len()];
        let mut workspace = Workspace::default();
        let steps =
            case["gradients"].as_array().unwrap().iter().zip(case["values"].as_array().unwrap());
        for (gradient, expected) in steps {
            let mut gradient = rows(gradient);
            let moments = [&mut velocity[..], &mut []];
            let slabs =
                Slabs { value: &mut value, gradient: &mut gradient, moments, average: &mut [] };
            step(&Cpu::with_isa(Isa::Plain, 1), muon, [1, cols], slabs, None, &mut workspace);
            for (x, expected) in value.iter().zip(rows(expected)) {
                assert!((x - expected).abs() < 1e-12, "{muon:?}: {x} for {expected}");
            }
        }
    }
}

/// x, g, u, θ̄ in −1..1.
fn slabs(n: usize) -> [Vec<f32>; 4] {
    let hash = |idx: u32, salt: u32| (idx ^ salt << 20).wrapping_mul(2_654_435_761) >> 8;
    [1, 2, 3, 4].map(|salt| (0..n as u32).map(|idx| hash(idx, salt) as f32 / 8.4e6 - 1.0).collect())
}

#[test]
fn steps_are_those_of_the_reference_for_every_instruction_set_and_number_of_threads() {
    let muon = Muon { lr: 0.1, momentum: 0.9, weight_decay: 0.2, scale: 0.5 };
    let shapes = [
        (1, 1, 1),
        (1, 1, 7),
        (3, 5, 1),
        (1, 16, 17),
        (4, 15, 16),
        (1, 33, 31),
        (3, 64, 20),
        (4, 20, 70),
    ];
    for (n_parts, n_rows, cols) in shapes {
        let start = slabs(n_parts * n_rows * cols);
        let mut exact =
            start.each_ref().map(|slab| slab.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        let part = n_rows * cols;
        for at in (0..n_parts * part).step_by(part) {
            let [x, g, u, _] = exact.each_mut().map(|slab| &mut slab[at..at + part]);
            reference::step(muon, cols, x, g, u);
        }
        let [values, .., average] = &mut exact;
        average.iter_mut().zip(values).for_each(|(mean, x)| *mean += 0.25 * (*x - *mean));
        for isa in Isa::available() {
            // A step is at most about 1.2 · lr · 0.2 · √max(rows, columns) for a value that makes up a matrix alone.
            let size = muon.lr * STEP_SIZE * (n_rows.max(cols) as f64).sqrt();
            let tolerance = if isa.precision() == Precision::Bf16 { 0.05 } else { 1e-4 } * size;
            let mut first: Option<Vec<u32>> = None;
            for threads in 1..=3 {
                let mut found = start.clone();
                let [value, gradient, velocity, average] = found.each_mut().map(Vec::as_mut_slice);
                let slabs = Slabs { value, gradient, moments: [velocity, &mut []], average };
                let cpu = Cpu::with_isa(isa, threads);
                step(&cpu, muon, [n_parts, cols], slabs, Some(0.25), &mut Workspace::default());
                let what = format!("{n_parts} of ({n_rows}, {cols}), {isa}, {threads} threads");
                for (found, exact) in found.iter().zip(&exact) {
                    for (&found, exact) in found.iter().zip(exact) {
                        let error = (f64::from(found) - exact).abs();
                        assert!(error < tolerance + 1e-6, "{what}: {found} for {exact}");
                    }
                }
                let bits: Vec<u32> = found.iter().flatten().map(|x| x.to_bits()).collect();
                assert_eq!(&bits, first.get_or_insert(bits.clone()), "same bits: {what}");
            }
        }
    }
}

#[test]
fn singular_values_come_near_one() {
    // X·Xᵀ of a matrix with orthogonal rows of norm 1 is the identity; the coefficients leave 0.7 to 1.2.
    let (n_rows, cols) = (8, 40);
    let direction: Vec<f64> = slabs(n_rows * cols)[0].iter().map(|&x| f64::from(x)).collect();
    let x = reference::orthogonalized(direction, n_rows, cols);
    for (row, values) in x.chunks_exact(cols).enumerate() {
        for (other, others) in x.chunks_exact(cols).enumerate() {
            let dot: f64 = values.iter().zip(others).map(|(a, b)| a * b).sum();
            let is_near = if row == other { (0.4..1.5).contains(&dot) } else { dot.abs() < 0.4 };
            assert!(is_near, "rows {row} and {other}: {dot}");
        }
    }
}

#[test]
fn a_gradient_of_zeros_moves_nothing() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let muon = Muon { lr: 0.1, momentum: 0.9, weight_decay: 0.0, scale: 1.0 };
    let (value, gradient, velocity) =
        (&mut [1.0_f32, 2.0][..], &mut [0.0; 2][..], &mut [0.0; 2][..]);
    let slabs = Slabs { value, gradient, moments: [velocity, &mut []], average: &mut [] };
    step(&cpu, muon, [1, 2], slabs, None, &mut Workspace::default());
    assert_eq!(value, [1.0, 2.0]);
}

#[test]
#[should_panic(expected = "7 values as 2 matrices of 3 columns")]
fn values_that_are_no_matrices_are_refused() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let muon = Muon { lr: 0.1, momentum: 0.9, weight_decay: 0.0, scale: 1.0 };
    let (value, gradient) = (&mut [0.0_f32; 7][..], &mut [0.0; 7][..]);
    let slabs = Slabs { value, gradient, moments: [&mut [], &mut []], average: &mut [] };
    step(&cpu, muon, [2, 3], slabs, None, &mut Workspace::default());
}
