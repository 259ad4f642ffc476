//! Every instruction set and storage against the plain reference, against the sweeps of training, and against itself.

use super::*;
use crate::lstm::Form;
use crate::matmul::{Matrix, Start, matmul};
use crate::recurrent::tests::values;
use crate::recurrent::{RecurrentWeight, Shape};
use crate::rnn::{self, Activation};
use crate::{Cpu, Isa, Precision, gru, lstm};

/// A network of one layer with an output layer, and inputs and states of some streams.
struct Problem {
    cell: CellKind,
    inputs: usize,
    hidden: usize,
    outputs: usize,
    n_streams: usize,
    weight_ih: Vec<f32>,
    weight_hh: Vec<f32>,
    bias_ih: Vec<f32>,
    bias_hh: Vec<f32>,
    weight_out: Vec<f32>,
    bias_out: Vec<f32>,
    x: Vec<f32>,
    h: Vec<f32>,
    c: Vec<f32>,
}

/// What comes out: (B, H) twice, and (B, V).
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    h: Vec<f32>,
    c: Vec<f32>,
    logits: Vec<f32>,
}

impl Problem {
    fn new(cell: CellKind, [inputs, hidden, outputs]: [usize; 3], n_streams: usize) -> Self {
        let random = |seed: u64, n: usize, scale: f64| -> Vec<f32> {
            values(seed, n, scale).into_iter().map(|x| x as f32).collect()
        };
        let rows = cell.n_gates() * hidden;
        let scale = |depth: usize| 1.5 / (depth as f64).sqrt();
        Self {
            cell,
            inputs,
            hidden,
            outputs,
            n_streams,
            weight_ih: random(1, rows * inputs, scale(inputs)),
            weight_hh: random(2, rows * hidden, scale(hidden)),
            bias_ih: random(3, rows, 0.5),
            bias_hh: random(4, rows, 0.5),
            weight_out: random(5, outputs * hidden, scale(hidden)),
            bias_out: random(6, outputs, 0.5),
            x: random(7, n_streams * inputs, 1.3),
            h: random(8, n_streams * hidden, 0.9),
            c: random(9, n_streams * hidden, 1.5),
        }
    }

    fn layer(&self) -> LayerWeights<'_> {
        LayerWeights {
            weight_ih: &self.weight_ih,
            weight_hh: &self.weight_hh,
            bias_ih: &self.bias_ih,
            bias_hh: &self.bias_hh,
        }
    }

    fn output(&self) -> OutputWeights<'_> {
        OutputWeights { weight: &self.weight_out, bias: &self.bias_out }
    }

    fn weights(&self, cpu: &Cpu, storage: Storage) -> Weights {
        Weights::pack(cpu, storage, self.cell, &[self.layer()], Some(self.output()))
    }

    fn stepper(&self, cpu: &Cpu, weights: &Weights) -> Stepper {
        let mut stepper = Stepper::new(cpu, weights, self.n_streams);
        stepper.state_mut(0, 0).copy_from_slice(&self.h);
        if self.cell.n_parts() == 2 {
            stepper.state_mut(0, 1).copy_from_slice(&self.c);
        }
        stepper
    }

    fn step(&self, cpu: &Cpu, storage: Storage) -> Outcome {
        let weights = self.weights(cpu, storage);
        let mut stepper = self.stepper(cpu, &weights);
        let logits = rows(&weights, stepper.logits(cpu, &weights, &self.x));
        let c = stepper.state(0, self.cell.n_parts() - 1).to_vec();
        Outcome { h: stepper.state(0, 0).to_vec(), c, logits }
    }

    /// The streams at these places alone.
    fn stream(&self, stream: usize) -> Problem {
        let mut one = Problem::new(self.cell, [self.inputs, self.hidden, self.outputs], 1);
        let row = |values: &[f32], width: usize| values[stream * width..][..width].to_vec();
        one.x = row(&self.x, self.inputs);
        one.h = row(&self.h, self.hidden);
        one.c = row(&self.c, self.hidden);
        one
    }
}

/// The logits of all streams without what lies between them.
fn rows(weights: &Weights, logits: &[f32]) -> Vec<f32> {
    let rows = logits.chunks_exact(Stepper::logit_stride(weights));
    rows.flat_map(|row| &row[..weights.outputs()]).copied().collect()
}

#[track_caller]
fn check_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (idx, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let distance = (f64::from(found) - expected).abs() / (1.0 + expected.abs());
        assert!(distance < tolerance, "{what} {idx}: {found}, not {expected}");
    }
}

