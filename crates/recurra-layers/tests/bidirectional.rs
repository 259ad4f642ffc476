//! Bidirectional layers give the numbers of PyTorch's (`golden/bidirectional.py`), and the slopes they state.

use recurra_layers::{Bidirectional, Cell, CellOptions, CellState, Gru, Linear, Lstm};
use recurra_tensor::{
    Cpu, Element, Isa, Parameters, Precision, Random, Tape, Window, Workspace, finite_differences,
};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("../../../golden/bidirectional.safetensors");
const WINDOW: Window = Window { time: 6, batch: 3 };
const INPUTS: usize = 5;
const HIDDEN: usize = 7;

fn values<E: Element>(name: &str) -> Vec<E> {
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    let view = tensors.tensor(name).unwrap();
    let (words, _) = view.data().as_chunks::<4>();
    words.iter().map(|&bytes| E::from_f64(f32::from_le_bytes(bytes).into())).collect()
}

#[track_caller]
fn assert_near<E: Element>(found: &[E], expected: &[E], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.to_f64().abs()));
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found.to_f64() - expected.to_f64()).abs();
        assert!(off < tolerance * largest, "{what}[{idx}]: {found}, PyTorch has {expected}");
    }
}

/// Outputs, states and gradients of one family on one machine.
fn check<C: Cell, E: Element>(
    case: &str,
    cpu: &Cpu,
    tolerance: f64,
    declare: impl Fn(&mut Parameters<E>) -> Bidirectional<C>,
) {
    let mut parameters = Parameters::<E>::new();
    let layer = declare(&mut parameters);
    for id in parameters.ids().collect::<Vec<_>>() {
        let given = values::<E>(&format!("{case}/{}", parameters.name(id)));
        parameters.value_mut(id).copy_from_slice(&given);
    }
    let states = |when: &str| {
        [0, 1].map(|direction| {
            let part = |part: &&str| values::<E>(&format!("{case}/{when}/{part}_{direction}"));
            CellState { parts: C::PARTS.iter().map(part).collect() }
        })
    };
    let what = |part: &str| format!("{case} on {}, {part}", cpu.isa());
    let (mut state, last) = (states("first"), states("last"));
    let mut workspace = Workspace::new();
    let mut tape = Tape::training(cpu, &mut parameters, &mut workspace, 0);
    let x = tape.constant(&values::<E>(&format!("{case}/x")), INPUTS);
    let y = layer.sequence(&mut tape, x, WINDOW, &mut state);
    assert_eq!(tape.shape(y), (WINDOW.len(), layer.output_size()));
    assert_near(tape.value(y), &values(&format!("{case}/y")), tolerance, &what("y"));
    for (found, expected) in state.iter().zip(&last) {
        for (found, expected) in found.parts.iter().zip(&expected.parts) {
            assert_near(found, expected, tolerance, &what("last state"));
        }
    }
    let loss = tape.squared_error(y, &vec![E::ZERO; WINDOW.len() * 2 * HIDDEN]);
    tape.backward(loss);
    for id in parameters.ids() {
        let name = parameters.name(id);
        let expected = values::<E>(&format!("{case}/gradient/{name}"));
        assert_near(parameters.gradient(id).unwrap(), &expected, tolerance, &what(name));
    }
}

#[test]
fn outputs_states_and_gradients_are_those_of_pytorch() {
    let options = CellOptions::default();
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(isa, 2);
        let tolerance = if isa.precision() == Precision::F32 { 1e-5 } else { 0.02 };
        check::<_, f32>("lstm", &cpu, tolerance, |parameters| {
            Bidirectional::<Lstm>::declare(parameters, 0, INPUTS, HIDDEN, &options)
        });
        check::<_, f32>("gru", &cpu, tolerance, |parameters| {
            Bidirectional::<Gru>::declare(parameters, 0, INPUTS, HIDDEN, &options)
        });
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let cpu = Cpu::new(2).unwrap();
    let window = Window { time: 3, batch: 2 };
    let mut parameters = Parameters::<f64>::new();
    let below = Linear::declare(&mut parameters, "below", 2, 3, true);
    let options = CellOptions::default();
    let layer = Bidirectional::<Lstm>::declare(&mut parameters, 0, 3, 4, &options);
    let mut random = Random::new(11, 0);
    below.initialize(&mut parameters, &mut random);
    layer.initialize(&mut parameters, &mut random);
    let mut x = vec![0.0; window.len() * 2];
    random.fill_uniform(&mut x, 2.0);
    let mut workspace = Workspace::new();
    let error = finite_differences::largest_error(&mut parameters, 300, |parameters, learn| {
        let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
        let x = tape.constant(&x, 2);
        let x = below.forward(&mut tape, x);
        let mut states = layer.zero_state(window.batch);
        let y = layer.sequence(&mut tape, x, window, &mut states);
        let loss = tape.squared_error(y, &vec![0.3; window.len() * layer.output_size()]);
        if learn {
            tape.backward(loss);
        }
        tape.loss(loss)
    });
    assert!(error < 1e-7, "{error:e}");
}
