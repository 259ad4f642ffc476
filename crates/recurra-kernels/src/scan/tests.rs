//! Every cell on every instruction set against the plain loops in `f64`, and those against finite differences.

use super::*;
use crate::recurrent::tests::values;
use crate::{Isa, Precision};

const CELLS: [ScanCell; 5] = [
    ScanCell::MinGru,
    ScanCell::MinLstm,
    ScanCell::Qrnn,
    ScanCell::Sru { scale: 1.5, is_projected: true },
    ScanCell::Sru { scale: 1.5, is_projected: false },
];

/// Everything that goes into a scan, forward and backward.
#[derive(Clone)]
struct Problem<E> {
    cell: ScanCell,
    shape: Shape,
    gates: Vec<E>,
    vectors: Vec<E>,
    x: Vec<E>,
    first: Vec<E>,
    d_out: Vec<E>,
    d_last: Vec<E>,
}

/// Everything that comes out.
#[derive(Clone, Debug, PartialEq)]
struct Outcome<E> {
    memory: Vec<E>,
    out: Vec<E>,
    d_gates: Vec<E>,
    d_first: Vec<E>,
    d_x: Vec<E>,
    d_vectors: Vec<E>,
}

impl Problem<f64> {
    fn random(cell: ScanCell, shape: Shape, scale: f64) -> Self {
        let Shape { time, batch, hidden } = shape;
        let state = batch * hidden;
        let x_len = if cell.reads_x() { time * state } else { 0 };
        Self {
            cell,
            shape,
            gates: values(1, time * state * cell.n_gates(), scale),
            vectors: values(2, hidden * cell.n_vectors(), 0.9),
            x: values(3, x_len, 1.2),
            first: values(4, state, 1.5),
            d_out: values(5, time * state, 1.0),
            d_last: values(6, state, 1.0),
        }
    }

    fn rounded(&self) -> Problem<f32> {
        let round = |values: &[f64]| values.iter().map(|&x| x as f32).collect();
        Problem {
            cell: self.cell,
            shape: self.shape,
            gates: round(&self.gates),
            vectors: round(&self.vectors),
            x: round(&self.x),
            first: round(&self.first),
            d_out: round(&self.d_out),
            d_last: round(&self.d_last),
        }
    }
}

impl<E: Element> Problem<E> {
    fn run(&self, cpu: &Cpu) -> Outcome<E> {
        let Shape { batch, hidden, .. } = self.shape;
        let (cell, shape) = (self.cell, self.shape);
        let given = Given { vectors: &self.vectors, x: &self.x };
        let mut gates = self.gates.clone();
        let mut memory = self.first.clone();
        memory.resize(self.first.len() + shape.sequence(hidden), E::ZERO);
        let out_len = if cell.hands_up_memory() { 0 } else { shape.sequence(hidden) };
        let mut out = vec![E::ZERO; out_len];
        forward(cpu, cell, shape, given, &mut gates, &mut memory, &mut out);
        let mut d_first = self.d_last.clone();
        let mut d_x = vec![E::ZERO; self.x.len()];
        let mut d_vectors = vec![E::ZERO; batch * self.vectors.len()];
        backward(
            cpu,
            cell,
            shape,
            given,
            &mut gates,
            &memory,
            &self.d_out,
            &mut d_first,
            &mut d_x,
            &mut d_vectors,
        );
        Outcome { memory, out, d_gates: gates, d_first, d_x, d_vectors }
    }
}

