//! The gradients of a layer's weights: large products over all rows of a piece, in tiles that are kept until the last one.

use super::LayerShape;
use super::input::Reader;
use super::product::Tiles;
use super::sizes::{Steps, blocks};
use super::square::Square;
use crate::recurrent::{Cell, load, store};
use crate::simd::{Avx512, Vector};
use crate::tiles::layout;
use crate::tiles::{DEPTH, ROWS, TILE};
use crate::update::put_row::{self, Row};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Tiles of k that a sum is carried through before the next sum: what they need stays in the first cache. Operands have so
/// many tiles of each row or column together, because rows that are a power of two apart would push each other out.
const DEPTH_CHUNK: usize = 8;
/// Bytes of gradients that go past the caches: those would not be there any more when the update wants them.
const FAR: usize = 12 << 20;
/// Vectors of units whose sums stay in the second cache.
const VECTOR_CHUNK: usize = 24;
/// Tiles of features whose sums stay there.
const FEATURE_CHUNK: usize = 24;

/// A sequence as left operand: for each sixteen features, tiles of 32 rows of k.
#[derive(Clone, Copy)]
pub(super) struct FeatureTiles {
    pub first: *mut f32,
    pub n_features: usize,
}

// SAFETY: it stands for a slice that the members of a team write apart, and read after a barrier.
unsafe impl Sync for FeatureTiles {}

impl FeatureTiles {
    fn tiles(&self) -> usize {
        blocks(self.n_features)
    }

    fn at(&self, tile: usize, k: usize) -> *mut f32 {
        self.first.wrapping_add(place(tile, self.tiles(), k) * TILE)
    }

    /// Tile `k` of all features, from the rows of some steps; a step has whole pairs of rows.
    ///
    /// # Safety
    /// AVX-512 with `bf16`; nobody else touches these tiles.
    #[inline(always)]
    pub(super) unsafe fn fill(&self, values: &Reader<'_>, k: usize, steps: &Steps, batch: usize) {
        let paired = batch.next_multiple_of(2);
        let mut rows = [None; DEPTH];
        for (idx, row) in rows.iter_mut().enumerate() {
            let (step, b) = ((k * DEPTH + idx) / paired, (k * DEPTH + idx) % paired);
            if step < steps.len() && b < batch {
                let n = (steps.start + step) * batch + b;
                *row = Some((values.row(n), n));
            }
        }
        for tile in 0..self.tiles() {
            // SAFETY: rows of `values`; the tile is inside.
            unsafe {
                let zero = Avx512::splat(0.0);
                let mut pairs = [Avx512::round_two(zero, zero).pairs(); ROWS];
                for (pairs, &[even, odd]) in pairs.iter_mut().zip(rows.as_chunks().0) {
                    let even = values.vector_or_zero(even, tile * ROWS);
                    let odd = values.vector_or_zero(odd, tile * ROWS);
                    *pairs = Avx512::round_two(even, odd).pairs();
                }
                layout::put_transposed(pairs, self.at(tile, k));
            }
        }
    }
}

/// The gradients of a piece as right operand: for each sixteen units and gradient, tiles of pairs of rows.
#[derive(Clone, Copy)]
pub(super) struct PairTiles {
    pub first: *mut f32,
    pub n_vectors: usize,
    pub paired_batch: usize,
}

// SAFETY: it stands for a slice that the members of a team use at places of their own blocks.
unsafe impl Sync for PairTiles {}

impl PairTiles {
    /// Tiles of k that so many steps take.
    pub(super) fn n_k(&self, steps: usize) -> usize {
        (steps * self.paired_batch).div_ceil(DEPTH)
    }

    fn at(&self, vector: usize, k: usize) -> *mut f32 {
        self.first.wrapping_add(place(vector, self.n_vectors, k) * TILE)
    }

    /// The place of a pair of rows of a step.
    #[inline(always)]
    pub(super) fn pair(&self, vector: usize, step: usize, pair: usize) -> *mut f32 {
        let pair = step * self.paired_batch / 2 + pair;
        self.at(vector, pair / ROWS).wrapping_add(pair % ROWS * ROWS)
    }

