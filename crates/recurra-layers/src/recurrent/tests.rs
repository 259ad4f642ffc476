//! One generic test over all cells.

use recurra_tensor::{
    Cpu, Element, Parameters, Random, Tape, Window, Workspace, finite_differences,
};

use super::*;
use crate::{CellOptions, Dropout, Linear, NormKind, PositionKind, Regularization};

const INPUTS: usize = 3;

/// Every family as it is by default, and what options make of the equations of some.
fn cases() -> impl Iterator<Item = (CellKind, CellOptions)> {
    let none = CellOptions::default();
    let melis = [
        CellOptions { coupled: Some(true), ..none },
        CellOptions { state_dropout: Some(0.4), ..none },
        CellOptions { coupled: Some(true), state_dropout: Some(0.4), ..none },
    ];
    let mogrifiers = [
        CellOptions { rounds: Some(1), ..none },
        CellOptions { rounds: Some(4), rank: Some(2), ..none },
        CellOptions { rank: Some(3), coupled: Some(true), state_dropout: Some(0.4), ..none },
    ];
    let qrnns = [1, 3].map(|width| CellOptions { filter_width: Some(width), ..none });
    let sru = CellOptions { highway_bias: Some(-2.0), ..none };
    // Windows are longer than what is seen.
    let seen = CellOptions { context: Some(3), ..none };
    let transformers = [
        seen,
        CellOptions { norm: Some(NormKind::Layer), ..seen },
        CellOptions { positions: Some(PositionKind::Learned), ..seen },
    ];
    let families = CellKind::ALL.into_iter().map(move |kind| (kind, none));
    let lstms = melis.map(|options| (CellKind::Lstm, options));
    let mogrifiers = mogrifiers.map(|options| (CellKind::Mogrifier, options));
    let qrnns = qrnns.map(|options| (CellKind::Qrnn, options));
    let transformers = transformers.map(|options| (CellKind::Transformer, options));
    let others = qrnns.into_iter().chain(transformers).chain([(CellKind::Sru, sru)]);
    families.chain(lstms).chain(mogrifiers).chain(others)
}

fn declared<E: Element>(
    kind: CellKind,
    hidden: usize,
    options: &CellOptions,
) -> (Parameters<E>, Recurrent) {
    let mut parameters = Parameters::new();
    let layer = Recurrent::declare(&mut parameters, kind, 0, INPUTS, hidden, options);
    layer.initialize(&mut parameters, &mut Random::new(5, 0));
    (parameters, layer)
}

fn input<E: Element>(rows: usize) -> Vec<E> {
    let mut values = vec![E::ZERO; rows * INPUTS];
    Random::new(6, 0).fill_uniform(&mut values, 2.0);
    values
}

/// The state after two steps: not every state is one that a layer can have.
fn some_state<E: Element>(
    cpu: &Cpu,
    parameters: &Parameters<E>,
    layer: &Recurrent,
    batch: usize,
) -> CellState<E> {
    let mut state = layer.zero_state(batch);
    let mut values = vec![E::ZERO; 2 * batch * INPUTS];
    Random::new(8, 0).fill_uniform(&mut values, 2.0);
    let mut workspace = Workspace::new();
    let mut tape = Tape::inference(cpu, parameters, &mut workspace);
    let x = tape.constant(&values, INPUTS);
    layer.sequence(&mut tape, x, Window { time: 2, batch }, &mut state);
    state
}

#[track_caller]
fn assert_near<E: Element>(a: &[E], b: &[E], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (idx, (a, b)) in a.iter().zip(b).enumerate() {
        let difference = (a.to_f64() - b.to_f64()).abs();
        assert!(difference <= tolerance, "{what} at {idx}: {a} and {b}");
    }
}

