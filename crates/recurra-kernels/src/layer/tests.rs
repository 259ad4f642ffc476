//! Layers in tiles against the reference, at sizes around tiles and pairs.

use super::reference::{Outcome, Problem, solve};
use super::*;
use crate::recurrent::tests::values;
use crate::rnn::Activation;
use crate::{Isa, Precision};

fn problem(cell: CellKind, shape: LayerShape) -> Problem {
    let LayerShape { time, batch, inputs, hidden } = shape;
    let (gate_rows, scale) = (cell.sizes().gates * hidden, |n: usize| 1.0 / (n as f64).sqrt());
    Problem {
        cell,
        shape,
        weight_ih: values(1, gate_rows * inputs, scale(inputs)),
        weight_hh: values(2, gate_rows * hidden, scale(hidden)),
        bias_ih: values(3, gate_rows, 0.5),
        bias_hh: values(4, gate_rows, 0.5),
        x: values(5, time * batch * inputs, 1.0),
        h_first: values(6, batch * hidden, 0.9),
        c_first: values(7, batch * hidden, 1.5),
        d_h: values(8, time * batch * hidden, 1.0),
        state_mask: None,
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The layer in tiles; gradients are added to ones where `adds`, and otherwise written, that of x over that of h where it can.
fn solve_in_tiles(cpu: &Cpu, problem: &Problem, adds: bool) -> Outcome {
    solve_from(cpu, problem, narrow(&problem.x)[..].into(), adds)
}

/// The same with an input that is not that of the problem.
fn solve_from(cpu: &Cpu, problem: &Problem, x: Input<'_>, adds: bool) -> Outcome {
    let Problem { cell, shape, .. } = *problem;
    let hidden = shape.hidden;
    let [weight_ih, weight_hh] = [&problem.weight_ih, &problem.weight_hh].map(|w| narrow(w));
    let [bias_ih, bias_hh] = [&problem.bias_ih, &problem.bias_hh].map(|b| narrow(b));
    let mut d_h = narrow(&problem.d_h);
    let mut h = narrow(&problem.h_first);
    h.resize((shape.time + 1) * shape.batch * hidden, f32::NAN);
    let mut c = narrow(&problem.c_first);
    let mut kept = vec![f32::NAN; kept_len(cell, shape)];
    let pack = |direction| PackedLayer::pack(cpu, cell, direction, &weight_ih, &weight_hh, hidden);
    let memory = cell.has_memory().then_some(&mut c[..]);
    let weights = pack(Direction::Forward);
    let (biases, mask) = ([&bias_ih[..], &bias_hh], problem.state_mask);
    forward(cpu, cell, shape, &weights, biases, x, &mut h, memory, mask, &mut kept);
    let part = if adds { 1.0 } else { 0.0 };
    let mut d_x = vec![if adds { part } else { f32::NAN }; problem.x.len()];
    let first = if adds { part } else { f32::NAN };
    let [mut d_ih, mut d_hh] = [&weight_ih, &weight_hh].map(|w| vec![first; w.len()]);
    let [mut squares_ih, mut squares_hh] =
        [const { Vec::new() }; 2].map(|mut squares: Vec<f64>| {
            squares.resize(bias_ih.len(), f64::NAN);
            squares
        });
    let [mut d_bias_ih, mut d_bias_hh] = [part, part].map(|part| vec![part; bias_ih.len()]);
    let gradients = LayerGradients {
        weight_ih: &mut d_ih,
        weight_hh: &mut d_hh,
        bias_ih: &mut d_bias_ih,
        bias_hh: &mut d_bias_hh,
        adds,
        squares: [&mut squares_ih, &mut squares_hh],
    };
    let weights = pack(Direction::Backward);
    let is_in_place = !adds && shape.inputs == hidden;
    let into = match adds {
        true => InputGradient::AddedTo(&mut d_x),
        false if is_in_place => InputGradient::InPlace,
        false => InputGradient::To(&mut d_x),
    };
    backward(cpu, cell, shape, &weights, &mut kept, x, &h, mask, &mut d_h, into, gradients);
    let d_x = if is_in_place { d_h } else { d_x };
    for (d, squares) in [(&d_ih, &squares_ih), (&d_hh, &squares_hh)] {
        for (row, &found) in d.chunks(d.len() / squares.len()).zip(squares) {
            let expected: f64 = row.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "{cell:?} {shape:?}: {found}, not {expected}"
            );
        }
    }
    let less = |values: &[f32]| values.iter().map(|&x| f64::from(x - part)).collect();
    Outcome {
        h: widen(&h),
        c_last: if cell.has_memory() { widen(&c) } else { Vec::new() },
        d_weight_ih: less(&d_ih),
        d_weight_hh: less(&d_hh),
        d_bias_ih: less(&d_bias_ih),
        d_bias_hh: less(&d_bias_hh),
        d_x: less(&d_x),
    }
}

/// The root of the mean squared difference, in units of that of the expected values, or of a half where they are small. Of any
/// few values beside each other it may be eight times as much: where one row of thousands is wrong, the mean hardly tells.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    const FEW: usize = 32;
    assert_eq!(found.len(), expected.len());
    let mean = |squares: &[f64]| squares.iter().sum::<f64>() / squares.len() as f64;
    let off: Vec<f64> = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).collect();
    let size: Vec<f64> = expected.iter().map(|x| x * x).collect();
    let unit = mean(&size).max(0.25);
    let of_few = off.chunks(FEW).map(mean).fold(0.0, f64::max);
    (mean(&off) / unit).sqrt().max((of_few / unit).sqrt() / 8.0)
}

