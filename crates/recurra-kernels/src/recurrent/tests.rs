//! One set of checks for all cells; each cell's folder runs them.

use super::{RecurrentWeight, Shape};
use crate::{Cpu, Element, Isa};

/// Everything that goes into a cell, forward and backward.
#[derive(Clone)]
pub(crate) struct Problem<E> {
    pub shape: Shape,
    /// (G·H, H)
    pub weight_hh: Vec<E>,
    /// (H); only the GRU has it.
    pub bias_hn: Vec<E>,
    /// (T, B, G·H): what comes from the inputs.
    pub pre_activations: Vec<E>,
    /// (B, H) each
    pub h_first: Vec<E>,
    pub c_first: Vec<E>,
    /// (T, B, H)
    pub d_h: Vec<E>,
    /// (B, H) each
    pub d_h_last: Vec<E>,
    pub d_c_last: Vec<E>,
}

/// Everything that comes out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome<E> {
    /// (T+1, B, H) each; `c` is empty where the cell has none.
    pub h: Vec<E>,
    pub c: Vec<E>,
    /// (T, B, ·): the gradients of what comes from the inputs, and whatever else has that shape.
    pub d_pre_activations: Vec<E>,
    pub d_others: Vec<E>,
    /// (B, H) each
    pub d_h_first: Vec<E>,
    pub d_c_first: Vec<E>,
}

/// A cell as the checks see it.
pub(crate) trait Cell {
    const GATES: usize;
    /// Whether the cell's state has a c.
    const HAS_C: bool;
    /// Forward and backward through the public functions.
    fn run<E: Element>(cpu: &Cpu, weight: &RecurrentWeight<E>, problem: &Problem<E>) -> Outcome<E>;
}

/// Reproducible values in −1..1 (the mixing function of SplitMix64).
pub(crate) fn values(seed: u64, n: usize, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    // Rounded to `f32`, so that both precisions solve the same problem.
    (0..n).map(|_| f64::from((scale * next()) as f32)).collect()
}

impl Problem<f64> {
    pub fn random<C: Cell>(shape: Shape, scale: f64) -> Self {
        let Shape { time, batch, hidden } = shape;
        let state = batch * hidden;
        let weight_scale = 1.5 / (hidden as f64).sqrt();
        Self {
            shape,
            weight_hh: values(1, C::GATES * hidden * hidden, weight_scale),
            bias_hn: values(2, hidden, 0.5),
            pre_activations: values(3, time * state * C::GATES, scale),
            h_first: values(4, state, 0.9),
            c_first: values(5, state, 1.5),
            d_h: values(6, time * state, 1.0),
            d_h_last: values(7, state, 1.0),
            d_c_last: values(8, state, 1.0),
        }
    }

    fn to_f32(&self) -> Problem<f32> {
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect();
        Problem {
            shape: self.shape,
            weight_hh: narrow(&self.weight_hh),
            bias_hn: narrow(&self.bias_hn),
            pre_activations: narrow(&self.pre_activations),
            h_first: narrow(&self.h_first),
            c_first: narrow(&self.c_first),
            d_h: narrow(&self.d_h),
            d_h_last: narrow(&self.d_h_last),
            d_c_last: narrow(&self.d_c_last),
        }
    }

    /// The problem of some rows of the batch alone.
    fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let Shape { batch, hidden, .. } = self.shape;
        let n_gates = self.weight_hh.len() / (hidden * hidden);
        let cut = |values: &[f64], width: usize| -> Vec<f64> {
            let steps = values.chunks_exact(batch * width);
            steps.flat_map(|step| &step[rows.start * width..rows.end * width]).copied().collect()
        };
        Self {
            shape: Shape { batch: rows.len(), ..self.shape },
            pre_activations: cut(&self.pre_activations, n_gates * hidden),
            h_first: cut(&self.h_first, hidden),
            c_first: cut(&self.c_first, hidden),
            d_h: cut(&self.d_h, hidden),
            d_h_last: cut(&self.d_h_last, hidden),
            d_c_last: cut(&self.d_c_last, hidden),
            ..self.clone()
        }
    }
}

/// (T+1, B, H): the first state, and room for those to come.
pub(crate) fn states_from<E: Element>(shape: Shape, first: Vec<E>) -> Vec<E> {
    let mut states = first;
    states.resize(shape.sequence(shape.hidden) + shape.state(), E::ZERO);
    states
}

/// Runs a problem, packing its weight first.
pub(crate) fn solve<C: Cell, E: Element>(cpu: &Cpu, problem: &Problem<E>) -> Outcome<E> {
    let hidden = problem.shape.hidden;
    C::run(cpu, &RecurrentWeight::pack(cpu, &problem.weight_hh, hidden, C::GATES), problem)
}

/// The largest |a − b| / (1 + |b|).
fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - b).abs() / (1.0 + b.abs()));
    off.inspect(|off| assert!(off.is_finite())).fold(0.0, f64::max)
}

fn reference_cpu() -> Cpu {
    Cpu::with_isa(Isa::Plain, 1)
}

