//! A network laid out for writing: one token at a time, in a few streams.

use recurra_layers::{CellKind, CellState};
use recurra_tensor::step::{self, Inputs, LayerWeights, Likeliest, Noise, OutputWeights, Storage};
use recurra_tensor::{Activation, Cpu, ParameterId, Parameters};

use crate::{LanguageModel, State};

/// The weights of a network, laid out once for any number of [`Stepper`]s. The embedding stays in the parameters.
#[derive(Debug)]
pub struct Prepared {
    weights: step::Weights,
    table: ParameterId,
}

/// Some streams that read and write with a [`Prepared`] network: their states, and the memory that a step works in.
#[derive(Debug)]
pub struct Stepper {
    stepper: step::Stepper,
    /// (B, E)
    x: Vec<f32>,
}

impl LanguageModel {
    /// Lays the network out for writing.
    pub fn prepare(&self, cpu: &Cpu, parameters: &Parameters<f32>, storage: Storage) -> Prepared {
        let cell = match self.config().cell {
            CellKind::RnnTanh => step::CellKind::Rnn(Activation::Tanh),
            CellKind::RnnRelu => step::CellKind::Rnn(Activation::Relu),
            CellKind::Lstm => step::CellKind::Lstm,
            CellKind::Gru => step::CellKind::Gru,
        };
        let layers: Vec<LayerWeights<'_>> = self
            .layers()
            .iter()
            .map(|layer| {
                let weights = layer.weights();
                LayerWeights {
                    weight_ih: parameters.value(weights.weight_ih),
                    weight_hh: parameters.value(weights.weight_hh),
                    bias_ih: parameters.value(weights.bias_ih),
                    bias_hh: parameters.value(weights.bias_hh),
                }
            })
            .collect();
        let output = self.output();
        let output = OutputWeights {
            weight: parameters.value(output.weight),
            bias: parameters.value(output.bias),
        };
        Prepared {
            weights: step::Weights::pack(cpu, storage, cell, &layers, Some(output)),
            table: self.embedding().weight,
        }
    }
}

impl Prepared {
    /// How the weights are stored.
    pub fn storage(&self) -> Storage {
        self.weights.storage()
    }
}

impl Stepper {
    /// `n_streams` streams before their first token.
    pub fn new(cpu: &Cpu, prepared: &Prepared, n_streams: usize) -> Self {
        let stepper = step::Stepper::new(cpu, &prepared.weights, n_streams);
        let x = vec![0.0; stepper.n_streams() * prepared.weights.inputs()];
        Self { stepper, x }
    }

    /// What the streams remember.
    pub fn state(&self) -> State<f32> {
        let part = |layer, part| self.stepper.state(layer, part).to_vec();
        let layer = |layer| CellState {
            parts: (0..self.stepper.n_parts()).map(|idx| part(layer, idx)).collect(),
        };
        State { layers: (0..self.stepper.n_layers()).map(layer).collect() }
    }

    /// Lets the streams go on from `state`.
    ///
    /// # Panics
    /// When it has other sizes.
    #[track_caller]
    pub fn set_state(&mut self, state: &State<f32>) {
        for (layer, state) in state.layers.iter().enumerate() {
            for (part, values) in state.parts.iter().enumerate() {
                self.stepper.state_mut(layer, part).copy_from_slice(values);
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
        self.embed(prepared, parameters, ids);
        self.stepper.read(cpu, &prepared.weights, inputs(&self.x, ids));
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
        self.embed(prepared, parameters, ids);
        let (stride, vocab_size) =
            (step::Stepper::logit_stride(&prepared.weights), prepared.weights.outputs());
        let logits = self.stepper.logits(cpu, &prepared.weights, inputs(&self.x, ids));
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
        self.embed(prepared, parameters, ids);
        self.stepper.likeliest(cpu, &prepared.weights, inputs(&self.x, ids))
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
        self.embed(prepared, parameters, ids);
        self.stepper.drawn(cpu, &prepared.weights, inputs(&self.x, ids), noises)
    }

    #[track_caller]
    fn embed(&mut self, prepared: &Prepared, parameters: &Parameters<f32>, ids: &[u32]) {
        let size = prepared.weights.inputs();
        assert_eq!(ids.len(), self.stepper.n_streams(), "as many tokens as streams");
        if self.stepper.knows(ids) {
            return;
        }
        let table = parameters.value(prepared.table);
        for (x, &id) in self.x.chunks_exact_mut(size).zip(ids) {
            x.copy_from_slice(&table[id as usize * size..][..size]);
        }
    }
}

/// An input is known by its token.
fn inputs<'a>(x: &'a [f32], ids: &'a [u32]) -> Inputs<'a> {
    Inputs { x, names: Some(ids) }
}

#[cfg(test)]
mod tests {
    use recurra_tensor::{Isa, Tape, Workspace};

    use super::*;
    use crate::LanguageModelConfig;

    #[test]
    fn in_f32_steps_have_the_bits_of_training() {
        for isa in Isa::available().into_iter().filter(|&isa| isa != Isa::Amx) {
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
            }
        }
    }
}