/// The instruction sets of this machine that multiply tiles.
fn isas() -> Vec<Isa> {
    Isa::available_in(Precision::Bf16)
}

/// 1 % for states; gradients gather what each step rounds, and slopes of ReLU jump.
fn check(problem: &Problem, adds: bool) {
    let expected = solve(problem);
    for isa in isas() {
        check_on(&Cpu::with_isa(isa, 1), problem, adds, &expected);
    }
}

fn check_on(cpu: &Cpu, problem: &Problem, adds: bool, expected: &Outcome) {
    let found = solve_in_tiles(cpu, problem, adds);
    let Problem { cell, shape, .. } = problem;
    let bound = if *cell == CellKind::Rnn(Activation::Relu) { 0.1 } else { 0.02 };
    let mut parts = vec![
        ("h", &found.h, &expected.h, 0.01),
        ("d_weight_ih", &found.d_weight_ih, &expected.d_weight_ih, bound),
        ("d_weight_hh", &found.d_weight_hh, &expected.d_weight_hh, bound),
        ("d_bias_ih", &found.d_bias_ih, &expected.d_bias_ih, bound),
        ("d_bias_hh", &found.d_bias_hh, &expected.d_bias_hh, bound),
        ("d_x", &found.d_x, &expected.d_x, bound),
    ];
    if cell.has_memory() {
        parts.push(("c", &found.c_last, &expected.c_last, 0.01));
    }
    for (name, found, expected, bound) in parts {
        let distance = distance(found, expected);
        assert!(
            distance < bound,
            "{} {cell:?} {shape:?}: {name} is off by {distance:e}",
            cpu.isa()
        );
    }
}

/// Whether this machine can run the tests; says so where it cannot.
fn has_tiles() -> bool {
    let found = !isas().is_empty();
    if !found {
        println!("this machine has no products of `bf16`: layers in tiles are not tested");
    }
    found
}

#[test]
fn layers_agree_with_the_reference_at_sizes_around_tiles() {
    if !has_tiles() {
        return;
    }
    for cell in CellKind::ALL {
        for (hidden, inputs) in [(1, 1), (5, 16), (15, 31), (16, 33), (17, 7), (32, 32), (65, 50)] {
            for (time, batch) in [(1, 1), (2, 1), (7, 2), (5, 5), (3, 17), (4, 33), (9, 20)] {
                let shape = LayerShape { time, batch, inputs, hidden };
                check(&problem(cell, shape), time % 2 == 0);
            }
        }
    }
}

#[test]
fn products_see_states_through_their_mask() {
    if !has_tiles() {
        return;
    }
    for cell in [CellKind::Lstm, CellKind::CoupledLstm] {
        for (hidden, inputs, time, batch) in
            [(1, 1, 3, 2), (17, 5, 7, 3), (33, 20, 4, 33), (40, 20, 40, 67)]
        {
            let problem = problem(cell, LayerShape { time, batch, inputs, hidden });
            check(&Problem { state_mask: Some(Mask { key: 3, keep: 0.6 }), ..problem }, false);
        }
    }
}

#[test]
fn layers_agree_where_rows_fill_several_pieces() {
    if !has_tiles() {
        return;
    }
    for (cell, batch) in [(CellKind::Lstm, 67), (CellKind::Gru, 130), (CellKind::CoupledLstm, 64)] {
        check(&problem(cell, LayerShape { time: 40, batch, inputs: 20, hidden: 40 }), false);
    }
    check(
        &problem(CellKind::Lstm, LayerShape { time: 90, batch: 50, inputs: 37, hidden: 37 }),
        false,
    );
    let shape = LayerShape { time: 3, batch: 2100, inputs: 3, hidden: 18 };
    check(&problem(CellKind::Lstm, shape), true);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    if !has_tiles() {
        return;
    }
    for (isa, cell) in isas().into_iter().flat_map(|isa| CellKind::ALL.map(|cell| (isa, cell))) {
        let shape = LayerShape { time: 6, batch: 21, inputs: 130, hidden: 150 };
        let problem = problem(cell, shape);
        let expected = solve_in_tiles(&Cpu::with_isa(isa, 1), &problem, false);
        for threads in [2, 3, 7] {
            let found = solve_in_tiles(&Cpu::with_isa(isa, threads), &problem, false);
            let what = format!("{isa} {cell:?} with {threads} threads");
            assert_eq!(found.h, expected.h, "{what}");
            assert_eq!(found.d_weight_ih, expected.d_weight_ih, "{what}");
            assert_eq!(found.d_weight_hh, expected.d_weight_hh, "{what}");
            assert_eq!(found.d_bias_hh, expected.d_bias_hh, "{what}");
            assert_eq!(found.d_x, expected.d_x, "{what}");
        }
    }
}

