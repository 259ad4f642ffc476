//! The LSTM through the checks all cells share, and against its equations written out.

use super::*;
use crate::Isa;
use crate::recurrent::tests::{Cell, Outcome, Problem, cell_tests, states_from};

/// Forward and backward of an LSTM of some form.
fn run<E: Element>(
    cpu: &Cpu,
    form: Form<'_, E>,
    weight: &RecurrentWeight<E>,
    problem: &Problem<E>,
) -> Outcome<E> {
    let p = problem.clone();
    let shape = p.shape;
    let mut gates = p.pre_activations;
    let (mut h, mut c) = (states_from(shape, p.h_first), states_from(shape, p.c_first));
    let (mut d_h_first, mut d_c_first) = (p.d_h_last, p.d_c_last);
    let mut seen = form.state_mask.map(|_| h.clone());
    forward(cpu, shape, form, weight, &mut gates, &mut h, &mut c, seen.as_deref_mut());
    backward(cpu, shape, form, weight, &mut gates, &c, &p.d_h, &mut d_h_first, &mut d_c_first);
    let d_others = Vec::new();
    Outcome { h, c, d_pre_activations: gates, d_others, d_h_first, d_c_first }
}

/// Runs the shared checks on an LSTM of the form that `$form` makes of a mask.
macro_rules! form_tests {
    ($form:ident, $make:expr) => {
        mod $form {
            use super::*;

            struct Lstm;

            impl Cell for Lstm {
                const GATES: usize = 4;
                const HAS_C: bool = true;

                fn run<E: Element>(
                    cpu: &Cpu,
                    weight: &RecurrentWeight<E>,
                    problem: &Problem<E>,
                ) -> Outcome<E> {
                    // The same for every row, which may be alone.
                    let Shape { batch, hidden, .. } = problem.shape;
                    let mask = |unit: usize| E::from_f64([2.0, 0.0, 2.0, 2.0, 0.0][unit % 5]);
                    let mask: Vec<E> = (0..batch * hidden).map(|at| mask(at % hidden)).collect();
                    let make: fn(&[E]) -> Form<'_, E> = $make;
                    run(cpu, make(&mask), weight, problem)
                }
            }

            cell_tests!(Lstm);
        }
    };
}

form_tests!(plain, |_| Form::default());
form_tests!(coupled, |_| Form { is_coupled: true, state_mask: None });
form_tests!(masked, |mask| Form { is_coupled: false, state_mask: Some(mask) });
form_tests!(coupled_and_masked, |mask| Form { is_coupled: true, state_mask: Some(mask) });

/// Two steps of two units, written out from the papers' equations.
#[test]
fn two_steps_follow_the_equations() {
    let mask = [2.0, 0.5];
    for (is_coupled, state_mask) in
        [(false, None), (true, None), (false, Some(&mask[..])), (true, Some(&mask[..]))]
    {
        check_two_steps(Form { is_coupled, state_mask });
    }
}

fn check_two_steps(form: Form<'_, f64>) {
    let mask = form.state_mask.unwrap_or(&[1.0, 1.0]);
    let w = [
        [0.5, -0.25],
        [0.1, 0.2],
        [-0.3, 0.7],
        [0.9, 0.4],
        [-0.6, 0.8],
        [0.15, -0.45],
        [0.35, 0.05],
        [-0.2, 0.65_f64],
    ];
    let a = [
        [0.3, -0.1, 0.8, 0.2, -0.5, 0.6, 1.1, -0.7],
        [-0.4, 0.9, 0.25, -1.2, 0.55, -0.35, 0.0, 0.45],
    ];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut h, mut c) = ([0.2, -0.6], [0.7, -0.3]);
    let mut expected = vec![h, c];
    for a in a {
        let before = [h[0] * mask[0], h[1] * mask[1]];
        for unit in 0..2 {
            let sum = |gate: usize| {
                let row = gate * 2 + unit;
                a[row] + w[row][0] * before[0] + w[row][1] * before[1]
            };
            let (mut input, forget) = (sigmoid(sum(0)), sigmoid(sum(1)));
            if form.is_coupled {
                input = f64::min(input, 1.0 - forget);
            }
            let (candidate, output) = (sum(2).tanh(), sigmoid(sum(3)));
            c[unit] = forget * c[unit] + input * candidate;
            h[unit] = output * c[unit].tanh();
        }
        expected.extend([h, c]);
    }
    let shape = Shape { time: 2, batch: 1, hidden: 2 };
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let weight = RecurrentWeight::pack(&cpu, w.as_flattened(), 2, 4);
    let mut gates = a.as_flattened().to_vec();
    let (mut h, mut c) = (vec![0.2, -0.6, 0.0, 0.0, 0.0, 0.0], vec![0.7, -0.3, 0.0, 0.0, 0.0, 0.0]);
    let mut seen = form.state_mask.map(|_| vec![0.0; 6]);
    forward(&cpu, shape, form, &weight, &mut gates, &mut h, &mut c, seen.as_deref_mut());
    for (step, pair) in expected.chunks_exact(2).enumerate() {
        for unit in 0..2 {
            assert!((h[step * 2 + unit] - pair[0][unit]).abs() < 1e-14);
            assert!((c[step * 2 + unit] - pair[1][unit]).abs() < 1e-14);
        }
    }
}