impl<E: Element> Outcome<E> {
    fn parts(&self) -> [(&'static str, &[E]); 6] {
        [
            ("memory", &self.memory),
            ("out", &self.out),
            ("d_gates", &self.d_gates),
            ("d_first", &self.d_first),
            ("d_x", &self.d_x),
            ("d_vectors", &self.d_vectors),
        ]
    }

    /// d_out·h + d_last·(last memory), whose gradients a scan finds.
    fn loss(&self, problem: &Problem<E>) -> E {
        let state = problem.first.len();
        let h = if self.out.is_empty() { &self.memory[state..] } else { &self.out[..] };
        let last = &self.memory[self.memory.len() - state..];
        let dot = |a: &[E], b: &[E]| a.iter().zip(b).map(|(&a, &b)| a * b).sum::<E>();
        dot(h, &problem.d_out) + dot(last, &problem.d_last)
    }
}

#[track_caller]
fn check(problem: &Problem<f64>, isa: Isa) {
    let exact = problem.run(&Cpu::with_isa(Isa::Plain, 1));
    let outcomes = [1, 2, 3].map(|threads| problem.rounded().run(&Cpu::with_isa(isa, threads)));
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{isa}: threads change bits");
    let (cell, shape) = (problem.cell, problem.shape);
    // The quick functions are off by 2·10⁻⁶.
    let tolerance = if isa.precision() == Precision::Bf16 { 3e-5 } else { 5e-6 };
    for ((name, got), (_, exact)) in outcomes[0].parts().into_iter().zip(exact.parts()) {
        for (idx, (&got, &exact)) in got.iter().zip(exact).enumerate() {
            let error = (f64::from(got) - exact).abs() / exact.abs().max(1.0);
            assert!(
                error < tolerance,
                "{isa}, {cell:?}, {shape:?}: `{name}` {got} for {exact} at {idx}"
            );
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_plain_loops() {
    for isa in Isa::available() {
        for cell in CELLS {
            for hidden in [1, 3, 8, 15, 16, 17, 255, 257] {
                for (time, batch) in [(1, 1), (4, 3)] {
                    check(&Problem::random(cell, Shape { time, batch, hidden }, 2.0), isa);
                }
            }
            check(&Problem::random(cell, Shape { time: 9, batch: 4, hidden: 600 }, 2.0), isa);
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    const EPSILON: f64 = 1e-6;
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    for cell in CELLS {
        let problem = Problem::random(cell, Shape { time: 4, batch: 2, hidden: 3 }, 1.0);
        let outcome = problem.run(&cpu);
        let hidden = problem.shape.hidden;
        let mut d_vectors = vec![0.0; problem.vectors.len()];
        for row in outcome.d_vectors.chunks(d_vectors.len().max(1)) {
            d_vectors.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        type Part = fn(&mut Problem<f64>) -> &mut Vec<f64>;
        let parts: [(&str, Part, &[f64]); 4] = [
            ("gates", |problem| &mut problem.gates, &outcome.d_gates),
            ("vectors", |problem| &mut problem.vectors, &d_vectors),
            ("x", |problem| &mut problem.x, &outcome.d_x),
            ("first", |problem| &mut problem.first, &outcome.d_first),
        ];
        for (name, part, gradients) in parts {
            assert_eq!(part(&mut problem.clone()).len(), gradients.len(), "{name}, H {hidden}");
            for (idx, &gradient) in gradients.iter().enumerate() {
                let loss_at = |shift: f64| {
                    let mut problem = problem.clone();
                    part(&mut problem)[idx] += shift;
                    problem.run(&cpu).loss(&problem)
                };
                let difference = (loss_at(EPSILON) - loss_at(-EPSILON)) / (2.0 * EPSILON);
                assert!(
                    (gradient - difference).abs() < 1e-8,
                    "{cell:?}: `{name}` {gradient} for {difference} at {idx}"
                );
            }
        }
    }
}

#[test]
fn a_sequence_may_be_cut() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for cell in CELLS {
            let shape = Shape { time: 5, batch: 3, hidden: 19 };
            let whole = Problem::random(cell, shape, 2.0).rounded();
            let expected = whole.run(&cpu);
            let (cut, state) = (2, shape.state());
            let half = |steps: std::ops::Range<usize>, first: &[f32]| {
                let part = |values: &[f32], width: usize| {
                    let width = width * shape.batch;
                    values[(steps.start * width).min(values.len())..]
                        [..(steps.len() * width).min(values.len())]
                        .to_vec()
                };
                Problem {
                    shape: Shape { time: steps.len(), ..shape },
                    gates: part(&whole.gates, cell.n_gates() * shape.hidden),
                    x: part(&whole.x, shape.hidden),
                    d_out: part(&whole.d_out, shape.hidden),
                    first: first.to_vec(),
                    ..whole.clone()
                }
            };
            let before = half(0..cut, &whole.first).run(&cpu);
            let after = half(cut..shape.time, &before.memory[cut * state..]).run(&cpu);
            assert_eq!(before.memory, expected.memory[..(cut + 1) * state], "{isa}, {cell:?}");
            assert_eq!(after.memory, expected.memory[cut * state..], "{isa}, {cell:?}");
            let later_gates = cut * state * cell.n_gates();
            assert_eq!(after.d_gates, expected.d_gates[later_gates..], "{isa}, {cell:?}");
        }
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
#[should_panic(expected = "18446744073709551615 expected for T = 4611686018427387904, B = 4")]
fn sizes_that_no_memory_has_are_refused() {
    let shape = Shape { time: 1 << 62, batch: 4, hidden: 1 };
    let given = Given::<f32> { vectors: &[], x: &[] };
    forward(
        &Cpu::with_isa(Isa::Plain, 1),
        ScanCell::MinGru,
        shape,
        given,
        &mut [],
        &mut [0.0; 4],
        &mut [],
    );
}

#[test]
fn saturated_gates_stay_finite() {
    for isa in Isa::available() {
        for cell in CELLS {
            for sign in [1.0, -1.0] {
                let shape = Shape { time: 3, batch: 2, hidden: 17 };
                let mut problem = Problem::random(cell, shape, 1.0).rounded();
                problem.gates.iter_mut().for_each(|a| *a = a.abs() * 1000.0 * sign);
                let outcome = problem.run(&Cpu::with_isa(isa, 1));
                for (name, values) in outcome.parts() {
                    assert!(values.iter().all(|x| x.is_finite()), "{isa}, {cell:?}: `{name}`");
                }
            }
        }
    }
}

#[test]
fn two_gates_of_a_min_lstm_that_are_all_but_shut_still_share() {
    for a in [-20.0, -50.0, -75.0, -80.0] {
        let problem = Problem {
            cell: ScanCell::MinLstm,
            shape: Shape { time: 1, batch: 1, hidden: 1 },
            gates: vec![a, a + 1.0, -0.5],
            vectors: vec![],
            x: vec![],
            first: vec![1.5],
            d_out: vec![1.0],
            d_last: vec![0.0],
        };
        let expected = problem.run(&Cpu::with_isa(Isa::Plain, 1));
        for isa in Isa::available().into_iter().filter(|isa| isa.precision() == Precision::F32) {
            let found = problem.rounded().run(&Cpu::with_isa(isa, 1));
            for ((name, found), (_, expected)) in found.parts().into_iter().zip(expected.parts()) {
                for (&found, &expected) in found.iter().zip(expected) {
                    let error = (f64::from(found) - expected).abs();
                    assert!(error < 1e-5, "{isa}, {a}, `{name}`: {found} for {expected}");
                }
            }
        }
    }
}

/// Two steps of one unit of each cell, written out from the papers' equations.
#[test]
fn two_steps_follow_the_equations() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let a = [[0.3, -0.8, 0.6, 0.9], [-1.1, 0.7, -0.2, -0.4]];
    let (v_f, v_r, scale, first) = (0.5, -0.7, 1.5, 0.25);
    for cell in CELLS {
        let mut memory = first;
        let mut expected = Vec::new();
        for [p, q, s, x] in a {
            let h = match cell {
                ScanCell::MinGru => {
                    let z = sigmoid(p);
                    memory = (1.0 - z) * memory + z * q;
                    memory
                }
                ScanCell::MinLstm => {
                    let (f, i) = (sigmoid(p), sigmoid(q));
                    memory = f / (f + i) * memory + i / (f + i) * s;
                    memory
                }
                ScanCell::Qrnn => {
                    memory = sigmoid(q) * memory + (1.0 - sigmoid(q)) * p.tanh();
                    sigmoid(s) * memory
                }
                ScanCell::Sru { .. } => {
                    let (f, r) = (sigmoid(q + v_f * memory), sigmoid(s + v_r * memory));
                    memory = f * memory + (1.0 - f) * p;
                    r * memory + (1.0 - r) * x * scale
                }
            };
            expected.push(h);
        }
        let x = if cell.reads_x() { a.map(|a| a[3]).to_vec() } else { Vec::new() };
        let problem = Problem {
            cell,
            shape: Shape { time: 2, batch: 1, hidden: 1 },
            gates: a.iter().flat_map(|a| a[..cell.n_gates()].to_vec()).collect(),
            vectors: [v_f, v_r][..cell.n_vectors()].to_vec(),
            x,
            first: vec![first],
            d_out: vec![0.0; 2],
            d_last: vec![0.0],
        };
        let outcome = problem.run(&Cpu::with_isa(Isa::Plain, 1));
        let h = if outcome.out.is_empty() { &outcome.memory[1..] } else { &outcome.out[..] };
        for (got, expected) in h.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-14, "{cell:?}: {got} for {expected}");
        }
    }
}

#[test]
#[should_panic(expected = "`gates` holds 5 values; 6 expected for T = 1, B = 1, H = 2")]
fn a_wrong_size_is_refused() {
    let given = Given { vectors: &[], x: &[] };
    let shape = Shape { time: 1, batch: 1, hidden: 2 };
    let (memory, out) = (&mut [0.0_f32; 4], &mut [0.0; 2]);
    forward(
        &Cpu::with_isa(Isa::Plain, 1),
        ScanCell::Qrnn,
        shape,
        given,
        &mut [0.0; 5],
        memory,
        out,
    );
}