#[test]
fn a_stream_alone_is_the_same_as_among_others_and_in_pieces() {
    if !has_tiles() {
        return;
    }
    for (isa, cell) in isas().into_iter().flat_map(|isa| CellKind::ALL.map(|cell| (isa, cell))) {
        let cpu = Cpu::with_isa(isa, 1);
        let shape = LayerShape { time: 4, batch: 19, inputs: 40, hidden: 33 };
        let all = problem(cell, shape);
        let expected = solve_in_tiles(&cpu, &all, false);
        let row = 7;
        let cut = |values: &[f64], width: usize| -> Vec<f64> {
            values.chunks(width).skip(row).step_by(shape.batch).flatten().copied().collect()
        };
        let mut one = all.clone();
        one.shape.batch = 1;
        one.x = cut(&all.x, shape.inputs);
        one.d_h = cut(&all.d_h, shape.hidden);
        one.h_first = cut(&all.h_first, shape.hidden);
        one.c_first = cut(&all.c_first, shape.hidden);
        let whole = solve_in_tiles(&cpu, &one, false);
        assert_eq!(whole.h, cut(&expected.h, shape.hidden), "{cell:?}");
        // The first half, and from its state the second.
        let mut part = one.clone();
        part.shape.time = 2;
        part.x.truncate(2 * shape.inputs);
        part.d_h.truncate(2 * shape.hidden);
        let first = solve_in_tiles(&cpu, &part, false);
        part.x = one.x[2 * shape.inputs..].to_vec();
        part.h_first = first.h[2 * shape.hidden..].to_vec();
        part.c_first = if cell.has_memory() { first.c_last } else { part.c_first };
        let second = solve_in_tiles(&cpu, &part, false);
        assert_eq!(second.h, whole.h[2 * shape.hidden..], "{cell:?}");
    }
}

#[test]
fn rows_of_a_table_through_dropout_are_the_same_as_a_copy_of_them() {
    if !has_tiles() {
        return;
    }
    let shapes = [(1, 1, 1), (7, 5, 40), (3, 33, 64), (12, 64, 17)];
    for (isa, (time, batch, inputs)) in
        isas().into_iter().flat_map(|isa| shapes.map(|shape| (isa, shape)))
    {
        let cpu = Cpu::with_isa(isa, 2);
        let problem = problem(CellKind::Lstm, LayerShape { time, batch, inputs, hidden: 21 });
        let vocab = 11;
        let table = narrow(&values(9, vocab * inputs, 1.0));
        let ids: Vec<u32> = (0..time * batch).map(|n| (n * n % vocab) as u32).collect();
        let mask = Mask { key: 5, keep: 0.7 };
        let mut copy: Vec<f32> = vec![0.0; ids.len() * inputs];
        crate::embedding::forward(&cpu, &table, &ids, &mut copy);
        crate::dropout::apply(&cpu, mask, 0, &mut copy);
        let input = Input { values: &table, ids: Some(&ids), mask: Some(mask) };
        let expected = solve_from(&cpu, &problem, copy[..].into(), false);
        let found = solve_from(&cpu, &problem, input, false);
        assert_eq!(found.h, expected.h);
        assert_eq!(found.d_weight_ih, expected.d_weight_ih);
        assert_eq!(found.d_weight_hh, expected.d_weight_hh);
        let mut d_x = narrow(&expected.d_x);
        crate::dropout::apply(&cpu, mask, 0, &mut d_x);
        assert_eq!(found.d_x, widen(&d_x), "T {time}, B {batch}, E {inputs}");
    }
}

#[test]
#[should_panic(expected = "id 3 of a table of 3 rows")]
fn an_id_without_a_row_is_refused() {
    let shape = LayerShape { time: 1, batch: 2, inputs: 4, hidden: 1 };
    Reader::new(Input { values: &[0.0; 12], ids: Some(&[0, 3]), mask: None }, shape);
}

#[test]
#[should_panic(expected = "laid out Forward and used as Lstm")]
fn weights_of_another_shape_are_refused() {
    if !has_tiles() {
        panic!("laid out Forward and used as Lstm: not on this machine");
    }
    let cpu = Cpu::with_isa(isas()[0], 1);
    let weights =
        PackedLayer::pack(&cpu, CellKind::Lstm, Direction::Forward, &[0.0; 8], &[0.0; 16], 2);
    weights.check(
        CellKind::Lstm,
        LayerShape { time: 1, batch: 1, inputs: 2, hidden: 2 },
        Direction::Forward,
    );
}
