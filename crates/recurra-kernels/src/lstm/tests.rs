//! The LSTM through the checks all cells share, and against its equations written out.

use super::*;
use crate::Isa;
use crate::recurrent::tests::{Cell, Outcome, Problem, cell_tests, states_from};

struct Lstm;

impl Cell for Lstm {
    const GATES: usize = 4;
    const HAS_C: bool = true;

    fn run<E: Element>(cpu: &Cpu, weight: &RecurrentWeight<E>, problem: &Problem<E>) -> Outcome<E> {
        let p = problem.clone();
        let shape = p.shape;
        let mut gates = p.pre_activations;
        let (mut h, mut c) = (states_from(shape, p.h_first), states_from(shape, p.c_first));
        let (mut d_h_first, mut d_c_first) = (p.d_h_last, p.d_c_last);
        forward(cpu, shape, weight, &mut gates, &mut h, &mut c);
        backward(cpu, shape, weight, &mut gates, &c, &p.d_h, &mut d_h_first, &mut d_c_first);
        let d_others = Vec::new();
        Outcome { h, c, d_pre_activations: gates, d_others, d_h_first, d_c_first }
    }
}

cell_tests!(Lstm);

/// Two steps of two units, written out from the papers' equations.
#[test]
fn two_steps_follow_the_equations() {
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
        let before = h;
        for unit in 0..2 {
            let sum = |gate: usize| {
                let row = gate * 2 + unit;
                a[row] + w[row][0] * before[0] + w[row][1] * before[1]
            };
            let (input, forget) = (sigmoid(sum(0)), sigmoid(sum(1)));
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
    forward(&cpu, shape, &weight, &mut gates, &mut h, &mut c);
    for (step, pair) in expected.chunks_exact(2).enumerate() {
        for unit in 0..2 {
            assert!((h[step * 2 + unit] - pair[0][unit]).abs() < 1e-14);
            assert!((c[step * 2 + unit] - pair[1][unit]).abs() < 1e-14);
        }
    }
}
