//! Parameters that follow the text they are scored on (dynamic evaluation, Krause et al. 2018).

use std::ops::Range;

use recurra_kernels::update::{self, Dynamic, Rule};
use recurra_kernels::{Cpu, Element};

use crate::optimizer::{Way, follow};
use crate::parameters::Parameters;

/// Gaps between rows that are passed over with what is around them: a step over two ranges costs more than so many values.
const LEAST_GAP: usize = 4096;

/// The slab of r, the root of the mean square of each gradient over the training text.
const ROOT: usize = 0;

/// The slab of θ₀.
const ORIGIN: usize = 1;

/// A copy of a model's parameters that goes θ ← θ − η·g / (r + ε) + min(λ·r/r̄, 1)·(θ₀ − θ), with r the root of the mean square
/// of each gradient over the training text, r̄ their mean and θ₀ the parameters as training left them.
///
/// r̄ is the mean over parameters (matrices and vectors) of the mean of each, as in the published program.
#[derive(Debug)]
pub struct DynamicParameters<E> {
    parameters: Parameters<E>,
    mean_root: f64,
    /// Where a parameter may differ from θ₀: what lies outside of it, rows of an embedding that no segment has read, has no
    /// gradient and stays.
    touched: Vec<Vec<Range<usize>>>,
}

impl<E: Element> DynamicParameters<E> {
    /// Takes r from gradients: `backward` leaves those of window after window in the store it is given, and says whether it
    /// has; they come from the values of `parameters`.
    pub fn collect(
        cpu: &Cpu,
        mut parameters: Parameters<E>,
        mut backward: impl FnMut(&mut Parameters<E>) -> bool,
    ) -> Self {
        parameters.clear_gradients();
        parameters.set_n_moments(0); // those of training, if there are any
        parameters.set_n_moments(2);
        let mut n_windows = 0_u64;
        while backward(&mut parameters) {
            n_windows += 1;
            add_squares(cpu, &mut parameters);
        }
        let mut sum_of_means = 0.0;
        for id in parameters.ids() {
            let mut sum = 0.0;
            for square in parameters.moments_mut(ROOT, id) {
                *square = E::from_f64((square.to_f64() / n_windows.max(1) as f64).sqrt());
                sum += square.to_f64();
            }
            sum_of_means += sum / parameters.value(id).len().max(1) as f64;
            let origin = parameters.value(id).to_vec();
            parameters.moments_mut(ORIGIN, id).copy_from_slice(&origin);
        }
        let touched = vec![Vec::new(); parameters.len()];
        let mean_root = sum_of_means / parameters.len().max(1) as f64;
        Self { parameters, mean_root, touched }
    }

    /// The parameters as they are now, for a tape that learns.
    pub fn parameters_mut(&mut self) -> &mut Parameters<E> {
        &mut self.parameters
    }

    /// Follows the gradients of a segment with the rate η, the decay λ and ε.
    pub fn step(&mut self, cpu: &Cpu, lr: f64, decay: f64, epsilon: f64) {
        let decay = if self.mean_root > 0.0 { decay / self.mean_root } else { 0.0 };
        for (id, touched) in self.parameters.ids().zip(&mut self.touched) {
            *touched = union(touched, &self.parameters.gradients.written_ranges(id));
        }
        let way = Way::Rule(Rule::Dynamic(Dynamic { lr, decay, epsilon }));
        let ways = vec![way; self.parameters.len()];
        follow(cpu, &mut self.parameters, ways, None, self.touched.clone());
    }

    /// Goes back to θ₀.
    pub fn reset(&mut self) {
        self.parameters.clear_gradients();
        for id in self.parameters.ids() {
            let origin = self.parameters.moments(ORIGIN, id).to_vec();
            self.parameters.value_mut(id).copy_from_slice(&origin);
        }
        self.touched.iter_mut().for_each(Vec::clear);
    }
}

/// Adds g² to the squares, and forgets the gradients.
fn add_squares<E: Element>(cpu: &Cpu, parameters: &mut Parameters<E>) {
    for id in parameters.ids() {
        for range in parameters.gradients.written_ranges(id) {
            let (gradients, squares) = parameters.gradients_and_moments(ROOT);
            update::add_squares(cpu, &mut gradients[range.clone()], &mut squares[range]);
        }
        parameters.gradients.forget(id);
    }
}

