//! Layers in the matrix unit, on machines that have none: the same names, and nothing behind them.
#![allow(clippy::too_many_arguments)] // a layer has that many

use crate::Cpu;
use crate::rnn::Activation;

/// Which cell a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru,
    /// Simple recurrent network.
    Rnn(Activation),
}

/// The sizes of a recurrent layer and its input over a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// T, time steps.
    pub time: usize,
    /// B, sequences side by side.
    pub batch: usize,
    /// E, values of an input.
    pub inputs: usize,
    /// H, hidden units.
    pub hidden: usize,
}

/// What a weight is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// x·W_ihᵀ and h·W_hhᵀ.
    Forward,
    /// d·W_ih and d·W_hh.
    Backward,
}

/// Weights in tiles, of which there are none.
#[derive(Debug)]
pub enum PackedLayer {}

/// Where the gradients of a layer's weights are added.
#[derive(Debug)]
pub struct LayerGradients<'a> {
    /// (G·H, E)
    pub weight_ih: &'a mut [f32],
    /// (G·H, H)
    pub weight_hh: &'a mut [f32],
    /// (G·H)
    pub bias_ih: &'a mut [f32],
    /// (G·H)
    pub bias_hh: &'a mut [f32],
}

/// Whether layers run in the matrix unit: they do not.
pub fn is_available(_: &Cpu) -> bool {
    false
}

impl PackedLayer {
    /// Never called.
    pub fn pack(_: &Cpu, _: CellKind, _: Direction, _: &[f32], _: &[f32], _: usize) -> Self {
        unreachable!("tiles on a machine without a matrix unit")
    }

    /// Never called.
    pub fn repack(&mut self, _: &Cpu, _: &[f32], _: &[f32]) {
        match *self {}
    }
}

/// Never called.
pub fn kept_len(_: CellKind, _: LayerShape) -> usize {
    unreachable!("a layer in tiles on a machine without a matrix unit")
}

/// Never called.
pub fn forward(
    _: &Cpu,
    _: CellKind,
    _: LayerShape,
    weights: &PackedLayer,
    _: [&[f32]; 2],
    _: &[f32],
    _: &mut [f32],
    _: Option<&mut [f32]>,
    _: &mut [f32],
) {
    match *weights {}
}

/// Never called.
pub fn backward(
    _: &Cpu,
    _: CellKind,
    _: LayerShape,
    weights: &PackedLayer,
    _: &mut [f32],
    _: &[f32],
    _: &[f32],
    _: &[f32],
    _: Option<(&mut [f32], bool)>,
    _: LayerGradients<'_>,
) {
    match *weights {}
}
