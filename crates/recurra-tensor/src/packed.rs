//! Weights in the kernels' own layout, made again only when the weights have changed.

use std::collections::HashMap;

use recurra_kernels::layer::{CellKind, Direction, PackedLayer};
use recurra_kernels::matmul::{Matrix, PackedMatrix};
use recurra_kernels::recurrent::RecurrentWeight;
use recurra_kernels::{Cpu, Element};

use crate::ops::sweep::RecurrentWeights;
use crate::parameters::{ParameterId, Values};

/// Packed copies of weights, each with the version of the weights it was made from.
#[derive(Debug)]
pub(crate) struct PackedWeights<E> {
    /// Each weight transposed (for x·Wᵀ) or as it is (for d·W).
    matrices: HashMap<(ParameterId, bool), (u64, PackedMatrix<E>)>,
    recurrent: HashMap<ParameterId, (u64, RecurrentWeight<E>)>,
    /// Both weights of a layer for each direction, by W_hh.
    layers: HashMap<ParameterId, [Option<(u64, PackedLayer)>; 2]>,
}

impl<E: Element> PackedWeights<E> {
    pub(crate) fn new() -> Self {
        Self { matrices: HashMap::new(), recurrent: HashMap::new(), layers: HashMap::new() }
    }

    /// `weight` (out, in) packed as the right side of a product: transposed for x·Wᵀ, or as it is for d·W.
    pub(crate) fn matrix(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        weight: ParameterId,
        is_transposed: bool,
    ) -> &PackedMatrix<E> {
        let (rows, cols) = values.matrix_shape(weight);
        let matrix = Matrix::new(values.of(weight), rows, cols);
        let matrix = if is_transposed { matrix.transposed() } else { matrix };
        let version = values.version();
        let (packed_from, packed) = self
            .matrices
            .entry((weight, is_transposed))
            .or_insert_with(|| (version, PackedMatrix::pack(cpu, matrix)));
        if *packed_from != version {
            packed.repack(cpu, matrix);
            *packed_from = version;
        }
        packed
    }

    /// `weight_hh` (G·H, H) packed by units for a recurrent sweep.
    pub(crate) fn recurrent(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        weight_hh: ParameterId,
    ) -> &RecurrentWeight<E> {
        let (rows, hidden) = values.matrix_shape(weight_hh);
        let n_gates = rows / hidden;
        let version = values.version();
        let (packed_from, packed) = self.recurrent.entry(weight_hh).or_insert_with(|| {
            (version, RecurrentWeight::pack(cpu, values.of(weight_hh), hidden, n_gates))
        });
        if *packed_from != version {
            packed.repack(cpu, values.of(weight_hh));
            *packed_from = version;
        }
        packed
    }

    /// Both weights of a layer packed as tiles, which are `f32` wherever there are tiles.
    pub(crate) fn layer(
        &mut self,
        cpu: &Cpu,
        values: &Values<E>,
        cell: CellKind,
        direction: Direction,
        weights: &RecurrentWeights,
    ) -> &PackedLayer {
        let (_, hidden) = values.matrix_shape(weights.weight_hh);
        let [weight_ih, weight_hh] = [weights.weight_ih, weights.weight_hh]
            .map(|weight| E::as_f32(values.of(weight)).expect("`f32`"));
        let version = values.version();
        let layers = self.layers.entry(weights.weight_hh).or_default();
        // Whoever went back before will do so again: both directions while the weights are being read.
        let mut stale: Vec<_> =
            layers.iter_mut().flatten().filter(|(from, _)| *from != version).collect();
        stale.iter_mut().for_each(|(from, _)| *from = version);
        let mut stale: Vec<_> = stale.into_iter().map(|(_, layer)| layer).collect();
        PackedLayer::repack_all(&mut stale, cpu, weight_ih, weight_hh);
        let (_, packed) = layers[direction as usize].get_or_insert_with(|| {
            (version, PackedLayer::pack(cpu, cell, direction, weight_ih, weight_hh, hidden))
        });
        packed
    }
}
