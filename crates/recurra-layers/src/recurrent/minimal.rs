//! What the minimal cells (Feng et al. 2024) share: a scan whose memory is h, and a bias that says how long h is kept.

use std::fmt::Debug;
use std::marker::PhantomData;

use recurra_tensor::{
    Element, Input, Parameters, Random, ScanCell, ScanWeights, Tape, Var, Window,
};

use super::cell::{Cell, CellSize, CellState};
use super::scan;
use crate::CellOptions;

/// A layer of a minimal cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimal<C> {
    weights: ScanWeights,
    inputs: usize,
    hidden_size: usize,
    /// By default 0; above it h is kept for longer.
    forget_bias: f32,
    cell: PhantomData<C>,
}

/// What tells a minimal cell from another.
pub trait MinimalCell: Copy + Debug + PartialEq {
    /// Its recurrence.
    const SCAN: ScanCell;

    /// Which gate's bias gets how much at the start, so that h is kept as `forget_bias` asks.
    fn shift(forget_bias: f32) -> (usize, f32);
}

impl<C: MinimalCell> Minimal<C> {
    /// Declares layer number `layer`.
    pub fn declare<E: Element>(
        parameters: &mut Parameters<E>,
        layer: usize,
        inputs: usize,
        hidden_size: usize,
        options: &CellOptions,
    ) -> Self {
        let weights = scan::declare(parameters, layer, C::SCAN, inputs, hidden_size);
        let forget_bias = options.forget_bias.unwrap_or(0.0);
        Self { weights, inputs, hidden_size, forget_bias, cell: PhantomData }
    }
}

impl<C: MinimalCell> Cell for Minimal<C> {
    const PARTS: &'static [&'static str] = &["h"];
    const OPTIONS: &'static [&'static str] = &["forget_bias", "summed_outputs"];

    fn size(inputs: usize, hidden: usize, _: &CellOptions) -> CellSize {
        scan::size(C::SCAN, inputs, hidden)
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, random: &mut Random) {
        scan::initialize_uniform(parameters, &self.weights, self.inputs, random);
        let (gate, shift) = C::shift(self.forget_bias);
        scan::shift_bias(parameters, &self.weights, self.hidden_size, gate, shift);
    }

    fn sequence<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        x: impl Into<Input<'x>>,
        window: Window,
        state: &mut CellState<E>,
    ) -> Var {
        let [h] = state.slices();
        tape.scan(C::SCAN, x, self.weights, window, h)
    }
}
