//! Every path against the definition, that against finite differences, and windows against single positions.

use super::*;

/// A value for each place, without a pattern.
fn value(idx: usize, seed: usize) -> f64 {
    let mixed = ((idx * 8 + seed) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1 << 23) as f64
        - 1.0
}

fn values<E: Element>(n: usize, seed: usize) -> Vec<E> {
    (0..n).map(|idx| E::from_f64(value(idx, seed))).collect()
}

/// A window, and what is remembered before it.
#[derive(Clone, Copy, Debug)]
struct Case {
    attention: Attention,
    shape: Shape,
    /// The length of stream 0; each other is one longer.
    length: usize,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for positions in [Positions::Rotary, Positions::Learned] {
        for (heads, size, context, time, batch, length) in [
            (1, 1, 1, 1, 1, 0),
            (1, 1, 3, 5, 2, 1),
            (2, 5, 4, 11, 2, 3),
            (3, 8, 16, 7, 2, 20),
            (2, 17, 33, 34, 1, 40),
            (1, 32, 40, 33, 2, 0),
            (2, 16, 31, 70, 1, 30),
            (1, 64, 100, 130, 1, 77),
        ] {
            let attention = Attention { heads, context, positions };
            let shape = Shape { time, batch, width: heads * size };
            let length = match positions {
                Positions::Rotary => length,
                Positions::Learned => length % context,
            };
            cases.push(Case { attention, shape, length });
        }
    }
    cases
}

/// o, log sums and d_qkv of a window; the memory after it.
#[derive(Clone, Debug, PartialEq)]
struct Found<E> {
    out: Vec<E>,
    logs: Vec<E>,
    d_qkv: Vec<E>,
    memory: [Vec<E>; 3],
}

impl Case {
    fn memory<E: Element>(&self) -> [Vec<E>; 3] {
        let Shape { batch, width, .. } = self.shape;
        let n = batch * self.attention.context * width;
        let lengths = (0..batch).map(|b| E::from_f64((self.length + b) as f64)).collect();
        [values(n, 2), values(n, 3), lengths]
    }

    fn qkv<E: Element>(&self) -> Vec<E> {
        values(self.shape.time * self.shape.batch * 3 * self.shape.width, 1)
    }

    fn run<E: Element>(&self, cpu: &Cpu) -> Found<E> {
        let &Self { attention, shape, .. } = self;
        let rows = shape.time * shape.batch;
        let (qkv, mut memory) = (self.qkv::<E>(), self.memory::<E>());
        let [keys, values_, lengths] = &memory;
        let before = Memory { keys, values: values_, lengths };
        let mut out = vec![E::from_f64(9.0); rows * shape.width];
        let mut logs = vec![E::ZERO; rows * attention.heads];
        forward(cpu, attention, shape, &qkv, before, &mut out, Some(&mut logs));
        let mut d_qkv = vec![E::from_f64(9.0); qkv.len()];
        let d_out = values(out.len(), 4);
        let outcome = Outcome { out: &out, logs: &logs, d_out: &d_out };
        backward(cpu, attention, shape, &qkv, before, outcome, &mut d_qkv);
        remember(cpu, attention, shape, &qkv, memory.each_mut().map(Vec::as_mut_slice));
        Found { out, logs, d_qkv, memory }
    }
}

#[track_caller]
fn assert_near<E: Element>(found: &[E], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f64, |max, x| max.max(x.abs()));
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found.to_f64() - expected).abs() <= tolerance * largest,
            "{what} at {idx}: {found} for {expected}"
        );
    }
}

#[test]
fn every_shape_agrees_with_the_definition_and_with_any_number_of_threads() {
    for isa in Isa::available() {
        let tolerance = match isa.precision() {
            Precision::F32 => 1e-5,
            Precision::Bf16 => 0.03,
        };
        let cpus = [1, 2, 3].map(|threads| Cpu::with_isa(isa, threads));
        for case in cases() {
            let expected = case.run::<f64>(&cpus[0]);
            let [first, others @ ..] = cpus.each_ref().map(|cpu| case.run::<f32>(cpu));
            assert!(others.iter().all(|other| *other == first), "{isa} {case:?}");
            let near = |found: &[f32], expected: &[f64], what: &str| {
                assert_near(found, expected, tolerance, &format!("{isa} {case:?}: {what}"));
            };
            near(&first.out, &expected.out, "out");
            near(&first.logs, &expected.logs, "logs");
            near(&first.d_qkv, &expected.d_qkv, "d_qkv");
            for (found, expected) in first.memory.iter().zip(&expected.memory) {
                near(found, expected, "memory");
            }
        }
    }
}

