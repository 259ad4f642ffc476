//! The same weights give the same numbers as GPT-2 and LLaMA in Hugging Face's transformers (`golden/transformer.py`).

use recurra_models::{CellKind, CellOptions, LanguageModel, LanguageModelConfig, NormKind};
use recurra_tensor::{Cpu, Isa, Parameters, Precision, Tape, Window, Workspace};
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("../../../golden/transformer.safetensors");
const TIME: usize = 10;
const BATCH: usize = 3;
const WIDTH: usize = 8;
const VOCAB: usize = 11;

/// Largest difference: of any number in `f32`; with operands rounded to `bf16` of the largest number of a tensor, in parts
/// of it.
fn tolerance(precision: Precision, expected: &[f32]) -> f32 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Bf16 => 0.04 * expected.iter().fold(0.0, |max, x| x.abs().max(max)),
    }
}

fn values(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors.tensor(name).unwrap();
    let (words, _) = view.data().as_chunks::<4>();
    words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[track_caller]
fn assert_near(isa: Isa, found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = tolerance(isa.precision(), expected);
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance,
            "{isa}: {what} at {idx}: {found}, transformers has {expected}"
        );
    }
}

fn check(isa: Isa, model_name: &str, norm: NormKind, tied: bool) {
    let tensors = SafeTensors::deserialize(GOLDEN).unwrap();
    let golden = |name: &str| values(&tensors, &format!("{model_name}/{name}"));
    let ids = |name: &str| golden(name).into_iter().map(|id| id as u32).collect::<Vec<_>>();
    let cpu = Cpu::with_isa(isa, 2);
    let options = CellOptions {
        heads: Some(2),
        context: Some(12),
        norm: Some(norm),
        ..CellOptions::default()
    };
    let config = LanguageModelConfig {
        cell: CellKind::Transformer,
        embed_size: WIDTH,
        hidden_sizes: vec![WIDTH; 2],
        tied,
        options,
        ..LanguageModelConfig::new(VOCAB)
    };
    let mut parameters = Parameters::<f32>::new();
    let model = LanguageModel::new(&config, &mut parameters).unwrap();
    let theirs = |name: &str| name != "output.bias"; // they have none
    for id in parameters.ids() {
        let name = parameters.name(id);
        if theirs(name) {
            let values = golden(name);
            parameters.value_mut(id).copy_from_slice(&values);
        }
    }
    let (inputs, targets) = (ids("inputs"), ids("targets"));
    let window = Window { time: TIME, batch: BATCH };
    let mut workspace = Workspace::new();
    let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
    let loss =
        model.loss(&mut tape, &inputs, &targets, window, &mut model.zero_state(window.batch));
    let nats = tape.loss(loss) as f32;
    tape.backward(loss);
    assert_near(isa, &[nats], &golden("loss"), &format!("{model_name} loss"));
    for id in parameters.ids() {
        let name = parameters.name(id);
        if theirs(name) {
            let what = format!("{model_name} gradient of {name}");
            let expected = golden(&format!("gradient/{name}"));
            assert_near(isa, parameters.gradient(id).unwrap(), &expected, &what);
        }
    }
    let mut state = model.zero_state(BATCH);
    let logits = golden("logits");
    for (t, ids) in inputs.chunks(BATCH).enumerate() {
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let out = model.step(&mut tape, ids, &mut state);
        let size = BATCH * VOCAB;
        let what = format!("{model_name} logits of step {t}");
        assert_near(isa, tape.value(out), &logits[t * size..(t + 1) * size], &what);
    }
}

#[test]
fn gpt_2_and_llama_are_met_on_every_instruction_set() {
    for isa in Isa::available() {
        check(isa, "gpt2", NormKind::Layer, true);
        check(isa, "llama", NormKind::Rms, false);
    }
}
