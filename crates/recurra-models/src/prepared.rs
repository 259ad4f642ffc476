//! A network laid out for writing: one token at a time, in a few streams.

use recurra_layers::{CellState, Recurrent};
use recurra_tensor::step::{self, Inputs, LayerWeights, Likeliest, Noise, OutputWeights, Storage};
use recurra_tensor::{Cpu, ParameterId, Parameters, Precision};

use crate::tape_stepper::TapeStepper;
use crate::{LanguageModel, State};

/// A network made ready once for any number of [`Stepper`]s. The embedding stays in the parameters.
#[derive(Debug)]
pub struct Prepared {
    network: Network,
}

/// Who makes the steps.
#[derive(Debug)]
enum Network {
    /// Kernels of their own, with weights laid out for them.
    Kernels { weights: Box<step::Weights>, table: ParameterId },
    /// The tape, with windows of one token: cells that have no such kernels.
    Tape { model: Box<LanguageModel>, storage: Storage },
}

/// Some streams that read and write with a [`Prepared`] network: their states, and the memory that a step works in.
#[derive(Debug)]
pub struct Stepper {
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    Kernels {
        stepper: Box<step::Stepper>,
        /// (B, E)
        x: Vec<f32>,
    },
    Tape(Box<TapeStepper>),
}

impl LanguageModel {
    /// Makes the network ready for writing, with weights stored so; those that the tape steps with stay as training has them.
    pub fn prepare(&self, cpu: &Cpu, parameters: &Parameters<f32>, storage: Storage) -> Prepared {
        let cells: Option<Vec<_>> = self.layers().iter().map(Recurrent::step_weights).collect();
        // They have no sum of layers.
        let is_summed = self.config().options.summed_outputs == Some(true);
        let Some(cells) = cells.filter(|_| !is_summed) else {
            let storage = match cpu.isa().precision() {
                Precision::F32 => Storage::F32,
                Precision::Bf16 => Storage::Bf16,
            };
            return Prepared { network: Network::Tape { model: Box::new(self.clone()), storage } };
        };
        let layers: Vec<LayerWeights<'_>> = cells
            .iter()
            .map(|(_, weights)| LayerWeights {
                weight_ih: parameters.value(weights.weight_ih),
                weight_hh: parameters.value(weights.weight_hh),
                bias_ih: parameters.value(weights.bias_ih),
                bias_hh: parameters.value(weights.bias_hh),
            })
            .collect();
        let output = self.output();
        let (weight, bias) = (parameters.value(output.weight), parameters.value(output.bias));
        // Output layer and projection are one matrix to the last layer.
        let projected = (self.projection())
            .map(|projection| parameters.product(cpu, output.weight, projection)); // (V, H)
        let output = OutputWeights { weight: projected.as_deref().unwrap_or(weight), bias };
        let weights =
            Box::new(step::Weights::pack(cpu, storage, cells[0].0, &layers, Some(output)));
        Prepared { network: Network::Kernels { weights, table: self.embedding().weight } }
    }
}

impl Prepared {
    /// How the weights are stored.
    pub fn storage(&self) -> Storage {
        match &self.network {
            Network::Kernels { weights, .. } => weights.storage(),
            Network::Tape { storage, .. } => *storage,
        }
    }
}

impl Stepper {
    /// `n_streams` streams before their first token.
    pub fn new(cpu: &Cpu, prepared: &Prepared, n_streams: usize) -> Self {
        let steps = match &prepared.network {
            Network::Kernels { weights, .. } => {
                let stepper = step::Stepper::new(cpu, weights, n_streams);
                let x = vec![0.0; stepper.n_streams() * weights.inputs()];
                Steps::Kernels { stepper: Box::new(stepper), x }
            }
            Network::Tape { model, .. } => {
                Steps::Tape(Box::new(TapeStepper::new(model, n_streams)))
            }
        };
        Self { steps }
    }

    /// What the streams remember.
    pub fn state(&self) -> State<f32> {
        let stepper = match &self.steps {
            Steps::Kernels { stepper, .. } => stepper,
            Steps::Tape(stepper) => return stepper.state().clone(),
        };
        let part = |layer, part| stepper.state(layer, part).to_vec();
        let layer = |layer| CellState {
            parts: (0..stepper.n_parts()).map(|idx| part(layer, idx)).collect(),
        };
        State { layers: (0..stepper.n_layers()).map(layer).collect() }
    }