/// A sequence of T steps equals T sequences of one step, and the carried state is the last of them.
fn a_sequence_equals_repeated_steps<E: Element>(
    kind: CellKind,
    options: &CellOptions,
    tolerance: f64,
) {
    for (hidden, window) in [
        (1, Window { time: 4, batch: 1 }),
        (INPUTS, Window { time: 2, batch: 2 }),
        (17, Window { time: 3, batch: 5 }),
    ] {
        let (parameters, layer) = declared::<E>(kind, hidden, options);
        let cpu = Cpu::new(2).unwrap();
        let mut workspace = Workspace::new();
        let x = input::<E>(window.len());
        let mut whole_state = some_state(&cpu, &parameters, &layer, window.batch);
        let mut state = whole_state.clone();
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let x_all = tape.constant(&x, INPUTS);
        let out = layer.sequence(&mut tape, x_all, window, &mut whole_state);
        let whole = tape.value(out).to_vec();
        assert_eq!(tape.shape(out), (window.len(), hidden));
        for t in 0..window.time {
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let rows = window.batch * INPUTS;
            let x_t = tape.constant(&x[t * rows..(t + 1) * rows], INPUTS);
            let out =
                layer.sequence(&mut tape, x_t, Window { time: 1, batch: window.batch }, &mut state);
            let width = window.batch * hidden;
            assert_near(
                tape.value(out),
                &whole[t * width..(t + 1) * width],
                tolerance,
                kind.name(),
            );
        }
        for (a, b) in state.parts.iter().zip(&whole_state.parts) {
            assert_near(a, b, tolerance, "state");
        }
        if kind.parts()[0] == "h" {
            let last = &whole[whole.len() - window.batch * hidden..];
            assert_near(&state.parts[0], last, tolerance, "h");
        }
    }
}

/// Gradients of all parameters, and of a layer below, equal finite differences.
fn gradients_equal_finite_differences(kind: CellKind, options: &CellOptions) {
    for (hidden, window) in [
        (1, Window { time: 3, batch: 2 }),
        (INPUTS, Window { time: 4, batch: 2 }),
        (5, Window { time: 4, batch: 3 }),
    ] {
        let cpu = Cpu::new(2).unwrap();
        let mut parameters = Parameters::<f64>::new();
        let below = Linear::declare(&mut parameters, "below", INPUTS, INPUTS, true);
        let layer = Recurrent::declare(&mut parameters, kind, 0, INPUTS, hidden, options);
        let mut random = Random::new(11, 0);
        below.initialize(&mut parameters, &mut random);
        layer.initialize(&mut parameters, &mut random);
        let targets: Vec<f64> =
            input::<f64>(window.len() * hidden)[..window.len() * hidden].to_vec();
        let mut workspace = Workspace::new();
        // What begins as 0 lets no gradient through.
        for id in parameters.ids().collect::<Vec<_>>() {
            let values = parameters.value_mut(id);
            let mut shifts = vec![0.0; values.len()];
            random.fill_uniform(&mut shifts, 0.3);
            values.iter_mut().zip(shifts).for_each(|(value, shift)| *value += shift);
        }
        let first = some_state(&cpu, &parameters, &layer, window.batch);
        let error =
            finite_differences::largest_error(&mut parameters, 1000, |parameters, learn| {
                let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
                let mut state = first.clone();
                let x = tape.constant(&input::<f64>(window.len()), INPUTS);
                let x = below.forward(&mut tape, x);
                let h = layer.sequence(&mut tape, x, window, &mut state);
                let loss = tape.squared_error(h, &targets);
                if learn {
                    tape.backward(loss);
                }
                tape.loss(loss)
            });
        // The norm of a single value is a step that is steep at 0: differences of finite size see more than its slope.
        let tolerance = if hidden == 1 { 1e-6 } else { 1e-7 };
        assert!(error < tolerance, "{kind}, {options:?}, H {hidden}: {error:e}");
    }
}

#[test]
fn every_cell_passes_the_generic_tests() {
    for (kind, options) in cases() {
        a_sequence_equals_repeated_steps::<f32>(kind, &options, 2e-6);
        a_sequence_equals_repeated_steps::<f64>(kind, &options, 1e-14);
        gradients_equal_finite_differences(kind, &options);
    }
}

#[test]
fn a_zero_state_is_zero_and_has_the_stated_parts() {
    for (kind, options) in cases() {
        let (_, layer) = declared::<f32>(kind, 7, &options);
        let state = layer.zero_state::<f32>(3);
        assert_eq!(state.parts.len(), kind.parts().len());
        for (part, width) in state.parts.iter().zip(layer.part_widths()) {
            assert_eq!(part, &vec![0.0; 3 * width]);
        }
    }
}

