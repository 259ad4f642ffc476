//! Which tensors a file has, and where in memory each of them lives: the same list for writing, checking and reading.

use std::collections::BTreeMap;

use recurra_models::State;
use recurra_tensor::{ParameterId, Parameters};

use crate::Error;
use crate::tensor_file::{NamedTensor, TensorReader};

/// The tensors of a file by name, each with its shape and its place in memory.
#[derive(Debug, Default)]
pub(crate) struct Layout(BTreeMap<String, (Vec<usize>, Place)>);

#[derive(Debug, Clone, Copy)]
enum Place {
    Value(ParameterId),
    Moment { slot: usize, id: ParameterId },
    Average(ParameterId),
    State { layer: usize, part: usize },
}

impl Layout {
    /// Adds the values of all parameters, under their own names.
    pub(crate) fn with_values(mut self, parameters: &Parameters<f32>) -> Layout {
        for id in parameters.ids() {
            self.0.insert(
                parameters.name(id).into(),
                (parameters.shape(id).to_vec(), Place::Value(id)),
            );
        }
        self
    }

    /// Adds the optimizer state of all parameters: `optimizer.0.` and the name for the first moments.
    pub(crate) fn with_moments(mut self, parameters: &Parameters<f32>) -> Layout {
        for slot in 0..parameters.n_moments() {
            for id in parameters.ids() {
                let name = format!("optimizer.{slot}.{}", parameters.name(id));
                self.0.insert(name, (parameters.shape(id).to_vec(), Place::Moment { slot, id }));
            }
        }
        self
    }

    /// Adds the average of all parameters, where there is one: `average.` and the name.
    pub(crate) fn with_average(mut self, parameters: &Parameters<f32>) -> Layout {
        for id in parameters.ids().filter(|_| parameters.has_average()) {
            let name = format!("average.{}", parameters.name(id));
            self.0.insert(name, (parameters.shape(id).to_vec(), Place::Average(id)));
        }
        self
    }

    /// Adds the state of so many streams B: `state.0.1` for the second part (the cell of an LSTM) of the first layer.
    pub(crate) fn with_state(mut self, state: &State<f32>, streams: usize) -> Layout {
        for (layer, cell) in state.layers.iter().enumerate() {
            for (part, values) in cell.parts.iter().enumerate() {
                let width = values.len() / streams.max(1);
                assert_eq!(
                    streams * width,
                    values.len(),
                    "state of layer {layer} for {streams} streams"
                );
                let shape = vec![streams, width]; // (B, H)
                self.0
                    .insert(format!("state.{layer}.{part}"), (shape, Place::State { layer, part }));
            }
        }
        self
    }

    /// The tensors, borrowed for writing.
    pub(crate) fn tensors<'a>(
        &self,
        parameters: &'a Parameters<f32>,
        state: &'a State<f32>,
    ) -> Vec<NamedTensor<'a>> {
        let values = |place| match place {
            Place::Value(id) => parameters.value(id),
            Place::Moment { slot, id } => parameters.moments(slot, id),
            Place::Average(id) => parameters.average(id),
            Place::State { layer, part } => &state.layers[layer].parts[part][..],
        };
        let tensor = |(name, (shape, place)): (&String, &(Vec<usize>, Place))| NamedTensor {
            name: name.clone(),
            shape: shape.clone(),
            values: values(*place),
        };
        self.0.iter().map(tensor).collect()
    }

    /// Reads every tensor to its place. None of them counts before the reader that comes back has [finished].
    ///
    /// [finished]: TensorReader::finish
    ///
    /// # Errors
    /// When a tensor is absent, unexpected, or of another type or shape.
    pub(crate) fn read(
        &self,
        mut reader: TensorReader,
        parameters: &mut Parameters<f32>,
        state: &mut State<f32>,
    ) -> Result<TensorReader, Error> {
        if let Err(error) = self.check(&reader) {
            return Err(reader.blame(error));
        }
        for idx in 0..reader.tensors().len() {
            let tensor = reader.tensors()[idx].name.clone();
            let place = self.0[&tensor].1;
            let values = match place {
                Place::Value(id) => parameters.value_mut(id),
                Place::Moment { slot, id } => parameters.moments_mut(slot, id),
                Place::Average(id) => parameters.average_mut(id),
                Place::State { layer, part } => &mut state.layers[layer].parts[part],
            };
            reader.read_next(values)?;
            // Gates make a number of whatever weights they have, so that nothing later would tell.
            let is_weight = matches!(place, Place::Value(_) | Place::Average(_));
            if is_weight && values.iter().any(|value| !value.is_finite()) {
                let path = reader.path().to_owned();
                return Err(reader.blame(Error::NotFinite { path, tensor }));
            }
        }
        Ok(reader)
    }

    fn check(&self, reader: &TensorReader) -> Result<(), Error> {
        let path = || reader.path().to_owned();
        let found: BTreeMap<_, _> =
            reader.tensors().iter().map(|tensor| (&tensor.name, tensor)).collect();
        for (name, (expected, _)) in &self.0 {
            let (tensor, expected) = (name.clone(), expected.clone());
            match found.get(name) {
                None => return Err(Error::MissingTensor { path: path(), tensor, expected }),
                Some(it) if it.dtype != "F32" => {
                    return Err(Error::WrongType { path: path(), tensor, found: it.dtype.clone() });
                }
                Some(it) if it.shape != expected => {
                    return Err(Error::WrongShape {
                        path: path(),
                        tensor,
                        expected,
                        found: it.shape.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        match reader.tensors().iter().find(|tensor| !self.0.contains_key(&tensor.name)) {
            Some(it) => Err(Error::UnexpectedTensor {
                path: path(),
                tensor: it.name.clone(),
                found: it.shape.clone(),
            }),
            None => Ok(()),
        }
    }
}
