//! Models against golden numbers of programs that are written from papers' equations.

use recurra_models::{CellState, LanguageModel, LanguageModelConfig, State};
use recurra_tensor::{Cpu, Isa, Parameters, Precision, Tape, Window, Workspace};
use safetensors::SafeTensors;

const WINDOW: Window = Window { time: 6, batch: 3 };

/// Largest difference: of any number in `f32`; with operands rounded to `bf16` of the largest number of a tensor, in parts
/// of it.
fn tolerance(precision: Precision, expected: &[f32]) -> f32 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Bf16 => 0.02 * expected.iter().fold(0.0, |max, x| x.abs().max(max)),
    }
}

/// The golden numbers of one model.
struct Golden<'a> {
    tensors: &'a SafeTensors<'a>,
    case: &'a str,
    config: &'a LanguageModelConfig,
}

impl Golden<'_> {
    fn values(&self, name: &str) -> Vec<f32> {
        let view = self.tensors.tensor(&format!("{}/{name}", self.case)).unwrap();
        let (words, _) = view.data().as_chunks::<4>();
        words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name).into_iter().map(|id| id as u32).collect()
    }

    fn state(&self, name: &str) -> State<f32> {
        let part = |part: &&str, layer| self.values(&format!("{name}/{part}_l{layer}"));
        let layer = |idx: usize| {
            let parts = self.config.cell.parts().iter().map(|name| part(name, idx)).collect();
            CellState { parts }
        };
        State { layers: (0..self.config.hidden_sizes.len()).map(layer).collect() }
    }
}

#[track_caller]
fn assert_near(isa: Isa, found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = tolerance(isa.precision(), expected);
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < tolerance,
            "{isa}: {what} at {idx}: {found}, the equations give {expected}"
        );
    }
}

/// Loss, states, gradients and logits of the case, on one instruction set.
pub fn check(golden: &[u8], isa: Isa, case: &str, config: &LanguageModelConfig) {
    let tensors = SafeTensors::deserialize(golden).unwrap();
    let golden = Golden { tensors: &tensors, case, config };
    let cpu = Cpu::with_isa(isa, 2);
    let mut parameters = Parameters::<f32>::new();
    let model = LanguageModel::new(config, &mut parameters).unwrap();
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
    assert_near(isa, &[nats], &golden.values("loss"), &format!("{case} loss"));
    for (found, expected) in state.parts().zip(last.parts()) {
        assert_near(isa, found, expected, &format!("{case} last state"));
    }
    for id in parameters.ids() {
        let name = parameters.name(id);
        let expected = golden.values(&format!("gradient/{name}"));
        let found = parameters.gradient(id).unwrap();
        assert_near(isa, found, &expected, &format!("{case} gradient of {name}"));
    }
    let mut state = golden.state("first");
    let logits = golden.values("logits");
    for (t, ids) in inputs.chunks(WINDOW.batch).enumerate() {
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let out = model.step(&mut tape, ids, &mut state);
        let size = WINDOW.batch * config.vocab_size;
        let expected = &logits[t * size..(t + 1) * size];
        assert_near(isa, tape.value(out), expected, &format!("{case} logits of step {t}"));
    }
}
