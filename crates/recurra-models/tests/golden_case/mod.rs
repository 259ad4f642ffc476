//! Models against golden numbers: those of another program with the same weights.

use recurra_models::{CellState, LanguageModel, LanguageModelConfig, State};
use recurra_tensor::{Cpu, Isa, Parameters, Precision, Tape, Window, Workspace};
use safetensors::SafeTensors;

/// One model of a golden file.
pub struct Case<'a> {
    pub golden: &'a [u8],
    /// What its tensors' names begin with.
    pub name: &'a str,
    pub config: &'a LanguageModelConfig,
    /// Parameters that the other program does not have: zeros here.
    pub lacks: &'a [&'a str],
    /// Largest difference with operands rounded to `bf16`, in parts of the largest number of a tensor.
    pub bf16_tolerance: f32,
}

impl<'a> Case<'a> {
    pub fn new(golden: &'a [u8], name: &'a str, config: &'a LanguageModelConfig) -> Self {
        Self { golden, name, config, lacks: &[], bf16_tolerance: 0.02 } // between 1 % and 2 % measured
    }

    /// Loss, states, gradients and logits, on one instruction set.
    #[track_caller]
    pub fn check(&self, isa: Isa) {
        let tensors = &SafeTensors::deserialize(self.golden).unwrap();
        let golden = Golden { tensors, case: self };
        let cpu = Cpu::with_isa(isa, 2);
        let mut parameters = Parameters::<f32>::new();
        let model = LanguageModel::new(self.config, &mut parameters).unwrap();
        let theirs = |name: &str| !self.lacks.contains(&name);
        for id in parameters.ids() {
            if theirs(parameters.name(id)) {
                let values = golden.values(parameters.name(id));
                parameters.value_mut(id).copy_from_slice(&values);
            }
        }
        let (inputs, targets) = (golden.ids("inputs"), golden.ids("targets"));
        let window = golden.window();
        let first = golden.state("first");
        let mut state = first.clone().unwrap_or_else(|| model.zero_state(window.batch));
        let mut workspace = Workspace::new();
        let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 0);
        let loss = model.loss(&mut tape, &inputs, &targets, window, &mut state);
        let nats = tape.loss(loss) as f32;
        tape.backward(loss);
        self.assert_near(isa, &[nats], &golden.values("loss"), "loss");
        if first.is_some() {
            let last = golden.state("last").expect("a last state where there is a first");
            for (found, expected) in state.parts().zip(last.parts()) {
                self.assert_near(isa, found, expected, "last state");
            }
        }
        for id in parameters.ids() {
            let name = parameters.name(id);
            if theirs(name) {
                let expected = golden.values(&format!("gradient/{name}"));
                let found = parameters.gradient(id).unwrap();
                self.assert_near(isa, found, &expected, &format!("gradient of {name}"));
            }
        }
        let mut state = first.unwrap_or_else(|| model.zero_state(window.batch));
        let logits = golden.values("logits");
        for (t, ids) in inputs.chunks(window.batch).enumerate() {
            let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
            let out = model.step(&mut tape, ids, &mut state);
            let size = window.batch * self.config.vocab_size;
            let expected = &logits[t * size..(t + 1) * size];
            self.assert_near(isa, tape.value(out), expected, &format!("logits of step {t}"));
        }
    }

    /// Largest difference of any number.
    fn tolerance(&self, precision: Precision, expected: &[f32]) -> f32 {
        match precision {
            Precision::F32 => 1e-5,
            Precision::Bf16 => {
                self.bf16_tolerance * expected.iter().fold(0.0, |max, x| x.abs().max(max))
            }
        }
    }

    #[track_caller]
    fn assert_near(&self, isa: Isa, found: &[f32], expected: &[f32], what: &str) {
        let name = self.name;
        assert_eq!(found.len(), expected.len(), "{name} {what}");
        let tolerance = self.tolerance(isa.precision(), expected);
        for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance,
                "{isa}: {name} {what} at {idx}: {found}, the other program has {expected}"
            );
        }
    }
}

/// The tensors of a case.
struct Golden<'a> {
    tensors: &'a SafeTensors<'a>,
    case: &'a Case<'a>,
}

impl Golden<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(&format!("{}/{name}", self.case.name)).is_ok()
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let view = self.tensors.tensor(&format!("{}/{name}", self.case.name)).unwrap();
        let (words, _) = view.data().as_chunks::<4>();
        words.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name).into_iter().map(|id| id as u32).collect()
    }

    /// T and B of `inputs`.
    fn window(&self) -> Window {
        let view = self.tensors.tensor(&format!("{}/inputs", self.case.name)).unwrap();
        let [time, batch] = *view.shape() else { panic!("inputs of shape {:?}", view.shape()) };
        Window { time, batch }
    }

    /// A state, where the file has it: a tensor (B, H) for each part and layer, or as PyTorch one (L, B, H) for each part.
    fn state(&self, name: &str) -> Option<State<f32>> {
        let (parts, layers) = (self.case.config.cell.parts(), self.case.config.hidden_sizes.len());
        let is_joined = self.has(&format!("{name}/{}", parts[0]));
        if !is_joined && !self.has(&format!("{name}/{}_l0", parts[0])) {
            return None;
        }
        let part = |part: &str, layer: usize| {
            if !is_joined {
                return self.values(&format!("{name}/{part}_l{layer}"));
            }
            let all = self.values(&format!("{name}/{part}"));
            all.chunks_exact(all.len() / layers).nth(layer).unwrap().to_vec()
        };
        let layer = |idx| CellState { parts: parts.iter().map(|name| part(name, idx)).collect() };
        Some(State { layers: (0..layers).map(layer).collect() })
    }
}