const SIZES: [[usize; 3]; 6] =
    [[1, 1, 1], [3, 5, 2], [16, 17, 64], [33, 16, 63], [70, 65, 65], [130, 200, 193]];

/// Inputs and states are those of the reference at every step, so that no rounding grows.
#[test]
fn a_step_is_that_of_the_reference() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for storage in Storage::ALL {
            for cell in CellKind::ALL {
                for (sizes, n_streams) in SIZES.into_iter().zip([1, 2, 4, 5, 17, 33]) {
                    check_step(&cpu, storage, cell, sizes, n_streams);
                    check_step(&cpu, storage, cell, sizes, 1);
                }
            }
        }
    }
}

fn check_step(cpu: &Cpu, storage: Storage, cell: CellKind, sizes: [usize; 3], n_streams: usize) {
    let problem = Problem::new(cell, sizes, n_streams);
    let found = problem.step(cpu, storage);
    let [inputs, hidden, outputs] = sizes;
    // The matrix unit rounds inputs to `bf16` too.
    let is_rough = cpu.isa() == Isa::Amx && storage == Storage::Bf16 && n_streams > 1;
    // Gates of rounded weights with AVX-512 are off by up to 2e-6, of which an LSTM has five.
    let is_quick =
        matches!(cpu.isa(), Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512) && storage != Storage::F32;
    let tolerance = if is_rough { 2e-2 } else { 4e-6 } + if is_quick { 6e-6 } else { 0.0 };
    for stream in 0..n_streams {
        let part = |values: &[f32], width: usize| values[stream * width..][..width].to_vec();
        let (mut h, mut c) = (part(&problem.h, hidden), part(&problem.c, hidden));
        let x = part(&problem.x, inputs);
        reference::layer(storage, cell, &problem.layer(), &x, &mut h, &mut c);
        let what = format!("{} {storage} {cell:?} {sizes:?} {n_streams}", cpu.isa());
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let found_h = part(&found.h, hidden);
        check_close(&format!("{what}: h"), &found_h, &wide(&h), tolerance);
        if cell.has_memory() {
            check_close(&format!("{what}: c"), &part(&found.c, hidden), &wide(&c), tolerance);
        }
        let logits = reference::output(storage, &problem.output(), &found_h);
        check_close(&format!("{what}: logits"), &part(&found.logits, outputs), &logits, tolerance);
    }
}

/// What training's sweep makes of one step.
fn swept(cpu: &Cpu, problem: &Problem) -> Outcome {
    let Problem { cell, inputs, hidden, outputs, n_streams, .. } = *problem;
    let (n_gates, width) = (cell.n_gates(), cell.n_gates() * hidden);
    let joint = if cell == CellKind::Gru { 2 * hidden } else { width };
    let mut bias = problem.bias_ih.clone();
    bias.iter_mut().zip(&problem.bias_hh[..joint]).for_each(|(sum, part)| *sum += part);
    let product = |x: &[f32], weight: &[f32], bias: &[f32], depth: usize| {
        let mut out = vec![0.0; n_streams * bias.len()];
        let weight = Matrix::new(weight, bias.len(), depth).transposed();
        matmul(cpu, Matrix::new(x, n_streams, depth), weight, Start::Bias(bias), &mut out);
        out
    };
    let mut gates = product(&problem.x, &problem.weight_ih, &bias, inputs);
    let weight = RecurrentWeight::pack(cpu, &problem.weight_hh, hidden, n_gates);
    let shape = Shape { time: 1, batch: n_streams, hidden };
    let state = n_streams * hidden;
    let (mut h, mut c) = (problem.h.clone(), problem.c.clone());
    h.resize(2 * state, 0.0);
    c.resize(2 * state, 0.0);
    match cell {
        CellKind::Lstm | CellKind::CoupledLstm => {
            let is_coupled = cell == CellKind::CoupledLstm;
            let form = Form { is_coupled, state_mask: None };
            lstm::forward(cpu, shape, form, &weight, &mut gates, &mut h, &mut c, None);
        }
        CellKind::Gru => {
            let mut hn = vec![0.0; state];
            let bias_hn = &problem.bias_hh[2 * hidden..];
            gru::forward(cpu, shape, &weight, bias_hn, &mut gates, &mut hn, &mut h);
        }
        CellKind::Rnn(activation) => {
            h[state..].copy_from_slice(&gates);
            rnn::forward(cpu, shape, activation, &weight, &mut h);
        }
    }
    let h = h.split_off(state);
    let c = if cell.has_memory() { c.split_off(state) } else { h.clone() };
    let logits = product(&h, &problem.weight_out, &problem.bias_out, hidden);
    assert_eq!(logits.len(), n_streams * outputs);
    Outcome { h, c, logits }
}

