//! Every instruction set against the reference, the reference against finite differences, and the bits that may not change.

use super::*;
use crate::recurrent::tests::values;

/// Everything that goes in, forward and backward.
#[derive(Clone)]
struct Problem<E> {
    shape: Shape,
    /// q, k, v.
    inputs: [Vec<E>; 3],
    gates: Vec<E>,
    first: [Vec<E>; 3],
    d_h: Vec<E>,
}

/// Everything that comes out.
#[derive(Clone, Debug, PartialEq)]
struct Outcome<E> {
    h: Vec<E>,
    last: [Vec<E>; 3],
    /// d_q, d_k, d_v, d_gates.
    gradients: [Vec<E>; 4],
}

fn problem(shape: Shape, scale: f64, from_zero: bool) -> Problem<f64> {
    let n = shape.sequence();
    let mut gates = values(4, shape.gates(), scale);
    for (idx, gate) in gates.iter_mut().enumerate() {
        // Forget gates that keep most, as they begin.
        *gate += if idx / shape.heads % 2 == 1 { 2.0 } else { 0.0 };
    }
    let mut seed = 5;
    let first = shape.state().map(|len| {
        seed += 1;
        if from_zero { vec![0.0; len] } else { values(seed, len, 1.0) }
    });
    Problem {
        shape,
        inputs: [1, 2, 3].map(|seed| values(seed, n, 1.7)),
        gates,
        first,
        d_h: values(9, n, 1.0),
    }
}

impl<E: Element> Problem<E> {
    fn each<F: Element>(&self, f: impl Fn(E) -> F) -> Problem<F> {
        let all = |values: &Vec<E>| values.iter().map(|&x| f(x)).collect::<Vec<F>>();
        Problem {
            shape: self.shape,
            inputs: self.inputs.each_ref().map(all),
            gates: all(&self.gates),
            first: self.first.each_ref().map(all),
            d_h: all(&self.d_h),
        }
    }

    fn solve(&self, cpu: &Cpu) -> Outcome<E> {
        let shape = self.shape;
        let [q, k, v] = self.inputs.each_ref().map(Vec::as_slice);
        let inputs = Inputs { q, k, v, gates: &self.gates };
        let mut last = self.first.clone();
        let mut h = vec![E::ZERO; shape.sequence()];
        let mut kept = vec![E::ZERO; shape.kept()];
        let state = last.each_mut().map(Vec::as_mut_slice);
        forward(cpu, shape, inputs, state, &mut h, Some(&mut kept));
        let n = shape.sequence();
        let mut gradients = [n, n, n, shape.gates()].map(|len| vec![E::ONE; len]);
        let [d_q, d_k, d_v, d_gates] = gradients.each_mut().map(Vec::as_mut_slice);
        let places = Gradients { d_q, d_k, d_v, d_gates };
        backward(cpu, shape, inputs, &kept, &h, &self.d_h, places);
        Outcome { h, last, gradients }
    }
}

fn shape(time: usize, batch: usize, heads: usize, units: usize) -> Shape {
    Shape { time, batch, heads, units }
}

/// The largest difference, as a part of one plus the largest value.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - b).abs());
    off.inspect(|off| assert!(off.is_finite())).fold(0.0, f64::max) / largest
}

