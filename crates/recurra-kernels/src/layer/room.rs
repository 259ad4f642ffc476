//! Where the way back works: what it leaves for its own products, and their sums.

use super::gradient::{self, FeatureTiles, GradientSums, PairTiles};
use super::product::Rows;
use super::sizes::{blocks, longest_piece, padded};
use super::{CellSizes, LayerShape, backward};
use crate::SharedSlice;
use crate::matmul::buffer::Buffer;
use crate::tiles::{DEPTH, ROWS, TILE};

/// The parts of scratch memory, each at a cache line.
pub(super) struct Room<'a> {
    /// The gradients of a piece, row by row: gradient by gradient, each padded to whole tiles.
    pub d_rows: Rows,
    /// The same as right operands, by blocks.
    pub d_pairs: PairTiles,
    /// x and h₋ of a piece as left operands, by sixteen values.
    pub x_tiles: FeatureTiles,
    pub h_tiles: FeatureTiles,
    /// (blocks, B, 16) each: what the step after sends back to h and to the memory.
    pub d_h_carried: SharedSlice<'a, f32>,
    pub d_memory: SharedSlice<'a, f32>,
}

impl<'a> Room<'a> {
    /// The parts for a layer and a team of so many threads, those for the gradients of weights apart.
    pub(super) fn new(
        buffer: &'a mut Buffer<f32>,
        cell: &CellSizes,
        shape: LayerShape,
        threads: usize,
    ) -> (Self, GradientSums<'a>) {
        let LayerShape { time, batch, inputs, hidden } = shape;
        let longest = longest_piece(time, batch, backward::PIECE);
        let paired_batch = shape.paired_batch();
        let most_k = gradient::padded_k((longest * paired_batch).div_ceil(DEPTH));
        let (n_blocks, n_vectors) = (shape.blocks(), shape.blocks() * cell.gradients);
        let depth = cell.gradients * padded(hidden);
        let weight = |cols: usize| n_blocks * cell.gates * blocks(cols) * TILE;
        let lens = [
            longest * batch * Rows::stride(depth) / 2,
            n_vectors * most_k * TILE,
            blocks(inputs) * most_k * TILE,
            blocks(hidden) * most_k * TILE,
            n_blocks * batch * ROWS,
            n_blocks * batch * ROWS,
            weight(inputs),
            weight(hidden),
            n_vectors * ROWS,
            threads * GradientSums::turned_len(shape),
        ];
        let [d_rows, d_pairs, x_tiles, h_tiles, d_h, d_memory, ih, hh, biases, turned] =
            parts(buffer, lens);
        biases.fill(0.0);
        let room = Self {
            d_rows: Rows::new(d_rows.as_mut_ptr(), depth),
            d_pairs: PairTiles { first: d_pairs.as_mut_ptr(), n_vectors, paired_batch },
            x_tiles: FeatureTiles { first: x_tiles.as_mut_ptr(), n_features: inputs },
            h_tiles: FeatureTiles { first: h_tiles.as_mut_ptr(), n_features: hidden },
            d_h_carried: SharedSlice::new(d_h),
            d_memory: SharedSlice::new(d_memory),
        };
        let [biases, turned] = [biases, turned].map(SharedSlice::new);
        (room, GradientSums { weights: [ih, hh].map(SharedSlice::new), biases, turned })
    }
}

/// Scratch memory in parts, each at a cache line.
pub(super) fn parts<const N: usize>(buffer: &mut Buffer<f32>, lens: [usize; N]) -> [&mut [f32]; N] {
    let lens = lens.map(|len| len.next_multiple_of(TILE));
    let mut rest = buffer.take(lens.iter().sum());
    lens.map(|len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
        rest = after;
        part
    })
}
