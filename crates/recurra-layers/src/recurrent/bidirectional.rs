//! Layers that read a window in both directions.

use recurra_tensor::{Element, Input, Parameters, Random, Tape, Var, Window};

use super::{Cell, CellState, Gru, Lstm};
use crate::CellOptions;

/// Two cells of a family over one window, the second from its last step to its first (Schuster and Paliwal 1997):
///
/// ```text
/// h→_t = cell(x_t, h→_{t−1})        h←_t = cell′(x_t, h←_{t+1})        h_t = (h→_t, h←_t)
/// ```
///
/// It sees what comes, so it is for texts that are there as a whole, and no part of a language model that writes. Every stream is
/// as long as the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bidirectional<C> {
    forward: C,
    reverse: C,
}

/// Both cells of a family whose `declare` takes a layer's name.
macro_rules! declare {
    ($($cell:ident),*) => {$(
        impl Bidirectional<$cell> {
            /// Declares layer number `layer`: `rnn.weight_ih_l{layer}` and so on, the second cell's with `_reverse` behind.
            pub fn declare<E: Element>(
                parameters: &mut Parameters<E>,
                layer: usize,
                inputs: usize,
                hidden_size: usize,
                options: &CellOptions,
            ) -> Self {
                let forward = $cell::declare(parameters, layer, inputs, hidden_size, options);
                let layer = format_args!("{layer}_reverse");
                let reverse = $cell::declare(parameters, layer, inputs, hidden_size, options);
                Self { forward, reverse }
            }
        }
    )*};
}

declare!(Lstm, Gru);

impl<C: Cell> Bidirectional<C> {
    /// 2·H: the width of what the layer hands up.
    pub fn output_size(&self) -> usize {
        2 * self.forward.hidden_size()
    }

    /// Draws the parameters.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        self.forward.initialize(parameters, random);
        self.reverse.initialize(parameters, random);
    }

    /// The states before the first step and behind the last: zeros.
    pub fn zero_state<E: Element>(&self, batch: usize) -> [CellState<E>; 2] {
        [self.forward.zero_state(batch), self.reverse.zero_state(batch)]
    }

    /// Runs over a window. The first of `states` comes before the window and becomes what comes after it, the second comes after
    /// it and becomes what comes before it, each without its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), parts of `states` (B, H) → (T·B, 2·H).
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        states: &mut [CellState<E>; 2],
    ) -> Var {
        let [before, after] = states;
        let x = tape.read(x.into()); // (T·B, E)
        let forward = self.forward.sequence(tape, x, window, before); // (T·B, H)
        let from_the_end = tape.reversed(x, window);
        let reverse = self.reverse.sequence(tape, from_the_end, window, after);
        let reverse = tape.reversed(reverse, window);
        tape.beside(forward, reverse) // (T·B, 2·H)
    }
}