#[test]
fn a_layer_costs_what_was_said_before_there_was_one() {
    for (kind, options) in cases() {
        for hidden in [1, 8, 17] {
            let (parameters, layer) = declared::<f32>(kind, hidden, &options);
            let widths = kind.state_widths(INPUTS, hidden, &options);
            assert_eq!(widths, layer.part_widths(), "{kind}, H {hidden}");
            let size = kind.size(INPUTS, hidden, &options);
            assert_eq!(size.parameters, parameters.n_values() as u128, "{kind}, H {hidden}");
        }
    }
}

/// Counted by hand for E = 6 and H = 8.
#[test]
fn a_layer_multiplies_as_often_as_its_equations() {
    for (kind, expected) in [
        (CellKind::Lstm, 4 * 8 * (6 + 8)),
        (CellKind::Gru, 3 * 8 * (6 + 8)),
        (CellKind::RnnTanh, 8 * (6 + 8)),
        (CellKind::RnnRelu, 8 * (6 + 8)),
        // Five rounds between input and state.
        (CellKind::Mogrifier, 4 * 8 * (6 + 8) + 5 * 6 * 8),
        // Two inputs make three gates.
        (CellKind::Qrnn, 3 * 8 * (2 * 6)),
        // A fourth row of blocks widens the input; two vectors scale c.
        (CellKind::Sru, 4 * 8 * 6 + 2 * 8),
        (CellKind::MinGru, 2 * 8 * 6),
        (CellKind::MinLstm, 3 * 8 * 6),
        // From 6 to 8; four gates of input and of state in heads of 2; three maps of 64 units; four steps of a convolution.
        (CellKind::Slstm, 6 * 8 + 2 * 4 * 8 * 2 + 3 * 64 * 8 + 4 * 8),
        // From 6 to 8; three maps of 16 units; q, k, v in blocks of 4; two gates of four heads from each; convolution and skip;
        // a memory of 4 × 4 a head, written and read.
        (CellKind::Mlstm, 6 * 8 + 3 * 16 * 8 + 3 * 16 * 4 + 3 * 2 * 4 * 16 + 5 * 16 + 2 * 4 * 16),
        // From 6 to 8; q, k, v and output; three maps of 32 units; 256 keys and values.
        (CellKind::Transformer, 6 * 8 + 4 * 8 * 8 + 3 * 32 * 8 + 2 * 256 * 8),
    ] {
        let size = kind.size(6, 8, &CellOptions::default());
        assert_eq!(size.multiplications, expected, "{kind}");
    }
}

/// A dropped unit of a branch lets the residual link through as it is: with a locked mask, the same units at each step.
#[test]
fn masks_of_branches_are_kept_for_a_window_where_they_are_locked() {
    let (cpu, window, width) = (Cpu::new(1).unwrap(), Window { time: 4, batch: 2 }, 32);
    for kind in [CellKind::Transformer, CellKind::Slstm, CellKind::Mlstm] {
        for is_locked in [false, true] {
            let mut parameters = Parameters::<f64>::new();
            let options = CellOptions::default();
            let layer = Recurrent::declare(&mut parameters, kind, 0, width, width, &options);
            layer.initialize(&mut parameters, &mut Random::new(5, 0));
            let (layer, has_branches) = layer.with_branch_dropout(Dropout { rate: 0.6, is_locked });
            assert!(has_branches);
            let mut x = vec![0.0; window.len() * width];
            Random::new(6, 0).fill_uniform(&mut x, 2.0);
            let mut workspace = Workspace::new();
            let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 3);
            let input = tape.constant(&x, width);
            let out = layer.sequence(&mut tape, input, window, &mut layer.zero_state(window.batch));
            let is_dropped: Vec<bool> =
                tape.value(out).iter().zip(&x).map(|(after, before)| after == before).collect();
            let mut steps = is_dropped.chunks(window.batch * width);
            let first = steps.next().unwrap();
            assert!(first.contains(&true) && first.contains(&false), "{kind}");
            assert_eq!(steps.all(|step| step == first), is_locked, "{kind}");
        }
    }
}

