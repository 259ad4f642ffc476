//! Every path against the formulas, and those against finite differences.

use super::*;

fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|idx| ((idx * 37 + seed * 11) % 101) as f64 / 25.0 - 2.0).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

struct Case {
    norm: Norm,
    x: Vec<f64>,
    gain: Vec<f64>,
    bias: Option<Vec<f64>>,
    d_y: Vec<f64>,
}

impl Case {
    fn new(norm: Norm, rows: usize, cols: usize, has_bias: bool) -> Self {
        let n = rows * cols;
        let bias = has_bias.then(|| values(cols, 5));
        Self { norm, x: values(n, 1), gain: values(cols, 2), bias, d_y: values(n, 3) }
    }

    /// y, d_x, d_gain, d_bias.
    fn run<E: Element>(&self, cpu: &Cpu, adds: bool) -> [Vec<E>; 4] {
        let convert = |values: &[f64]| values.iter().map(|&x| E::from_f64(x)).collect::<Vec<E>>();
        let (x, gain, d_y) = (convert(&self.x), convert(&self.gain), convert(&self.d_y));
        let bias = self.bias.as_deref().map(convert);
        let affine = Affine { gain: &gain, bias: bias.as_deref() };
        let mut y = vec![E::ZERO; x.len()];
        forward(cpu, self.norm, &x, affine, &mut y);
        let (mut d_x, mut d_gain) = (convert(&self.d_y), convert(&self.gain));
        let mut d_bias = bias.clone();
        let gradients =
            Gradients { d_x: &mut d_x, adds, d_gain: &mut d_gain, d_bias: d_bias.as_deref_mut() };
        let mut scratch = vec![E::ONE; scratch_len(x.len() / gain.len(), affine)];
        backward(cpu, self.norm, &x, affine, &d_y, gradients, &mut scratch);
        [y, d_x, d_gain, d_bias.unwrap_or_default()]
    }
}

#[track_caller]
fn assert_near(isa: Isa, found: &[f32], expected: &[f64], what: &str) {
    let largest = expected.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    for (idx, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(found) - expected).abs() < 3e-6 * largest,
            "{isa}: {what} at {idx}: {found} for {expected}"
        );
    }
}

const KINDS: [Kind; 2] = [Kind::Rms, Kind::Layer];

#[test]
fn every_shape_agrees_with_the_reference_and_with_any_number_of_threads() {
    for isa in Isa::available() {
        let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
        for (rows, cols, groups) in
            [(1, 1, 1), (2, 3, 1), (33, 17, 1), (5, 64, 4), (3, 66, 2), (70, 257, 1), (130, 384, 3)]
        {
            for (kind, has_bias) in [(KINDS[0], false), (KINDS[0], true), (KINDS[1], true)] {
                for adds in [false, true] {
                    let norm = Norm { kind, groups, epsilon: 1e-5 };
                    let case = Case::new(norm, rows, cols, has_bias);
                    let expected = case.run::<f64>(&cpus[0], adds);
                    let [first, others @ ..] =
                        cpus.each_ref().map(|cpu| case.run::<f32>(cpu, adds));
                    for (idx, what) in ["y", "d_x", "d_gain", "d_bias"].into_iter().enumerate() {
                        let what = format!("{kind:?} {rows}×{cols} in {groups}: {what}");
                        assert_near(isa, &first[idx], &expected[idx], &what);
                        assert!(others.iter().all(|other| other[idx] == first[idx]), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_are_slopes() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    for kind in KINDS {
        let norm = Norm { kind, groups: 2, epsilon: 1e-2 };
        let case = Case::new(norm, 3, 10, true);
        let [_, d_x, ..] = case.run::<f64>(&cpu, false);
        let loss = |x: &[f64]| -> f64 {
            let affine = Affine { gain: &case.gain, bias: case.bias.as_deref() };
            let mut y = vec![0.0; x.len()];
            forward(&cpu, norm, x, affine, &mut y);
            y.iter().zip(&case.d_y).map(|(y, d)| y * d).sum()
        };
        for idx in 0..case.x.len() {
            let at = |shift: f64| {
                let mut x = case.x.clone();
                x[idx] += shift;
                loss(&x)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - d_x[idx]).abs() < 1e-7, "{kind:?} at {idx}: {slope} {}", d_x[idx]);
        }
    }
}

#[test]
fn a_row_of_zeros_stays_finite() {
    let cpu = Cpu::with_isa(Isa::best(None).unwrap(), 1);
    for kind in KINDS {
        let norm = Norm { kind, groups: 1, epsilon: 1e-5 };
        let mut y = [1.0_f32; 5];
        forward(&cpu, norm, &[0.0; 5], Affine { gain: &[2.0; 5], bias: None }, &mut y);
        assert_eq!(y, [0.0; 5]);
    }
}

#[test]
#[should_panic(expected = "a norm of 6 values into 5")]
fn sizes_that_do_not_fit_are_said() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let norm = Norm { kind: Kind::Rms, groups: 1, epsilon: 1e-5 };
    let gain = narrow(&[1.0, 2.0]);
    forward(&cpu, norm, &[0.0; 6], Affine { gain: &gain, bias: None }, &mut [0.0; 5]);
}