    /// Zeros past the last row.
    ///
    /// # Safety
    /// Nobody else touches these vectors.
    pub(super) unsafe fn clear_last(&self, vectors: Range<usize>, steps: usize) {
        let n_k = self.n_k(steps);
        let used = steps * self.paired_batch / 2 * ROWS % TILE;
        for vector in vectors.filter(|_| used > 0) {
            // SAFETY: from the end of what is used to the end of the last tile.
            unsafe { self.at(vector, n_k - 1).add(used).write_bytes(0, TILE - used) };
        }
    }
}

/// Where the gradients of a layer's weights go, and their sums until then.
pub(super) struct Gradients<'a> {
    pub shape: LayerShape,
    /// (G·H, E), (G·H, H): added to where it `adds`, otherwise written.
    pub weights: [SharedSlice<'a, f32>; 2],
    pub adds: bool,
    /// (G·H) each: Σ g² of each row of the weights' gradients.
    pub squares: [SharedSlice<'a, f64>; 2],
    /// (G·H) each: added to.
    pub biases: [SharedSlice<'a, f32>; 2],
    pub sums: GradientSums<'a>,
}

/// The sums of weight gradients until the last piece.
pub(super) struct GradientSums<'a> {
    /// For each unit vector and gate, a tile of each sixteen features: W_ih transposed, W_hh transposed.
    pub weights: [SharedSlice<'a, f32>; 2],
    /// (blocks · gradients, 16), zero at the start.
    pub biases: SharedSlice<'a, f32>,
    /// For each member, room of [`turned_len`](Self::turned_len).
    pub turned: SharedSlice<'a, f32>,
}

impl GradientSums<'_> {
    /// Values of sixteen rows: tiles are turned there before they go to the gradients.
    pub(super) fn turned_len(shape: LayerShape) -> usize {
        ROWS * ROWS * blocks(shape.inputs.max(shape.hidden))
    }
}

impl Gradients<'_> {
    /// Adds to the sum of a unit vector's gradient.
    ///
    /// # Safety
    /// The vector is this member's.
    #[inline(always)]
    pub(super) unsafe fn add_bias(&self, vector: usize, value: Avx512) {
        let sum = self.sums.biases.ptr(vector * ROWS);
        // SAFETY: by this function's contract.
        unsafe { Avx512::load(sum).add(value).store(sum) };
    }

    /// sums = or += featuresᵀ · gradients, for the member's blocks.
    ///
    /// # Safety
    /// The machine has the unit, the thread's tiles are whole, and the operands hold `n_k` tiles of k.
    #[inline(always)]
    pub(super) unsafe fn add<C: Cell>(
        &self,
        unit: &Tiles,
        d: &PairTiles,
        features: [&FeatureTiles; 2],
        n_k: usize,
        own: Range<usize>,
        from_zero: bool,
    ) {
        let vectors = own.start * C::GATES..own.end * C::GATES;
        for (weight, features) in features.into_iter().enumerate() {
            let product = Product { features, d, sums: &self.sums.weights[weight], n_k, from_zero };
            for vectors in chunks(vectors.clone(), VECTOR_CHUNK) {
                for tiles in chunks(0..features.tiles(), FEATURE_CHUNK) {
                    for ks in chunks(0..n_k, DEPTH_CHUNK) {
                        // SAFETY: by this function's contract.
                        unsafe {
                            product.add_chunk::<C>(
                                unit,
                                weight,
                                vectors.clone(),
                                tiles.clone(),
                                ks,
                            );
                        }
                    }
                }
            }
        }
    }

    /// The sums of the member's blocks, to the gradients.
    ///
    /// # Safety
    /// The machine has AVX-512; every piece has been added.
    #[inline(always)]
    pub(super) unsafe fn finish<C: Cell>(&self, worker: &Worker<'_>, own: Range<usize>) {
        let len = GradientSums::turned_len(self.shape);
        let room = worker.share(self.sums.turned.len() / len).start * len;
        // SAFETY: each member has a room of its own.
        let turned = unsafe { self.sums.turned.slice(room..room + len) };
        let LayerShape { inputs, hidden, .. } = self.shape;
        let bytes = self.weights.iter().map(|weight| weight.len() * size_of::<f32>());
        let is_far = !self.adds && bytes.sum::<usize>() >= FAR;
        for (weight, cols) in [inputs, hidden].into_iter().enumerate() {
            let of = if weight == 0 { C::OF_INPUT } else { C::OF_RECURRENT };
            let n_tiles = blocks(cols);
            let stride = n_tiles * ROWS;
            for vector in own.start * C::GATES..own.end * C::GATES {
                let (block, gate) = (vector / C::GATES, vector % C::GATES);
                let unit = block * ROWS;
                let n_units = ROWS.min(hidden - unit);
                let row = gate * hidden + unit;
                // SAFETY: rows of this member's units; `turned` has room for sixteen.
                unsafe {
                    let sum = self.sums.biases.ptr((block * C::GRADIENTS + of[gate]) * ROWS);
                    let to = self.biases[weight].ptr(row);
                    store(load::<Avx512>(to, n_units).add(Avx512::load(sum)), to, n_units);
                    for tile in 0..n_tiles {
                        let from = self.sums.weights[weight].ptr((vector * n_tiles + tile) * TILE);
                        let columns = layout::transposed_sums(from);
                        for (row, column) in turned.chunks_exact_mut(stride).zip(columns) {
                            Avx512::from_bits(column).store(row[tile * ROWS..].as_mut_ptr());
                        }
                    }
                    let rows = self.weights[weight].slice(row * cols..(row + n_units) * cols);
                    let squares = self.squares[weight].slice(row..row + n_units);
                    for (idx, (to, square)) in rows.chunks_exact_mut(cols).zip(squares).enumerate()
                    {
                        let from = &turned[idx * stride..][..stride];
                        *square = Row { from, to, adds: self.adds, is_far }.put();
                    }
                }
            }
        }
        put_row::fence();
    }
}

