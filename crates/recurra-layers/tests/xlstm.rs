//! The same weights give the same numbers as in the program of the xLSTM's authors (`golden/xlstm_blocks.py`).

use recurra_layers::{CellKind, CellOptions, Recurrent};
use recurra_tensor::{Cpu, Element, Isa, Parameters, Precision, Tape, Window, Workspace};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("../../../golden/xlstm_blocks.safetensors");
const TIME: usize = 11;
const BATCH: usize = 2;
const WIDTH: usize = 16;

struct Golden<'a> {
    tensors: SafeTensors<'a>,
    kind: CellKind,
}

impl Golden<'_> {
    fn values<E: Element>(&self, name: &str) -> Vec<E> {
        let view = self.tensors.tensor(&format!("{}/{name}", self.kind)).unwrap();
        let (words, _) = view.data().as_chunks::<4>();
        words.iter().map(|&bytes| E::from_f64(f32::from_le_bytes(bytes).into())).collect()
    }

    /// The name of a parameter there, `up` for `mlstm.up_l0`.
    fn name(&self, name: &str) -> String {
        let name = name.strip_prefix(&format!("{}.", self.kind)).expect("the kind before it");
        name.strip_suffix("_l0").expect("the layer behind it").to_string()
    }
}

#[track_caller]
fn assert_near<E: Element>(found: &[E], expected: &[E], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0, |most: f64, x| most.max(x.to_f64().abs()));
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found.to_f64() - expected.to_f64()).abs();
        assert!(off < tolerance * largest, "{what}[{idx}]: {found}, the authors have {expected}");
    }
}

/// Outputs of a whole window, and of two with the state carried; gradients of the whole.
fn check<E: Element>(kind: CellKind, cpu: &Cpu, tolerance: f64) {
    let golden = Golden { tensors: SafeTensors::deserialize(GOLDEN).unwrap(), kind };
    let mut parameters = Parameters::<E>::new();
    let options = CellOptions { heads: Some(2), ..CellOptions::default() };
    let layer = Recurrent::declare(&mut parameters, kind, 0, WIDTH, WIDTH, &options);
    for id in parameters.ids().collect::<Vec<_>>() {
        let values = golden.values::<E>(&golden.name(parameters.name(id)));
        parameters.value_mut(id).copy_from_slice(&values);
    }
    let (x, y) = (golden.values::<E>("x"), golden.values::<E>("y"));
    let what = |part: &str| format!("{kind} on {}, {part}", cpu.isa());
    let mut workspace = Workspace::new();

    let mut state = layer.zero_state(BATCH);
    for steps in [0..4, 4..TIME] {
        let rows = steps.start * BATCH * WIDTH..steps.end * BATCH * WIDTH;
        let mut tape = Tape::inference(cpu, &parameters, &mut workspace);
        let x = tape.constant(&x[rows.clone()], WIDTH);
        let window = Window { time: steps.len(), batch: BATCH };
        let out = layer.sequence(&mut tape, x, window, &mut state);
        assert_near(tape.value(out), &y[rows], tolerance, &what("y of a part"));
    }

    let mut state = layer.zero_state(BATCH);
    let window = Window { time: TIME, batch: BATCH };
    let inward = parameters.declare("x", &[window.len(), WIDTH]);
    parameters.value_mut(inward).copy_from_slice(&x);
    let mut tape = Tape::training(cpu, &mut parameters, &mut workspace, 0);
    let ids: Vec<u32> = (0..window.len() as u32).collect();
    let rows = tape.embedding(inward, &ids);
    let out = layer.sequence(&mut tape, rows, window, &mut state);
    assert_near(tape.value(out), &y, tolerance, &what("y"));
    // The mean of (y − target)² over n values, whose gradient is d_y·2/n.
    let found = tape.value(out).iter().zip(golden.values::<E>("d_y"));
    let targets: Vec<E> = found.map(|(&y, d_y)| y - d_y).collect();
    let loss = tape.squared_error(out, &targets);
    tape.backward(loss);
    let scale = E::from_f64((window.len() * WIDTH) as f64 / 2.0);
    for id in parameters.ids().collect::<Vec<_>>() {
        let name = match parameters.name(id) {
            "x" => "d_x".to_string(),
            name => format!("d/{}", golden.name(name)),
        };
        let found: Vec<E> = parameters.gradient(id).unwrap().iter().map(|&d| d * scale).collect();
        assert_near(&found, &golden.values(&name), 3.0 * tolerance, &what(&name));
    }
}

#[test]
fn blocks_are_those_of_the_authors() {
    for kind in [CellKind::Slstm, CellKind::Mlstm] {
        check::<f64>(kind, &Cpu::with_isa(Isa::Plain, 1), 1e-6);
        for isa in Isa::available() {
            let tolerance = match isa.precision() {
                Precision::F32 => 2e-5,
                Precision::Bf16 => 0.05,
            };
            check::<f32>(kind, &Cpu::with_isa(isa, 2), tolerance);
        }
    }
}
