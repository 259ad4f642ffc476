//! Layers in the matrix unit, on machines that have none: the same names, and nothing behind them.
#![allow(clippy::too_many_arguments)] // a layer has that many

mod kinds;

pub use kinds::{CellKind, Direction, Input, InputGradient, LayerGradients, LayerShape};

use crate::Cpu;
use crate::dropout::Mask;
use crate::update::{Pass, Slabs};

/// Weights in tiles, of which there are none.
#[derive(Debug)]
pub enum PackedLayer {}

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
    pub fn repack_all(_: &mut [&mut Self], _: &Cpu, _: &[f32], _: &[f32]) {}

    /// Never called.
    pub fn update_all(_: &mut [&mut Self], _: &Cpu, _: impl Into<Pass>, _: [Slabs<'_, f32>; 2]) {}
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
    _: Input<'_>,
    _: &mut [f32],
    _: Option<&mut [f32]>,
    _: Option<Mask>,
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
    _: Input<'_>,
    _: &[f32],
    _: Option<Mask>,
    _: &mut [f32],
    _: InputGradient<'_>,
    _: LayerGradients<'_>,
) {
    match *weights {}
}
