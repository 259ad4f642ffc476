//! Recurrent layers on top of each other.

use recurra_tensor::{Element, Input, Parameters, Random, Tape, Window};

use super::{CellKind, CellState, Recurrent};

/// L recurrent layers, each reading the one below, with dropout on the links between time-parallel parts only: before the
/// first layer, between layers and after the last, never on the recurrent link (Zaremba et al. 2014).
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentStack {
    layers: Vec<Recurrent>,
    dropout: f32,
}

impl RecurrentStack {
    /// Declares one layer for each of `hidden_sizes`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        kind: CellKind,
        inputs: usize,
        hidden_sizes: &[usize],
        forget_bias: f32,
        dropout: f32,
    ) -> Self {
        let mut inputs = inputs;
        let mut layers = Vec::with_capacity(hidden_sizes.len());
        for (layer, &hidden) in hidden_sizes.iter().enumerate() {
            layers.push(Recurrent::declare(parameters, kind, layer, inputs, hidden, forget_bias));
            inputs = hidden;
        }
        Self { layers, dropout }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Recurrent] {
        &self.layers
    }

    /// Draws the parameters of every layer.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        for layer in &self.layers {
            layer.initialize(parameters, random);
        }
    }

    /// The states before the first token.
    pub fn zero_state<E: Element>(&self, batch: usize) -> Vec<CellState<E>> {
        self.layers.iter().map(|layer| layer.zero_state(batch)).collect()
    }

    /// Runs all layers over a window.
    ///
    /// # Shapes
    /// `x` (T·B, E), one state a layer → (T·B, H of the last layer), with the dropout that follows it.
    pub fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        states: &mut [CellState<E>],
    ) -> Input<'x> {
        assert_eq!(
            states.len(),
            self.layers.len(),
            "{} states for {} layers",
            states.len(),
            self.layers.len()
        );
        let mut x = x.into().with_dropout(self.dropout);
        for (layer, state) in self.layers.iter().zip(states) {
            let h = layer.sequence(tape, x, window, state);
            x = Input::from(h).with_dropout(self.dropout);
        }
        x
    }
}