#[test]
fn in_f32_a_step_has_the_bits_of_training() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let training =
            Cpu::with_isa(if isa.precision() == Precision::Bf16 { Isa::Avx512 } else { isa }, 2);
        for cell in CellKind::ALL {
            for (sizes, n_streams) in SIZES.into_iter().zip([1, 6, 3, 4, 17, 1]) {
                let problem = Problem::new(cell, sizes, n_streams);
                let (found, expected) =
                    (problem.step(&cpu, Storage::F32), swept(&training, &problem));
                assert!(found == expected, "{isa} {cell:?} {sizes:?} {n_streams}");
            }
        }
    }
}

/// Large enough that the team is woken.
const LARGE: [usize; 3] = [70, 130, 3001];

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    for isa in Isa::available() {
        for storage in Storage::ALL {
            for (cell, n_streams) in
                [(CellKind::Lstm, 1), (CellKind::Gru, 3), (CellKind::Rnn(Activation::Tanh), 20)]
            {
                let problem = Problem::new(cell, LARGE, n_streams);
                let solved = |threads| problem.step(&Cpu::with_isa(isa, threads), storage);
                let expected = solved(1);
                assert!(
                    [2, 3].into_iter().all(|threads| solved(threads) == expected),
                    "{isa} {storage} {cell:?}"
                );
            }
        }
    }
}

#[test]
fn with_whole_numbers_a_stream_has_the_same_bits_alone_and_among_others() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for (n_streams, cell) in
            (CellKind::ALL.into_iter()).flat_map(|cell| [2, 4, 7, 19, 64].map(|n| (n, cell)))
        {
            let all = Problem::new(cell, [45, 83, 70], n_streams);
            let found = all.step(&cpu, Storage::Int8);
            for stream in [0, n_streams / 2, n_streams - 1] {
                let one = all.stream(stream).step(&cpu, Storage::Int8);
                assert!(found.h[stream * 83..][..83] == one.h, "{isa}: {stream} of {n_streams}");
                assert!(found.logits[stream * 70..][..70] == one.logits, "{isa}: {stream}");
            }
        }
    }
}

#[test]
fn the_likeliest_is_the_first_of_the_largest_logits() {
    for isa in Isa::available() {
        for (threads, storage) in [(1, Storage::F32), (2, Storage::Int8), (3, Storage::Bf16)] {
            let cpu = Cpu::with_isa(isa, threads);
            for n_streams in [1, 5, 18] {
                let mut problem = Problem::new(CellKind::Gru, LARGE, n_streams);
                let weights = problem.weights(&cpu, storage);
                let logits = problem.step(&cpu, storage).logits;
                let mut stepper = problem.stepper(&cpu, &weights);
                for (row, found) in
                    logits.chunks_exact(LARGE[2]).zip(stepper.likeliest(&cpu, &weights, &problem.x))
                {
                    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let id = row.iter().position(|&x| x == largest).unwrap() as u32;
                    assert_eq!(*found, Likeliest { id, logit: largest, is_sound: true }, "{isa}");
                }
                // Two equal ones, far apart; and none that is a number.
                problem.bias_out.fill(0.0);
                problem.weight_out.fill(0.0);
                for id in [2999, 40, 1800] {
                    problem.bias_out[id] = 2.0;
                }
                let weights = problem.weights(&cpu, storage);
                let mut stepper = problem.stepper(&cpu, &weights);
                let found = stepper.likeliest(&cpu, &weights, &problem.x);
                let expected = Likeliest { id: 40, logit: 2.0, is_sound: true };
                assert!(found.iter().all(|found| *found == expected), "{isa}: {found:?}");
                problem.bias_out[77] = f32::NAN;
                let weights = problem.weights(&cpu, storage);
                let mut stepper = problem.stepper(&cpu, &weights);
                let found = stepper.likeliest(&cpu, &weights, &problem.x);
                assert!(found.iter().all(|found| !found.is_sound), "{isa}: {found:?}");
            }
        }
    }
}