const SIZES: [usize; 9] = [1, 5, 15, 16, 17, 31, 33, 64, 130];
const BATCHES: [usize; 6] = [1, 2, 5, 6, 7, 20];
const TIMES: [usize; 3] = [1, 2, 7];

/// Every instruction set of this machine against the reference in `f64`: all values and gradients within 2·10⁻⁶ of one plus
/// their size (8·10⁻⁷ measured).
pub(crate) fn agrees_with_the_reference<C: Cell>() {
    for hidden in SIZES {
        for batch in BATCHES {
            for time in TIMES {
                let shape = Shape { time, batch, hidden };
                let problem = Problem::random::<C>(shape, 2.0);
                let expected = solve::<C, f64>(&reference_cpu(), &problem);
                for isa in Isa::available() {
                    let found = solve::<C, f32>(&Cpu::with_isa(isa, 1), &problem.to_f32());
                    let check = |what: &str, found: &[f32], expected: &[f64]| {
                        let distance = distance(found, expected);
                        assert!(distance < 2e-6, "{isa} {shape:?}: {what} off by {distance:e}");
                    };
                    check("h", &found.h, &expected.h);
                    check("c", &found.c, &expected.c);
                    let (a, b) = (&found.d_pre_activations, &expected.d_pre_activations);
                    check("d_pre_activations", a, b);
                    check("d_others", &found.d_others, &expected.d_others);
                    check("d_h_first", &found.d_h_first, &expected.d_h_first);
                    check("d_c_first", &found.d_c_first, &expected.d_c_first);
                }
            }
        }
    }
}

/// The reference's gradients against central differences of its own forward pass in `f64`.
pub(crate) fn gradients_are_finite_differences<C: Cell>() {
    const STEP: f64 = 1e-6;
    let shape = Shape { time: 3, batch: 2, hidden: 5 };
    let cpu = reference_cpu();
    let problem = Problem::random::<C>(shape, 1.0);
    let state = shape.state();
    let loss = |problem: &Problem<f64>| -> f64 {
        let outcome = solve::<C, f64>(&cpu, problem);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let n = outcome.h.len();
        dot(&outcome.h[state..], &problem.d_h)
            + dot(&outcome.h[n - state..], &problem.d_h_last)
            + if C::HAS_C { dot(&outcome.c[n - state..], &problem.d_c_last) } else { 0.0 }
    };
    let found = solve::<C, f64>(&cpu, &problem);
    type Field = fn(&mut Problem<f64>) -> &mut Vec<f64>;
    let mut fields: Vec<(&str, Field, &[f64])> = vec![
        ("pre_activations", |p| &mut p.pre_activations, &found.d_pre_activations),
        ("h_first", |p| &mut p.h_first, &found.d_h_first),
    ];
    if C::HAS_C {
        fields.push(("c_first", |p| &mut p.c_first, &found.d_c_first));
    }
    for (name, field, gradient) in fields {
        for (idx, found) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut problem = problem.clone();
                field(&mut problem)[idx] += by;
                loss(&problem)
            };
            let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            let difference = (found - expected).abs();
            assert!(difference < 1e-8, "{name}[{idx}]: {found} but {expected}");
        }
    }
}

/// The bits are the same for 1, 2, 3 and 5 threads.
pub(crate) fn threads_change_nothing<C: Cell>() {
    for isa in Isa::available() {
        for (time, batch, hidden) in
            [(3, 1, 130), (4, 7, 64), (3, 20, 90), (2, 3, 200), (5, 120, 33)]
        {
            let problem = Problem::random::<C>(Shape { time, batch, hidden }, 2.0).to_f32();
            let expected = solve::<C, f32>(&Cpu::with_isa(isa, 1), &problem);
            for threads in [2, 3, 5] {
                let found = solve::<C, f32>(&Cpu::with_isa(isa, threads), &problem);
                assert!(found == expected, "{isa}, {threads} threads, {:?}", problem.shape);
            }
        }
    }
}

