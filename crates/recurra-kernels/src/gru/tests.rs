//! The GRU through the checks all cells share, and against its equations written out.

use super::*;
use crate::Isa;
use crate::recurrent::tests::{Cell, Outcome, Problem, cell_tests, states_from};

struct Gru;

impl Cell for Gru {
    const GATES: usize = 3;
    const HAS_C: bool = false;

    fn run<E: Element>(cpu: &Cpu, weight: &RecurrentWeight<E>, problem: &Problem<E>) -> Outcome<E> {
        let p = problem.clone();
        let shape = p.shape;
        let (mut gates, mut d_h_first) = (p.pre_activations, p.d_h_last);
        let mut h = states_from(shape, p.h_first);
        let mut hn = vec![E::ZERO; shape.sequence(shape.hidden)];
        forward(cpu, shape, weight, &p.bias_hn, &mut gates, &mut hn, &mut h);
        backward(cpu, shape, weight, &mut gates, &mut hn, &h, &p.d_h, &mut d_h_first);
        let (c, d_c_first) = (Vec::new(), Vec::new());
        Outcome { h, c, d_pre_activations: gates, d_others: hn, d_h_first, d_c_first }
    }
}

cell_tests!(Gru);

/// Two steps of two units, written out from the documented equations.
#[test]
fn two_steps_follow_the_equations() {
    let w = [[0.5, -0.25], [0.1, 0.2], [-0.3, 0.7], [0.9, 0.4], [-0.6, 0.8], [0.15, -0.45_f64]];
    let a = [[0.3, -0.1, 0.8, 0.2, -0.5, 0.6], [-0.4, 0.9, 0.25, -1.2, 0.55, -0.35]];
    let bias = [0.35, -0.65];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut state = [0.2, -0.6];
    let mut expected = vec![state];
    for a in a {
        let before = state;
        for unit in 0..2 {
            let product = |gate: usize| {
                let row = gate * 2 + unit;
                w[row][0] * before[0] + w[row][1] * before[1]
            };
            let reset = sigmoid(a[unit] + product(0));
            let update = sigmoid(a[2 + unit] + product(1));
            let new = (a[4 + unit] + reset * (product(2) + bias[unit])).tanh();
            state[unit] = (1.0 - update) * new + update * before[unit];
        }
        expected.push(state);
    }
    let shape = Shape { time: 2, batch: 1, hidden: 2 };
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let weight = RecurrentWeight::pack(&cpu, w.as_flattened(), 2, 3);
    let mut gates = a.as_flattened().to_vec();
    let mut h = states_from(shape, vec![0.2, -0.6]);
    forward(&cpu, shape, &weight, &bias, &mut gates, &mut [0.0; 4], &mut h);
    for (found, expected) in h.iter().zip(expected.as_flattened()) {
        assert!((found - expected).abs() < 1e-14, "{h:?} but {expected:?}");
    }
}

/// d_q, the gradient by which W_hn and b_hn learn, against central differences over b_hn.
#[test]
fn the_gradient_of_the_inner_bias_is_the_finite_difference() {
    let shape = Shape { time: 3, batch: 2, hidden: 3 };
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = Problem::random::<Gru>(shape, 1.0);
    let weight = RecurrentWeight::pack(&cpu, &problem.weight_hh, 3, 3);
    let loss = |unit: usize, by: f64| -> f64 {
        let mut problem = problem.clone();
        problem.bias_hn[unit] += by;
        problem.d_h_last.fill(0.0);
        let h = Gru::run(&cpu, &weight, &problem).h;
        h[shape.state()..].iter().zip(&problem.d_h).map(|(h, d)| h * d).sum()
    };
    let mut without_last = problem.clone();
    without_last.d_h_last.fill(0.0);
    let d_q = Gru::run(&cpu, &weight, &without_last).d_others;
    for unit in 0..3 {
        let found: f64 = d_q.chunks_exact(3).map(|row| row[unit]).sum();
        let expected = (loss(unit, 1e-6) - loss(unit, -1e-6)) / 2e-6;
        assert!((found - expected).abs() < 1e-8, "unit {unit}: {found} but {expected}");
    }
}