#[test]
fn every_instruction_set_agrees_with_the_recurrence() {
    let plain = Cpu::with_isa(Isa::Plain, 1);
    for units in [1, 5, 15, 16, 17, 33, 70] {
        for (time, batch, heads) in
            [(1, 1, 1), (2, 3, 1), (7, 1, 4), (63, 2, 1), (64, 1, 2), (65, 1, 1), (150, 1, 1)]
        {
            let problem = problem(shape(time, batch, heads, units), 2.0, time == 64);
            let expected = problem.solve(&plain);
            for isa in Isa::available() {
                let found = problem.each(|x| x as f32).solve(&Cpu::with_isa(isa, 2));
                let check = |what: &str, found: &[f32], expected: &[f64]| {
                    let off = distance(found, expected);
                    assert!(off < 2e-5, "{isa} {:?}: {what} off by {off:e}", problem.shape);
                };
                check("h", &found.h, &expected.h);
                let state = ["C", "n", "m"].iter().zip(&found.last).zip(&expected.last);
                state.for_each(|((what, found), expected)| check(what, found, expected));
                let names = ["d_q", "d_k", "d_v", "d_gates"];
                let gradients = names.iter().zip(&found.gradients).zip(&expected.gradients);
                gradients.for_each(|((what, found), expected)| check(what, found, expected));
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-6;
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = problem(shape(5, 2, 2, 3), 1.0, false);
    let loss = |problem: &Problem<f64>| -> f64 {
        let h = problem.solve(&cpu).h;
        h.iter().zip(&problem.d_h).map(|(h, d)| h * d).sum()
    };
    let found = problem.solve(&cpu);
    for (part, gradient) in found.gradients.iter().enumerate() {
        for (idx, &found) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut problem = problem.clone();
                match problem.inputs.get_mut(part) {
                    Some(input) => input[idx] += by,
                    None => problem.gates[idx] += by,
                }
                loss(&problem)
            };
            let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            assert!((found - expected).abs() < 1e-8, "{part}[{idx}]: {found} but {expected}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    for isa in Isa::available() {
        for shape in [shape(3, 1, 4, 40), shape(70, 3, 1, 64), shape(65, 5, 3, 17)] {
            let problem = problem(shape, 2.0, true).each(|x| x as f32);
            let expected = problem.solve(&Cpu::with_isa(isa, 1));
            for threads in [2, 3, 5] {
                let found = problem.solve(&Cpu::with_isa(isa, threads));
                assert!(found == expected, "{isa}, {threads} threads, {shape:?}");
            }
        }
    }
}

/// One call for a window and one for each step give the same outputs and the same last state.
#[test]
fn a_sequence_equals_repeated_steps() {
    for isa in Isa::available() {
        let whole = shape(130, 2, 2, 20);
        let cpu = Cpu::with_isa(isa, 2);
        let all = problem(whole, 2.0, true).each(|x| x as f32);
        let expected = all.solve(&cpu);
        let mut state = all.first.clone();
        let (width, gates) = (whole.sequence() / whole.time, whole.gates() / whole.time);
        for t in 0..whole.time {
            let cut = |values: &Vec<f32>| values[t * width..(t + 1) * width].to_vec();
            let step = Problem {
                shape: Shape { time: 1, ..whole },
                inputs: all.inputs.each_ref().map(cut),
                gates: all.gates[t * gates..(t + 1) * gates].to_vec(),
                first: state,
                d_h: cut(&all.d_h),
            };
            let found = step.solve(&cpu);
            let wide: Vec<f64> = cut(&expected.h).iter().map(|&x| x.into()).collect();
            assert!(distance(&found.h, &wide) < 1e-5, "{isa}: step {t}");
            state = found.last;
        }
        for (found, expected) in state.iter().zip(&expected.last) {
            let wide: Vec<f64> = expected.iter().map(|&x| x.into()).collect();
            assert!(distance(found, &wide) < 1e-5, "{isa}: the last state");
        }
    }
}

#[test]
fn gates_of_any_size_stay_finite() {
    for isa in Isa::available() {
        for scale in [50.0, 1000.0] {
            let problem = problem(shape(70, 2, 2, 18), scale, scale > 100.0);
            let found = problem.each(|x| x as f32).solve(&Cpu::with_isa(isa, 1));
            let values = found.last.iter().chain(&found.gradients).flatten().chain(&found.h);
            assert!(values.into_iter().all(|x| x.is_finite()), "{isa}, gates up to {scale}");
        }
    }
}

#[test]
fn nothing_is_found_where_nothing_is_asked_for_however_open_the_gates() {
    for isa in Isa::available() {
        let mut problem = problem(shape(70, 2, 2, 18), 1000.0, false);
        problem.inputs[0].fill(0.0);
        let found = problem.each(|x| x as f32).solve(&Cpu::with_isa(isa, 1));
        assert!(found.h.iter().all(|&x| x == 0.0), "{isa}");
        assert!(found.gradients.iter().flatten().all(|x| x.is_finite()), "{isa}");
    }
}

#[test]
#[should_panic(expected = "`gates` holds 15 values; 16 expected")]
fn a_wrong_size_is_refused() {
    let mut problem = problem(shape(2, 2, 2, 3), 1.0, true);
    problem.gates.pop();
    problem.solve(&Cpu::with_isa(Isa::Plain, 1));
}