/// The union of rising ranges, and the small gaps between them.
fn union(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut all: Vec<_> = a.iter().chain(b).cloned().collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut union: Vec<Range<usize>> = Vec::with_capacity(all.len());
    for range in all {
        match union.last_mut() {
            Some(last) if range.start <= last.end + LEAST_GAP => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, ParameterId, Random, Tape, Workspace};

    const VOCAB: usize = 30_000;
    const WIDTH: usize = 5;

    /// A table of which few rows are read, far from each other, and a layer on top.
    fn parameters() -> (Parameters<f32>, [ParameterId; 3]) {
        let mut parameters = Parameters::new();
        let shapes: [(&str, &[usize]); 3] =
            [("table", &[VOCAB, WIDTH]), ("weight", &[7, WIDTH]), ("bias", &[7])];
        let ids = shapes.map(|(name, shape)| parameters.declare(name, shape));
        let mut random = Random::new(5, 0);
        ids.into_iter().for_each(|id| random.fill_uniform(parameters.value_mut(id), 1.0));
        (parameters, ids)
    }

    fn backward(
        cpu: &Cpu,
        parameters: &mut Parameters<f32>,
        [table, weight, bias]: [ParameterId; 3],
        n: u32,
    ) {
        let mut workspace = Workspace::new();
        let mut tape = Tape::training(cpu, parameters, &mut workspace, 0);
        let ids = [n * 977 % 3000, n, 29_999];
        let hidden = tape.embedding(table, &ids);
        let loss = tape.cross_entropy(hidden, weight, bias, &[n % 7, 3, 1]);
        tape.backward(loss);
    }

    #[test]
    fn steps_are_the_formula_in_f64_and_rows_never_read_stay() {
        let (lr, decay, epsilon) = (0.01, 0.3, 1e-3);
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(isa, 2);
            let (parameters, ids) = parameters();
            let mut squares = ids.map(|id| vec![0.0; parameters.value(id).len()]);
            let mut n = 0;
            let mut dynamic = DynamicParameters::collect(&cpu, parameters.clone(), |parameters| {
                if n == 9 {
                    return false;
                }
                n += 1;
                backward(&cpu, parameters, ids, n);
                for (squares, id) in squares.iter_mut().zip(ids) {
                    let gradient = parameters.gradient(id).unwrap();
                    squares.iter_mut().zip(gradient).for_each(|(s, &g)| *s += f64::from(g).powi(2));
                }
                true
            });
            let roots = squares.map(|squares| {
                squares.into_iter().map(|s: f64| (s / 9.0).sqrt()).collect::<Vec<_>>()
            });
            let means =
                roots.each_ref().map(|roots| roots.iter().sum::<f64>() / roots.len() as f64);
            let mean = means.iter().sum::<f64>() / 3.0;
            let wide =
                |id| parameters.value(id).iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let mut expected = ids.map(wide);
            for n in 20..40 {
                backward(&cpu, &mut dynamic.parameters, ids, n);
                for ((x, roots), id) in expected.iter_mut().zip(&roots).zip(ids) {
                    let gradient = dynamic.parameters.gradient(id).unwrap();
                    let origin = parameters.value(id);
                    for (((x, r), &g), &origin) in x.iter_mut().zip(roots).zip(gradient).zip(origin)
                    {
                        let back = (decay * r / mean).min(1.0) * (f64::from(origin) - *x);
                        *x += back - lr * f64::from(g) / (r + epsilon);
                    }
                }
                dynamic.step(&cpu, lr, decay, epsilon);
            }
            for (id, expected) in ids.into_iter().zip(&expected) {
                for (found, expected) in dynamic.parameters.value(id).iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-4, "{isa}: {found}, not {expected}");
                }
            }
            let table =
                |parameters: &Parameters<f32>| parameters.value(ids[0])[5 * 15_000..][..5].to_vec();
            assert_eq!(table(&dynamic.parameters), table(&parameters));
            assert!(dynamic.touched[0].len() > 1, "some rows are passed over");
            dynamic.reset();
            for id in ids {
                assert_eq!(dynamic.parameters.value(id), parameters.value(id));
            }
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // lists of ranges, some of them of one
    fn unions_swallow_small_gaps_alone() {
        let far = 10 * LEAST_GAP;
        assert_eq!(union(&[0..5, far..far + 1], &[7..9]), [0..9, far..far + 1]);
        assert_eq!(union(&[], &[far..far + 2]), [far..far + 2]);
        assert_eq!(union(&[3..9], &[2..4, 8..9]), [2..9]);
    }
}