/// Positions that are learned begin again after as many as are seen, wherever a window ends.
#[test]
fn learned_positions_do_not_end() {
    let (cpu, batch, width) = (Cpu::new(1).unwrap(), 2, 4);
    let options =
        CellOptions { context: Some(4), norm: Some(NormKind::Layer), ..CellOptions::default() };
    let mut parameters = Parameters::<f64>::new();
    let kind = CellKind::Transformer;
    let stack = RecurrentStack::declare(
        &mut parameters,
        kind,
        width,
        &[width; 2],
        &options,
        0.0,
        &Regularization::default(),
    );
    stack.initialize(&mut parameters, &mut Random::new(5, 0));
    let mut x = vec![0.0; 11 * batch * width];
    Random::new(6, 0).fill_uniform(&mut x, 2.0);
    let read = |times: &[usize]| {
        let (mut states, mut workspace) = (stack.zero_state(batch), Workspace::new());
        let (mut rest, mut out) = (&x[..], Vec::new());
        for &time in times {
            let (now, later) = rest.split_at(time * batch * width);
            rest = later;
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let now = tape.constant(now, width);
            let top = stack.sequence(&mut tape, now, Window { time, batch }, &mut states);
            out.extend_from_slice(tape.value(top.hidden));
        }
        out
    };
    let expected = read(&[1; 11]);
    for times in [&[11][..], &[3, 3, 5], &[4, 7], &[2, 8, 1]] {
        assert_near(&read(times), &expected, 1e-14, "after the context");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for kind in CellKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "ltsm".parse::<CellKind>().unwrap_err().to_string();
    assert!(error.contains("`ltsm`") && error.contains("lstm"), "{error}");
}

#[test]
fn the_forget_bias_is_added_to_the_forget_gate_only() {
    let biases = |forget_bias| {
        let mut parameters = Parameters::<f32>::new();
        let options = CellOptions { forget_bias: Some(forget_bias), ..CellOptions::default() };
        let lstm = Lstm::declare(&mut parameters, 0, INPUTS, 2, &options);
        lstm.initialize(&mut parameters, &mut Random::new(1, 0));
        parameters.value(lstm.weights().bias_ih).to_vec()
    };
    let difference: Vec<f32> = biases(1.0).iter().zip(biases(0.0)).map(|(a, b)| a - b).collect();
    assert_near(&difference, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], 1e-6, "forget bias");
}

#[test]
fn a_qrnn_looks_back_as_far_as_it_is_told() {
    let window = Window { time: 4, batch: 2 };
    let cpu = Cpu::new(1).unwrap();
    for width in [1, 2, 3] {
        let mut parameters = Parameters::<f64>::new();
        let options = CellOptions { filter_width: Some(width), ..CellOptions::default() };
        let layer = Qrnn::declare(&mut parameters, 0, INPUTS, 5, &options);
        layer.initialize(&mut parameters, &mut Random::new(5, 0));
        assert_eq!(layer.part_widths(), [5, (width - 1) * INPUTS]);
        let size = CellKind::Qrnn.size(INPUTS, 5, &options);
        assert_eq!(size.parameters, parameters.n_values() as u128);
        // An input changes the gates of so many steps: with c = 0 before it and no forget gate, its own and the next ones.
        let run = |parameters: &Parameters<f64>, x: &[f64]| {
            let mut workspace = Workspace::new();
            let mut tape = Tape::inference(&cpu, parameters, &mut workspace);
            let x = tape.constant(x, INPUTS);
            let out = layer.sequence(&mut tape, x, window, &mut layer.zero_state(window.batch));
            tape.value(out).to_vec()
        };
        let bias = parameters.ids().find(|&id| parameters.name(id).contains("bias")).unwrap();
        parameters.value_mut(bias)[5..10].fill(-1000.0);
        let x = input::<f64>(window.len());
        let mut other = x.clone();
        other[0] += 1.0; // of stream 0 at the first step
        let (before, after) = (run(&parameters, &x), run(&parameters, &other));
        for (row, (before, after)) in before.chunks(5).zip(after.chunks(5)).enumerate() {
            let (step, stream) = (row / window.batch, row % window.batch);
            assert_eq!(before != after, stream == 0 && step < width, "k {width}, row {row}");
        }
    }
}