    /// Lets the streams go on from `state`.
    ///
    /// # Panics
    /// When it has other sizes.
    #[track_caller]
    pub fn set_state(&mut self, state: &State<f32>) {
        match &mut self.steps {
            Steps::Tape(stepper) => stepper.set_state(state),
            Steps::Kernels { stepper, .. } => {
                let n_parts = std::iter::repeat_n(stepper.n_parts(), stepper.n_layers());
                assert!(n_parts.eq(state.n_parts()), "a state of another network");
                for (layer, state) in state.layers.iter().enumerate() {
                    for (part, values) in state.parts.iter().enumerate() {
                        stepper.state_mut(layer, part).copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Reads one token in each stream.
    ///
    /// # Shapes
    /// `ids` (B).
    ///
    /// # Panics
    /// When there are more or fewer, or one is not below V.
    #[track_caller]
    pub fn read(
        &mut self,
        cpu: &Cpu,
        prepared: &Prepared,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) {
        match self.embedded(prepared, parameters, ids) {
            Ready::Kernels(stepper, weights, inputs) => stepper.read(cpu, weights, inputs),
            Ready::Tape(stepper, model) => stepper.read(cpu, model, parameters, ids),
        }
    }

    /// Reads one token in each stream, and gives the logits of the next, stream by stream.
    ///
    /// # Shapes
    /// `ids` (B) → B rows (V).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn logits(
        &mut self,
        cpu: &Cpu,
        prepared: &Prepared,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) -> impl Iterator<Item = &[f32]> {
        let (logits, stride, vocab_size) = match self.embedded(prepared, parameters, ids) {
            Ready::Kernels(stepper, weights, inputs) => {
                let stride = step::Stepper::logit_stride(weights);
                (stepper.logits(cpu, weights, inputs), stride, weights.outputs())
            }
            Ready::Tape(stepper, model) => {
                let vocab_size = model.config().vocab_size;
                (stepper.logits(cpu, model, parameters, ids), vocab_size, vocab_size)
            }
        };
        logits.chunks_exact(stride).map(move |row| &row[..vocab_size])
    }

    /// Reads one token in each stream, and gives the likeliest next one of each.
    ///
    /// # Shapes
    /// `ids` (B) → (B).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn likeliest(
        &mut self,
        cpu: &Cpu,
        prepared: &Prepared,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) -> &[Likeliest] {
        match self.embedded(prepared, parameters, ids) {
            Ready::Kernels(stepper, weights, inputs) => stepper.likeliest(cpu, weights, inputs),
            Ready::Tape(stepper, model) => stepper.likeliest(cpu, model, parameters, ids),
        }
    }

    /// Reads one token in each stream, and draws the next one of each: the likeliest after noise.
    ///
    /// # Shapes
    /// `ids` (B), `noises` (B) → (B).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn drawn(
        &mut self,
        cpu: &Cpu,
        prepared: &Prepared,
        parameters: &Parameters<f32>,
        ids: &[u32],
        noises: &[Noise],
    ) -> &[Likeliest] {
        match self.embedded(prepared, parameters, ids) {
            Ready::Kernels(stepper, weights, inputs) => stepper.drawn(cpu, weights, inputs, noises),
            Ready::Tape(stepper, model) => stepper.drawn(cpu, model, parameters, ids, noises),
        }
    }

    /// Who makes the next step, with the vectors of the tokens where those are wanted.
    #[track_caller]
    fn embedded<'s, 'a>(
        &'s mut self,
        prepared: &'a Prepared,
        parameters: &Parameters<f32>,
        ids: &'a [u32],
    ) -> Ready<'s, 'a>
    where
        's: 'a,
    {
        match (&mut self.steps, &prepared.network) {
            (Steps::Kernels { stepper, x }, Network::Kernels { weights, table }) => {
                assert_eq!(ids.len(), stepper.n_streams(), "as many tokens as streams");
                if !stepper.knows(ids) {
                    let (table, size) = (parameters.value(*table), weights.inputs());
                    for (x, &id) in x.chunks_exact_mut(size).zip(ids) {
                        x.copy_from_slice(&table[id as usize * size..][..size]);
                    }
                }
                // An input is known by its token.
                Ready::Kernels(stepper, weights, Inputs { x, names: Some(ids) })
            }
            (Steps::Tape(stepper), Network::Tape { model, .. }) => Ready::Tape(stepper, model),
            _ => panic!("streams of another network"),
        }
    }
}

/// What makes the next step.
enum Ready<'s, 'a> {
    Kernels(&'s mut step::Stepper, &'a step::Weights, Inputs<'a>),
    Tape(&'s mut TapeStepper, &'a LanguageModel),
}

#[cfg(test)]
mod tests {
    use recurra_tensor::{Isa, Precision, Tape, Workspace};

    use super::*;
    use crate::{CellKind, LanguageModelConfig};

    #[test]
    fn in_f32_steps_have_the_bits_of_training() {
        for isa in Isa::available_in(Precision::F32) {
            for cell in CellKind::ALL {
                let base = LanguageModelConfig::new(70);
                let config =
                    LanguageModelConfig { cell, embed_size: 9, hidden_sizes: vec![21, 18], ..base };
                let mut parameters = Parameters::new();
                let model = LanguageModel::new(&config, &mut parameters).unwrap();
                model.initialize(&mut parameters, 5);
                let cpu = Cpu::with_isa(isa, 2);
                let prepared = model.prepare(&cpu, &parameters, Storage::F32);
                let mut stepper = Stepper::new(&cpu, &prepared, 3);
                let (mut state, mut workspace) = (model.zero_state(3), Workspace::new());
                for ids in [[1, 69, 5], [1, 2, 0], [33, 33, 33]] {
                    let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
                    let logits = model.step(&mut tape, &ids, &mut state);
                    let expected: Vec<&[f32]> = tape.value(logits).chunks_exact(70).collect();
                    let found: Vec<&[f32]> =
                        stepper.logits(&cpu, &prepared, &parameters, &ids).collect();
                    assert!(found == expected, "{isa} {cell}");
                    assert_eq!(stepper.state(), state, "{isa} {cell}");
                }
                let mut fork = Stepper::new(&cpu, &prepared, 3);
                fork.set_state(&state);
                fork.read(&cpu, &prepared, &parameters, &[4, 5, 6]);
                stepper.read(&cpu, &prepared, &parameters, &[4, 5, 6]);
                assert_eq!(fork.state(), stepper.state(), "{isa} {cell}");
                state.layers.pop();
                let set = std::panic::AssertUnwindSafe(|| fork.set_state(&state));
                assert!(std::panic::catch_unwind(set).is_err(), "{isa} {cell}: of one layer");
            }
        }
    }
}