/// featuresᵀ · gradients, for one weight.
struct Product<'a> {
    features: &'a FeatureTiles,
    d: &'a PairTiles,
    sums: &'a SharedSlice<'a, f32>,
    n_k: usize,
    /// Whether the sums begin here.
    from_zero: bool,
}

impl Product<'_> {
    /// Adds some steps of k to the sums of some vectors of units with some tiles of features, which all stay in the second cache.
    ///
    /// # Safety
    /// As for [`Gradients::add`].
    #[inline(always)]
    unsafe fn add_chunk<C: Cell>(
        &self,
        unit: &Tiles,
        weight: usize,
        vectors: Range<usize>,
        tiles: Range<usize>,
        ks: Range<usize>,
    ) {
        let of = if weight == 0 { C::OF_INPUT } else { C::OF_RECURRENT };
        let left_of = |tile: usize, k: usize| self.features.at(tile, k).cast_const();
        let right_of = |vector: usize, k: usize| {
            let gradient = vector / C::GATES * C::GRADIENTS + of[vector % C::GATES];
            self.d.at(gradient, k).cast_const()
        };
        let n_tiles = self.features.tiles();
        let sum = |vector: usize, tile: usize| self.sums.ptr((vector * n_tiles + tile) * TILE);
        // What the next steps of k take, one half of the sums asking for one operand.
        let next = if ks.end < self.n_k { ks.end } else { 0 };
        let bytes = DEPTH_CHUNK * TILE * size_of::<f32>();
        unit.fetch(left_of(tiles.start, next), tiles.len() * bytes);
        for vector in vectors.clone().step_by(2) {
            let right = (vector + 1).min(vectors.end - 1);
            if vector - vectors.start == vectors.len() / 4 * 2 {
                unit.fetch(right_of(vectors.start, next), vectors.len() * bytes);
            }
            for tile in tiles.clone().step_by(2) {
                let low = (tile + 1).min(tiles.end - 1);
                let square = Square {
                    n_k: ks.len(),
                    left: [tile, low].map(|tile| left_of(tile, ks.start)),
                    right: [vector, right].map(|vector| right_of(vector, ks.start)),
                    sums: [tile, low].map(|tile| [vector, right].map(|vector| sum(vector, tile))),
                };
                // SAFETY: by this function's contract.
                unsafe { square.multiply(unit, self.from_zero && ks.start == 0) };
            }
        }
    }
}

/// Which tile of all that of step `k` in line `line` of `n_lines` is.
#[inline(always)]
fn place(line: usize, n_lines: usize, k: usize) -> usize {
    (k / DEPTH_CHUNK * n_lines + line) * DEPTH_CHUNK + k % DEPTH_CHUNK
}

/// Tiles of k there must be room for.
pub(super) fn padded_k(n_k: usize) -> usize {
    n_k.next_multiple_of(DEPTH_CHUNK)
}

/// A range in pieces of at most `most`.
fn chunks(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let end = range.end;
    range.step_by(most).map(move |start| start..(start + most).min(end))
}
