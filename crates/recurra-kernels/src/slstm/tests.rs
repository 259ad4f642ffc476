//! Every instruction set against the reference, the reference against finite differences, and the bits that may not change.

use super::*;
use crate::Isa;
use crate::recurrent::tests::values;

/// Everything that goes in, forward and backward.
#[derive(Clone)]
struct Problem<E> {
    shape: Shape,
    weight: Vec<E>,
    bias: Vec<E>,
    inputs: [Vec<E>; 2],
    /// h, c, n, m.
    first: [Vec<E>; 4],
    d_h: Vec<E>,
    /// Of h, c, n.
    d_last: [Vec<E>; 3],
}

/// Everything that comes out.
#[derive(Clone, Debug, PartialEq)]
struct Outcome<E> {
    /// (T+1, B, H) each: h, c, n, m.
    states: [Vec<E>; 4],
    d_gates: [Vec<E>; 2],
    d_first: [Vec<E>; 3],
}

fn map<A, B, const N: usize>(parts: &[Vec<A>; N], f: impl Fn(&[A]) -> Vec<B>) -> [Vec<B>; N] {
    parts.each_ref().map(|part| f(part))
}

impl<E: Element> Problem<E> {
    fn each<F: Element>(&self, f: impl Fn(E) -> F) -> Problem<F> {
        let all = |values: &[E]| values.iter().map(|&x| f(x)).collect();
        Problem {
            shape: self.shape,
            weight: all(&self.weight),
            bias: all(&self.bias),
            inputs: map(&self.inputs, all),
            first: map(&self.first, all),
            d_h: all(&self.d_h),
            d_last: map(&self.d_last, all),
        }
    }

    fn solve(&self, cpu: &Cpu) -> Outcome<E> {
        let shape = self.shape;
        let weights = HeadWeights::pack(cpu, &self.weight, shape.units);
        let mut d_gates = [(); 2].map(|()| vec![E::ZERO; 2 * shape.sequence()]);
        let mut states = self.first.clone();
        for part in &mut states {
            part.resize(shape.sequence() + shape.state(), E::ZERO);
        }
        let [h, c, n, m] = states.each_mut().map(Vec::as_mut_slice);
        let inputs = self.inputs.each_ref().map(Vec::as_slice);
        let gates = d_gates.each_mut().map(Vec::as_mut_slice);
        forward(cpu, shape, &weights, &self.bias, inputs, gates, States { h, c, n, m });
        let mut d_first = self.d_last.clone();
        let [h, c, n, m] = states.each_ref().map(Vec::as_slice);
        let d_last = d_first.each_mut().map(Vec::as_mut_slice);
        let gates = d_gates.each_mut().map(Vec::as_mut_slice);
        backward(cpu, shape, &weights, gates, States { h, c, n, m }, &self.d_h, d_last);
        Outcome { states, d_gates, d_first }
    }
}

/// Some state that a run could have left: c a part of n, which is at least 1; or that before the first step.
fn problem(shape: Shape, scale: f64, from_zero: bool) -> Problem<f64> {
    let (state, units) = (shape.state(), shape.units as f64);
    let mut first = [4, 5, 6, 7].map(|seed| values(seed, state, 0.9));
    let [_, c, n, m] = &mut first;
    for ((c, n), m) in c.iter_mut().zip(n).zip(m) {
        *n = f64::from((1.0 + 3.0 * n.abs()) as f32);
        *c = f64::from((*c * *n) as f32);
        *m *= 2.0;
    }
    if from_zero {
        first = std::array::from_fn(|_| vec![0.0; state]);
    }
    Problem {
        shape,
        weight: values(1, GATES * shape.hidden() * shape.units, 1.5 / units.sqrt()),
        bias: values(2, GATES * shape.hidden(), 1.0),
        inputs: [3, 9].map(|seed| values(seed, 2 * shape.sequence(), scale)),
        first,
        d_h: values(10, shape.sequence(), 1.0),
        d_last: [11, 12, 13].map(|seed| values(seed, state, 1.0)),
    }
}

fn shape(time: usize, batch: usize, heads: usize, units: usize) -> Shape {
    Shape { time, batch, heads, units }
}

