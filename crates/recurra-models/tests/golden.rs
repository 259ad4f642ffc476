//! The same weights give the same numbers as in PyTorch (`golden/recurrent_language_models.py`).

use recurra_models::{CellKind, CellState, LanguageModel, LanguageModelConfig, State};
use recurra_tensor::{Cpu, Isa, Parameters, Precision, Tape, Window, Workspace};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("../../../golden/recurrent_language_models.safetensors");
const WINDOW: Window = Window { time: 6, batch: 3 };
const HIDDEN: usize = 7;

/// Largest difference: of any number in `f32`; with operands rounded to `bf16` of the largest number of a tensor, in parts
/// of it (between 1 % and 2 % measured).
fn tolerance(precision: Precision, expected: &[f32]) -> f32 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Bf16 => 0.02 * expected.iter().fold(0.0, |max, x| x.abs().max(max)),
    }
}

/// The golden numbers of one cell.
struct Golden<'a> {
    tensors: &'a SafeTensors<'a>,
    cell: CellKind,
}

impl Golden<'_> {
    fn values(&self, name: &str) -> Vec<f32> {
        let view = self.tensors.tensor(&format!("{}/{name}", self.cell)).unwrap();
        let (words, _) = view.data().as_chunks::<4>();
        words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name).into_iter().map(|id| id as u32).collect()
    }

    /// One state a layer; PyTorch keeps each part as (L, B, H).
    fn state(&self, name: &str) -> State<f32> {
        let parts: Vec<Vec<f32>> =
            self.cell.parts().iter().map(|part| self.values(&format!("{name}/{part}"))).collect();
        let layer = |idx: usize| {
            let size = WINDOW.batch * HIDDEN;
            let parts =
                parts.iter().map(|part| part[idx * size..(idx + 1) * size].to_vec()).collect();
            CellState { parts }
        };
        State { layers: vec![layer(0), layer(1)] }
    }
}

#[track_caller]
fn assert_near(isa: Isa, found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = tolerance(isa.precision(), expected);
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < tolerance,
            "{isa}: {what} at {idx}: {found}, PyTorch has {expected}"
        );
    }
}

fn check(isa: Isa, cell: CellKind) {
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    let golden = Golden { tensors: &tensors, cell };
    let cpu = Cpu::with_isa(isa, 2);
    let config = LanguageModelConfig {
        cell,
        embed_size: 5,
        hidden_sizes: vec![HIDDEN; 2],
        ..LanguageModelConfig::new(11)
    };
    let mut parameters = Parameters::<f32>::new();
    let model = LanguageModel::new(&config, &mut parameters).unwrap();
    for id in parameters.ids() {
        let values = golden.values(parameters.name(id));
        parameters.value_mut(id).copy_from_slice(&values);
    }
    let (inputs, targets) = (golden.ids("inputs"), golden.ids("targets"));
    let (mut state, last) = (golden.state("first"), golden.state("last"));
    let mut workspace = Workspace::new();
    let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
    let loss = model.loss(&mut tape, &inputs, &targets, WINDOW, &mut state);
    let nats = tape.loss(loss) as f32;
    tape.backward(loss);
    assert_near(isa, &[nats], &golden.values("loss"), &format!("{cell} loss"));
    for (found, expected) in state.parts().zip(last.parts()) {
        assert_near(isa, found, expected, &format!("{cell} last state"));
    }
    for id in parameters.ids() {
        let name = parameters.name(id);
        let expected = golden.values(&format!("gradient/{name}"));
        assert_near(
            isa,
            parameters.gradient(id).unwrap(),
            &expected,
            &format!("{cell} gradient of {name}"),
        );
    }
    let mut state = golden.state("first");
    let logits = golden.values("logits");
    for (t, ids) in inputs.chunks(WINDOW.batch).enumerate() {
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let out = model.step(&mut tape, ids, &mut state);
        let size = WINDOW.batch * config.vocab_size;
        assert_near(
            isa,
            tape.value(out),
            &logits[t * size..(t + 1) * size],
            &format!("{cell} logits of step {t}"),
        );
    }
}

#[test]
fn every_cell_agrees_with_pytorch_on_every_instruction_set() {
    for isa in Isa::available() {
        for cell in [CellKind::RnnTanh, CellKind::RnnRelu, CellKind::Lstm, CellKind::Gru] {
            check(isa, cell);
        }
    }
}
