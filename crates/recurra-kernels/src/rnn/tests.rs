//! The simple recurrent network, with both activations, through the checks all cells share.

use super::*;
use crate::Isa;
use crate::recurrent::tests::{Cell, Outcome, Problem, cell_tests};

/// The network with either activation.
struct Rnn<const RELU: bool>;

impl<const RELU: bool> Cell for Rnn<RELU> {
    const GATES: usize = 1;
    const HAS_C: bool = false;

    fn run<E: Element>(cpu: &Cpu, weight: &RecurrentWeight<E>, problem: &Problem<E>) -> Outcome<E> {
        let p = problem.clone();
        let activation = if RELU { Activation::Relu } else { Activation::Tanh };
        let mut h = [p.h_first, p.pre_activations].concat();
        let (mut d_h, mut d_h_first) = (p.d_h, p.d_h_last);
        forward(cpu, p.shape, activation, weight, &mut h);
        backward(cpu, p.shape, activation, weight, &h, &mut d_h, &mut d_h_first);
        let (c, d_others, d_c_first) = (Vec::new(), Vec::new(), Vec::new());
        Outcome { h, c, d_pre_activations: d_h, d_others, d_h_first, d_c_first }
    }
}

mod tanh {
    super::cell_tests!(super::Rnn<false>);
}

mod relu {
    super::cell_tests!(super::Rnn<true>);
}

/// Two steps of two units, written out from the equation.
#[test]
fn two_steps_follow_the_equation() {
    let w = [[0.5, -0.25], [0.1, 0.2_f64]];
    let a = [[0.3, -0.1], [-0.9, 0.8]];
    for (activation, bend) in
        [(Activation::Tanh, f64::tanh as fn(f64) -> f64), (Activation::Relu, |x| x.max(0.0))]
    {
        let mut state = [0.2, -0.6];
        let mut expected = vec![state];
        for a in a {
            let before = state;
            for unit in 0..2 {
                state[unit] = bend(a[unit] + w[unit][0] * before[0] + w[unit][1] * before[1]);
            }
            expected.push(state);
        }
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let weight = RecurrentWeight::pack(&cpu, w.as_flattened(), 2, 1);
        let mut h = [[0.2, -0.6], a[0], a[1]].concat();
        forward(&cpu, Shape { time: 2, batch: 1, hidden: 2 }, activation, &weight, &mut h);
        for (found, expected) in h.iter().zip(expected.as_flattened()) {
            assert!((found - expected).abs() < 1e-14, "{activation:?}: {h:?} but {expected:?}");
        }
    }
}