/// Within 4·10⁻⁶ of one plus their size.
#[test]
fn every_instruction_set_agrees_with_the_reference() {
    let plain = Cpu::with_isa(Isa::Plain, 1);
    for units in [1, 5, 15, 16, 17, 33, 70] {
        for (time, batch, heads) in [(1, 1, 1), (2, 7, 1), (7, 1, 4), (5, 6, 3), (3, 20, 2)] {
            let problem = problem(shape(time, batch, heads, units), 2.0, batch == 6);
            let expected = problem.solve(&plain);
            for isa in Isa::available() {
                let found = problem.each(|x| x as f32).solve(&Cpu::with_isa(isa, 2));
                let check = |what: &str, found: &[f32], expected: &[f64]| {
                    for (idx, (&a, &b)) in found.iter().zip(expected).enumerate() {
                        let off = (f64::from(a) - b).abs() / (1.0 + b.abs());
                        assert!(off < 4e-6, "{isa} {:?} {what}[{idx}]: {a}, {b}", problem.shape);
                    }
                };
                let parts = ["h", "c", "n", "m"].iter().zip(&found.states).zip(&expected.states);
                parts.for_each(|((what, found), expected)| check(what, found, expected));
                check("d_gates", &found.d_gates.concat(), &expected.d_gates.concat());
                let parts = ["d_h", "d_c", "d_n"].iter().zip(&found.d_first).zip(&expected.d_first);
                parts.for_each(|((what, found), expected)| check(what, found, expected));
            }
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    const STEP: f64 = 1e-6;
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = problem(shape(4, 2, 2, 3), 1.5, false);
    let state = problem.shape.state();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let loss = |changed: &Problem<f64>| -> f64 {
        // Scaled back from the stabiliser it had: c and n of another m are other numbers for the same memory.
        let Outcome { states: [h, c, n, m], .. } = changed.solve(&cpu);
        let Outcome { states: [.., m_before], .. } = problem.solve(&cpu);
        let last = h.len() - state..;
        let scales = m[last.clone()].iter().zip(&m_before[last.clone()]);
        let scales: Vec<f64> = scales.map(|(m, before)| (m - before).exp()).collect();
        let scaled = |part: &[f64]| -> Vec<f64> {
            part[last.clone()].iter().zip(&scales).map(|(x, scale)| x * scale).collect()
        };
        let [d_h_last, d_c_last, d_n_last] = &problem.d_last;
        dot(&h[state..], &problem.d_h)
            + dot(&h[last.clone()], d_h_last)
            + dot(&scaled(&c), d_c_last)
            + dot(&scaled(&n), d_n_last)
    };
    let found = problem.solve(&cpu);
    let difference = |change: &dyn Fn(&mut Problem<f64>, f64)| {
        let shifted = |by: f64| {
            let mut problem = problem.clone();
            change(&mut problem, by);
            loss(&problem)
        };
        (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP)
    };
    let check = |what: &str, idx: usize, found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-8, "{what}[{idx}]: {found} but {expected}");
    };
    for (part, gradient) in found.d_gates.iter().enumerate() {
        for (idx, &found) in gradient.iter().enumerate() {
            let expected = difference(&|problem, by| problem.inputs[part][idx] += by);
            check("inputs", idx, found, expected);
        }
    }
    for (part, gradient) in found.d_first.iter().enumerate() {
        for (idx, &found) in gradient.iter().enumerate() {
            let expected = difference(&|problem, by| problem.first[part][idx] += by);
            check("first state", idx, found, expected);
        }
    }
}

#[test]
fn threads_change_nothing() {
    for isa in Isa::available() {
        for shape in [shape(3, 1, 4, 40), shape(4, 7, 1, 64), shape(3, 20, 3, 33)] {
            let problem = problem(shape, 2.0, true).each(|x| x as f32);
            let expected = problem.solve(&Cpu::with_isa(isa, 1));
            for threads in [2, 3, 5] {
                let found = problem.solve(&Cpu::with_isa(isa, threads));
                assert!(found == expected, "{isa}, {threads} threads, {shape:?}");
            }
        }
    }
}

#[test]
fn a_sequence_may_be_cut() {
    for isa in Isa::available() {
        let (whole, cut) = (shape(7, 5, 2, 17), 3);
        let cpu = Cpu::with_isa(isa, 2);
        let all = problem(whole, 2.0, true).each(|x| x as f32);
        let expected = all.solve(&cpu);
        let state = whole.state();
        let part = |from: usize, to: usize| Problem {
            shape: Shape { time: to - from, ..whole },
            inputs: map(&all.inputs, |a| a[2 * from * state..2 * to * state].to_vec()),
            d_h: all.d_h[from * state..to * state].to_vec(),
            ..all.clone()
        };
        // The second part starts where the first ends, and the gradients of the first where those of the second end.
        let mut second = part(cut, whole.time);
        second.first = map(&part(0, cut).solve(&cpu).states, |s| s[cut * state..].to_vec());
        let second = second.solve(&cpu);
        let mut first = part(0, cut);
        first.d_last = second.d_first.clone();
        let first = first.solve(&cpu);
        for (idx, expected) in expected.states.iter().enumerate() {
            let joined = [&first.states[idx][..], &second.states[idx][state..]].concat();
            assert!(joined == *expected, "{isa}: part {idx} of the state");
        }
        for (idx, expected) in expected.d_gates.iter().enumerate() {
            let joined = [&first.d_gates[idx][..], &second.d_gates[idx]].concat();
            assert!(joined == *expected, "{isa}: gradients of half {idx} of the gates");
        }
        assert!(first.d_first == expected.d_first, "{isa}");
    }
}

#[test]
fn gates_of_any_size_stay_finite() {
    for isa in Isa::available() {
        for scale in [50.0, 1000.0] {
            for from_zero in [false, true] {
                let mut problem = problem(shape(6, 3, 2, 18), scale, from_zero);
                for (idx, value) in problem.inputs.iter_mut().flatten().enumerate() {
                    *value = if idx % 3 == 0 { scale } else { *value };
                }
                let found = problem.each(|x| x as f32).solve(&Cpu::with_isa(isa, 1));
                let values = found.states.iter().chain(&found.d_first).chain(&found.d_gates);
                assert!(values.flatten().all(|x| x.is_finite()), "{isa}");
                let h = &found.states[0][problem.shape.state()..];
                assert!(h.iter().all(|h| h.abs() < 1.001), "{isa}: a weighted mean is within 1");
            }
        }
    }
}

#[test]
#[should_panic(expected = "`d_last` holds 11 values; 12 expected")]
fn a_wrong_size_is_refused() {
    let mut problem = problem(shape(2, 2, 2, 3), 1.0, true);
    problem.d_last[1].pop();
    problem.solve(&Cpu::with_isa(Isa::Plain, 1));
}