/// A sequence in one call has the bits of the same sequence in two, forward and backward.
pub(crate) fn a_sequence_may_be_cut<C: Cell>() {
    for isa in Isa::available() {
        for (time, batch, hidden, cut) in [(7, 3, 17, 3), (4, 20, 70, 1), (2, 1, 130, 1)] {
            let shape = Shape { time, batch, hidden };
            let cpu = Cpu::with_isa(isa, 2);
            let whole = Problem::random::<C>(shape, 2.0).to_f32();
            let expected = solve::<C, f32>(&cpu, &whole);
            let state = shape.state();

            let part = |from: usize, to: usize| Problem {
                shape: Shape { time: to - from, ..shape },
                pre_activations: whole.pre_activations
                    [from * state * C::GATES..to * state * C::GATES]
                    .to_vec(),
                d_h: whole.d_h[from * state..to * state].to_vec(),
                ..whole.clone()
            };
            let after_state =
                |values: &[f32]| values.get(cut * state..(cut + 1) * state).map(<[f32]>::to_vec);
            let mut second = part(cut, time);
            // The second part starts where the first ends …
            let first_states = solve::<C, f32>(&cpu, &part(0, cut));
            second.h_first = after_state(&first_states.h).unwrap_or_default();
            second.c_first = after_state(&first_states.c).unwrap_or_default();
            let second = solve::<C, f32>(&cpu, &second);
            // … and the gradients of the first start where those of the second end.
            let mut first = part(0, cut);
            first.d_h_last = second.d_h_first.clone();
            first.d_c_last = second.d_c_first.clone();
            let first = solve::<C, f32>(&cpu, &first);

            let join = |first: &[f32], second: &[f32]| [first, second].concat();
            let h = join(&first.h, &second.h[state..]);
            assert!(h == expected.h, "{isa}: h of {shape:?}");
            let d = join(&first.d_pre_activations, &second.d_pre_activations);
            assert!(d == expected.d_pre_activations, "{isa}: gradients of {shape:?}");
            assert!(first.d_h_first == expected.d_h_first, "{isa}: d_h_first of {shape:?}");
            assert!(first.d_c_first == expected.d_c_first, "{isa}: d_c_first of {shape:?}");
        }
    }
}

/// The bits of a row do not depend on the rows beside it.
pub(crate) fn rows_are_alone<C: Cell>() {
    for isa in Isa::available() {
        let shape = Shape { time: 3, batch: 13, hidden: 70 };
        let all = Problem::random::<C>(shape, 2.0);
        let cpu = Cpu::with_isa(isa, 2);
        let expected = solve::<C, f32>(&cpu, &all.to_f32());
        for rows in [0..1, 4..6, 12..13, 5..12] {
            let found = solve::<C, f32>(&cpu, &all.rows(rows.clone()).to_f32());
            let same = |found: &[f32], expected: &[f32], width: usize| {
                let parts = expected.chunks_exact(shape.batch * width);
                found.iter().eq(parts.flat_map(|step| &step[rows.start * width..rows.end * width]))
            };
            let hidden = shape.hidden;
            assert!(same(&found.h, &expected.h, hidden), "{isa}: h of {rows:?}");
            assert!(same(&found.d_h_first, &expected.d_h_first, hidden), "{isa}: d_h of {rows:?}");
            let (a, b) = (&found.d_pre_activations, &expected.d_pre_activations);
            assert!(same(a, b, C::GATES * hidden), "{isa}: gradients of {rows:?}");
        }
    }
}

/// Pre-activations of ±50 and beyond give finite values and gradients.
pub(crate) fn saturated_gates_stay_finite<C: Cell>() {
    for isa in Isa::available() {
        let shape = Shape { time: 6, batch: 3, hidden: 33 };
        for scale in [50.0, 1000.0] {
            let mut problem = Problem::random::<C>(shape, scale);
            for (idx, value) in problem.pre_activations.iter_mut().enumerate() {
                *value = if idx % 3 == 0 { scale } else { *value };
            }
            let outcome = solve::<C, f32>(&Cpu::with_isa(isa, 1), &problem.to_f32());
            let Outcome { h, c, d_pre_activations, d_others, d_h_first, d_c_first } = outcome;
            for values in [h, c, d_pre_activations, d_others, d_h_first, d_c_first] {
                assert!(values.iter().all(|x| x.is_finite()), "{isa}");
            }
        }
    }
}

/// Sizes that disagree are refused, with both in the message.
pub(crate) fn a_wrong_size_is_refused<C: Cell>() {
    let mut problem = Problem::random::<C>(Shape { time: 2, batch: 2, hidden: 3 }, 1.0);
    problem.d_h_last.pop();
    let refused = std::panic::catch_unwind(|| solve::<C, f64>(&reference_cpu(), &problem));
    let panic = refused.expect_err("a wrong size was accepted");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("`d_h_last` holds 5 values; 6 expected"), "{message}");
}

/// The tests every cell runs.
macro_rules! cell_tests {
    ($cell:ty) => {
        #[test]
        fn agrees_with_the_reference() {
            crate::recurrent::tests::agrees_with_the_reference::<$cell>();
        }
        #[test]
        fn gradients_are_finite_differences() {
            crate::recurrent::tests::gradients_are_finite_differences::<$cell>();
        }
        #[test]
        fn threads_change_nothing() {
            crate::recurrent::tests::threads_change_nothing::<$cell>();
        }
        #[test]
        fn a_sequence_may_be_cut() {
            crate::recurrent::tests::a_sequence_may_be_cut::<$cell>();
        }
        #[test]
        fn rows_are_alone() {
            crate::recurrent::tests::rows_are_alone::<$cell>();
        }
        #[test]
        fn saturated_gates_stay_finite() {
            crate::recurrent::tests::saturated_gates_stay_finite::<$cell>();
        }
        #[test]
        fn a_wrong_size_is_refused() {
            crate::recurrent::tests::a_wrong_size_is_refused::<$cell>();
        }
    };
}
pub(crate) use cell_tests;