#[test]
fn the_gradient_is_the_slope() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    for case in cases().into_iter().filter(|case| case.shape.time * case.shape.width < 200) {
        let Case { attention, shape, .. } = case;
        let memory = case.memory::<f64>();
        let [keys, values_, lengths] = &memory;
        let memory = Memory { keys, values: values_, lengths };
        let d_qkv = case.run::<f64>(&cpu).d_qkv;
        let mut qkv = case.qkv::<f64>();
        let d_out = values::<f64>(qkv.len() / 3, 4);
        let loss = |qkv: &[f64]| -> f64 {
            let mut out = vec![0.0; d_out.len()];
            forward(&cpu, attention, shape, qkv, memory, &mut out, None);
            out.iter().zip(&d_out).map(|(out, d)| out * d).sum()
        };
        for idx in (0..qkv.len()).step_by(1 + qkv.len() / 60) {
            let before = qkv[idx];
            qkv[idx] = before + 1e-6;
            let above = loss(&qkv);
            qkv[idx] = before - 1e-6;
            let slope = (above - loss(&qkv)) / 2e-6;
            qkv[idx] = before;
            assert!((slope - d_qkv[idx]).abs() < 1e-7, "{case:?} at {idx}: {slope} {}", d_qkv[idx]);
        }
    }
}

/// Position by position, from the ring, what a window gives at once; over the end of a round and of the second.
#[test]
fn a_window_equals_single_positions() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for case in cases() {
            let Case { attention, shape, .. } = case;
            let whole = case.run::<f32>(&cpu);
            let mut memory = case.memory::<f32>();
            if isa.precision() == Precision::Bf16 {
                memory[..2].iter_mut().for_each(|part| round(part));
            }
            let exact = {
                let [keys, values, lengths] = &memory;
                let mut out = vec![0.0; whole.out.len()];
                let memory = Memory { keys, values, lengths };
                forward(
                    &cpu,
                    attention,
                    shape,
                    &case.qkv(),
                    memory,
                    &mut out,
                    Some(&mut vec![0.0; whole.logs.len()]),
                );
                out
            };
            let row = shape.batch * shape.width;
            let one = Shape { time: 1, ..shape };
            for (qkv, expected) in case.qkv::<f32>().chunks(3 * row).zip(exact.chunks(row)) {
                let mut out = vec![0.0; row];
                let [keys, values, lengths] = &memory;
                forward(
                    &cpu,
                    attention,
                    one,
                    qkv,
                    Memory { keys, values, lengths },
                    &mut out,
                    None,
                );
                let expected: Vec<f64> = expected.iter().map(|&x| x.into()).collect();
                assert_near(&out, &expected, 2e-3, &format!("{isa} {case:?}"));
                remember(&cpu, attention, one, qkv, memory.each_mut().map(Vec::as_mut_slice));
            }
            assert_eq!(memory[2], whole.memory[2], "{isa} {case:?}: lengths");
        }
    }
}

/// A ring that went round many times gives what a fresh one gives: only distances matter.
#[test]
fn rotary_positions_know_no_absolute_place() {
    let cpu = Cpu::with_isa(Isa::best(Some(Precision::F32)).unwrap(), 1);
    let attention = Attention { heads: 2, context: 7, positions: Positions::Rotary };
    let shape = Shape { time: 1, batch: 1, width: 8 };
    let rows: Vec<Vec<f32>> = (0..60).map(|t| values(24, t)).collect();
    let read = |from: usize| {
        let mut memory = [vec![0.0; 7 * 8], vec![0.0; 7 * 8], vec![0.0]];
        let mut out = vec![0.0; 8];
        for row in &rows[from..] {
            let [keys, values, lengths] = &memory;
            forward(&cpu, attention, shape, row, Memory { keys, values, lengths }, &mut out, None);
            remember(&cpu, attention, shape, row, memory.each_mut().map(Vec::as_mut_slice));
        }
        out
    };
    let expected: Vec<f64> = read(0).iter().map(|&x| x.into()).collect();
    for from in [1, 10, 53] {
        assert_near(&read(from), &expected, 1e-5, &format!("from {from}"));
    }
}

#[test]
#[should_panic(expected = "2 heads of 3 values")]
fn heads_that_do_not_fit_are_said() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let attention = Attention { heads: 2, context: 1, positions: Positions::Rotary };
    let shape = Shape { time: 1, batch: 1, width: 3 };
    let memory = Memory { keys: &[0.0_f32; 3], values: &[0.0; 3], lengths: &[0.0] };
    forward(&cpu, attention, shape, &[0.0; 9], memory, &mut [0.0; 3], None);
}