#[test]
fn what_is_remembered_of_an_input_has_the_bits_of_computing_it() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for (storage, cell) in Storage::ALL.into_iter().zip([
            CellKind::Lstm,
            CellKind::Gru,
            CellKind::Rnn(Activation::Tanh),
        ]) {
            for n_streams in [1, 5, 18] {
                let problem = Problem::new(cell, LARGE, n_streams);
                let weights = problem.weights(&cpu, storage);
                let (mut named, mut nameless) =
                    (problem.stepper(&cpu, &weights), problem.stepper(&cpu, &weights));
                for step in [0, 1, 1, 3, 0, 2_u32] {
                    // Some come twice in a step, some are new among others that are known.
                    let names: Vec<u32> =
                        (0..n_streams as u32).map(|row| (row / 2 + step) % 9).collect();
                    let row = &problem.x[..LARGE[0]];
                    let x_of = |&name: &u32| row.iter().map(move |x| x - name as f32 / 9.0);
                    let x: Vec<f32> = names.iter().flat_map(x_of).collect();
                    // What is known is not read.
                    let known = named.knows(&names);
                    let x_named = if known { vec![f32::NAN; x.len()] } else { x.clone() };
                    let inputs = Inputs { x: &x_named, names: Some(&names) };
                    let found = rows(&weights, named.logits(&cpu, &weights, inputs));
                    let expected = rows(&weights, nameless.logits(&cpu, &weights, &x));
                    assert!(found == expected, "{isa} {storage} {n_streams}");
                }
                assert!(named.knows(&vec![1; n_streams]));
            }
        }
    }
}

/// Output layers that are screened, each with a number of inputs that ends in another place of a line.
const SCREENED: [[usize; 3]; 3] = [[70, 130, 9001], [9, 256, 4100], [33, 335, 3200]];

/// What the whole pass finds in each row of logits.
fn likeliest_of(logits: &[f32], outputs: usize) -> Vec<Likeliest> {
    logits.chunks_exact(outputs).map(Likeliest::of).collect()
}

