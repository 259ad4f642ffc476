//! Recurrent layers on top of each other.

use recurra_tensor::{Element, Input, Parameters, Random, Tape, Var, Window};

use super::{CellKind, CellState, Recurrent};
use crate::ends::Ends;
use crate::{CellOptions, Dropout, Regularization};

/// L recurrent layers, each reading the one below, with dropout on the links between time-parallel parts only: before the
/// first layer, between layers and after the last, never on the recurrent link (Zaremba et al. 2014). Layers with residual links
/// have it on what they add in place of between them, and after the last only where that is asked for. Where outputs are summed,
/// what goes on after the last is Σ h_l, each as it was before its dropout (Melis, Dyer and Blunsom 2018).
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentStack {
    layers: Vec<Recurrent>,
    /// What stands before the first and after the last of layers with residual links.
    ends: Option<Ends>,
    input_dropout: Dropout,
    layer_dropout: Dropout,
    output_dropout: Dropout,
    /// Whether the sum of all layers goes on from the last.
    is_summed: bool,
}

/// What the last layer of a stack hands up.
#[derive(Clone, Copy, Debug)]
pub struct Top<'a> {
    /// (T·B, H), as it is.
    pub hidden: Var,
    /// The same through the dropout that follows it.
    pub dropped: Input<'a>,
}

impl RecurrentStack {
    /// Declares one layer for each of `hidden_sizes`; `dropout` is the rate of all links for which `regularization` has none.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        kind: CellKind,
        inputs: usize,
        hidden_sizes: &[usize],
        options: &CellOptions,
        dropout: f32,
        regularization: &Regularization,
    ) -> Self {
        let is_locked = regularization.locked_dropout.unwrap_or(false);
        let of_rate = |rate| Dropout { rate, is_locked };
        let layer_dropout = regularization.layer_dropout.unwrap_or(dropout);
        let embed_size = inputs;
        let mut inputs = inputs;
        let mut layers = Vec::with_capacity(hidden_sizes.len());
        let mut has_branches = false;
        for (layer, &hidden) in hidden_sizes.iter().enumerate() {
            let declared = Recurrent::declare(parameters, kind, layer, inputs, hidden, options);
            let layer;
            (layer, has_branches) = declared.with_branch_dropout(of_rate(layer_dropout));
            layers.push(layer);
            inputs = hidden;
        }
        let ends = Ends::declare(parameters, kind, embed_size, inputs, options);
        // A residual link goes through whole.
        let outside = |rate: f32| if has_branches { 0.0 } else { rate };
        Self {
            layers,
            ends,
            input_dropout: of_rate(regularization.input_dropout.unwrap_or(dropout)),
            layer_dropout: of_rate(outside(layer_dropout)),
            output_dropout: of_rate(regularization.output_dropout.unwrap_or(outside(dropout))),
            is_summed: options.summed_outputs.unwrap_or(false),
        }
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
        if let Some(ends) = &self.ends {
            ends.initialize(parameters, random);
        }
    }

    /// What a stack of such layers learns beside them.
    pub fn n_parameters_beside(
        kind: CellKind,
        inputs: usize,
        hidden: usize,
        options: &CellOptions,
    ) -> u128 {
        Ends::n_parameters(kind, inputs, hidden, options)
    }

    /// The states before the first token.
    pub fn zero_state<E: Element>(&self, batch: usize) -> Vec<CellState<E>> {
        self.layers.iter().map(|layer| layer.zero_state(batch)).collect()
    }

    /// Runs all layers over a window.
    ///
    /// # Shapes
    /// `x` (T·B, E), one state a layer → (T·B, H of the last layer).
    ///
    /// # Panics
    /// When there are not as many states as layers, or no layer.
    pub fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        states: &mut [CellState<E>],
    ) -> Top<'x> {
        let (n_states, n_layers) = (states.len(), self.layers.len());
        assert_eq!(n_states, n_layers, "{n_states} states for {n_layers} layers");
        let mut x = x.into();
        if let Some(ends) = &self.ends {
            x = ends.with_positions(tape, x, window, &states[0]);
        }
        x = self.input_dropout.of_input(tape, x, window);
        let mut sum = None;
        let mut top = None;
        for (idx, (layer, state)) in self.layers.iter().zip(states).enumerate() {
            let is_last = idx + 1 == n_layers;
            let mut hidden = layer.sequence(tape, x, window, state);
            if let Some(ends) = self.ends.as_ref().filter(|_| is_last) {
                hidden = ends.normalised(tape, hidden);
            }
            if self.is_summed {
                let below = sum.map_or(hidden, |below| tape.add(below, hidden));
                sum = Some(below);
                hidden = if is_last { below } else { hidden };
            }
            let dropout = if is_last { self.output_dropout } else { self.layer_dropout };
            x = dropout.of_input(tape, hidden.into(), window);
            top = Some(Top { hidden, dropped: x });
        }
        top.expect("a stack of at least one layer")
    }
}