#[test]
fn a_search_by_planes_finds_what_the_whole_pass_finds() {
    for isa in Isa::available() {
        for (sizes, salt) in SCREENED.into_iter().zip(0..) {
            for n_streams in [1, 2, 3, 4] {
                let mut problem = Problem::new(CellKind::Lstm, sizes, n_streams);
                for kind in 0..5 {
                    let [_, hidden, outputs] = sizes;
                    problem.weight_out = values(50 + salt, outputs * hidden, 1.0)
                        .into_iter()
                        .enumerate()
                        .map(|(place, w)| match kind {
                            // Flat; long tails; a few rows that stand out; all rows alike; everything the same.
                            0 => w as f32 / 10.0,
                            1 => (w * w * w * w * w) as f32 * 2.0,
                            2 => w as f32 * if place / hidden % 997 == 3 { 3.0 } else { 0.02 },
                            3 => ((place % hidden) as f32).sin() + w as f32 * 1e-3,
                            _ => 0.25,
                        })
                        .collect();
                    if kind == 4 {
                        problem.bias_out.fill(0.5);
                    }
                    let cpu = Cpu::with_isa(isa, 1 + (kind + n_streams) % 3);
                    let weights = problem.weights(&cpu, Storage::Int8);
                    let logits = rows(
                        &weights,
                        problem.stepper(&cpu, &weights).logits(&cpu, &weights, &problem.x),
                    );
                    let expected = likeliest_of(&logits, outputs);
                    let mut stepper = problem.stepper(&cpu, &weights);
                    let what = format!("{isa} {sizes:?} {n_streams} {kind}");
                    let restart = |stepper: &mut Stepper| {
                        stepper.state_mut(0, 0).copy_from_slice(&problem.h);
                        stepper.state_mut(0, 1).copy_from_slice(&problem.c);
                    };
                    // Every other step reads backward.
                    for temperature in [0.0, 0.0, 0.3, 1.0, 1.0, 5.0] {
                        restart(&mut stepper);
                        if temperature == 0.0 {
                            assert_eq!(
                                stepper.likeliest(&cpu, &weights, &problem.x),
                                expected,
                                "{what}"
                            );
                            continue;
                        }
                        let noise = |row| Noise::new(temperature, 77 + row as u64);
                        let noises: Vec<Noise> = (0..n_streams).map(noise).collect();
                        let mut disturbed = logits.clone();
                        for (row, noise) in disturbed.chunks_exact_mut(outputs).zip(&noises) {
                            noise.add(row, 0);
                        }
                        let expected = likeliest_of(&disturbed, outputs);
                        let found = stepper.drawn(&cpu, &weights, &problem.x, &noises);
                        assert_eq!(found, expected, "{what}, at {temperature}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_search_by_planes_passes_over_nothing_that_is_no_number() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let mut problem = Problem::new(CellKind::Gru, SCREENED[0], 2);
        for bad in [f32::NAN, f32::INFINITY] {
            problem.bias_out[8000] = bad;
            let weights = problem.weights(&cpu, Storage::Int8);
            let found = second_of(&problem, &cpu, &weights);
            assert!(found.iter().all(|found| !found.is_sound()), "{isa}: {found:?}");
        }
        problem.bias_out.fill(f32::NEG_INFINITY);
        problem.bias_out[8999] = -1.0;
        let weights = problem.weights(&cpu, Storage::Int8);
        let found = second_of(&problem, &cpu, &weights);
        assert!(found.iter().all(|found| found.id == 8999 && found.is_sound()), "{isa}: {found:?}");
        problem.weight_out[500 * 130 + 7] = f32::NAN;
        let weights = problem.weights(&cpu, Storage::Int8);
        let found = second_of(&problem, &cpu, &weights);
        assert!(found.iter().all(|found| !found.is_sound()), "{isa}: {found:?}");
    }
}

/// What a stepper finds at its second step: at the first it goes through all outputs.
fn second_of(problem: &Problem, cpu: &Cpu, weights: &Weights) -> Vec<Likeliest> {
    let mut stepper = problem.stepper(cpu, weights);
    stepper.likeliest(cpu, weights, &problem.x);
    stepper.likeliest(cpu, weights, &problem.x).to_vec()
}

#[test]
fn layers_stand_on_each_other_and_states_go_on() {
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        for storage in Storage::ALL {
            for n_streams in [2, 5, 9] {
                let (below, above) = (
                    Problem::new(CellKind::Lstm, [9, 20, 1], n_streams),
                    Problem::new(CellKind::Lstm, [20, 33, 50], n_streams),
                );
                let layers = [below.layer(), above.layer()];
                let output = Some(above.output());
                let both = Weights::pack(&cpu, storage, CellKind::Lstm, &layers, output);
                let first = Weights::pack(&cpu, storage, CellKind::Lstm, &layers[..1], None);
                let second = above.weights(&cpu, storage);
                let mut stack = Stepper::new(&cpu, &both, n_streams);
                let (mut lower, mut upper) =
                    (Stepper::new(&cpu, &first, n_streams), Stepper::new(&cpu, &second, n_streams));
                for step in 0..5 {
                    if step == 3 {
                        // A state goes on as it would have in a new stepper, and in one that was elsewhere.
                        let mut fork = Stepper::new(&cpu, &both, n_streams);
                        if n_streams % 2 == 1 {
                            (0..2).for_each(|_| fork.read(&cpu, &both, &below.x));
                        }
                        for (layer, part) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            fork.state_mut(layer, part).copy_from_slice(stack.state(layer, part));
                        }
                        stack = fork;
                    }
                    lower.read(&cpu, &first, &below.x);
                    let expected = rows(&second, upper.logits(&cpu, &second, lower.state(0, 0)));
                    let found = rows(&both, stack.logits(&cpu, &both, &below.x));
                    assert!(found == expected, "{isa} {storage} {n_streams}: step {step}");
                }
            }
        }
    }
}

#[test]
fn whole_numbers_take_a_quarter_of_the_memory() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = Problem::new(CellKind::Lstm, [256, 256, 1024], 1);
    let [f32, bf16, int8] =
        Storage::ALL.map(|storage| problem.weights(&cpu, storage).n_bytes() as f64);
    assert!(
        (f32 / bf16 - 2.0).abs() < 0.1 && (f32 / int8 - 4.0).abs() < 0.2,
        "{f32} {bf16} {int8}"
    );
}

#[test]
#[should_panic(expected = "inputs of 3 values; 5 expected")]
fn inputs_of_another_size_are_refused() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = Problem::new(CellKind::Gru, [5, 4, 3], 1);
    let weights = problem.weights(&cpu, Storage::F32);
    Stepper::new(&cpu, &weights, 1).read(&cpu, &weights, [0.0; 3].as_slice());
}

#[test]
#[should_panic(expected = "a stepper made for other weights")]
fn weights_of_another_network_are_refused() {
    let cpu = Cpu::with_isa(Isa::Plain, 1);
    let problem = Problem::new(CellKind::Gru, [5, 4, 3], 1);
    let [first, second] = [0, 1].map(|_| problem.weights(&cpu, Storage::F32));
    Stepper::new(&cpu, &first, 1).read(&cpu, &second, &problem.x);
}
