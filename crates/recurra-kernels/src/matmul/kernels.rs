//! What an instruction set brings to the product, and the panels it lays out.

use super::Matrix;
use super::sparse_rows::SparseLoops;
use super::vector::{Strip, Tile};

/// The loops of one instruction set, and how it lays out panels: in units of the size of an `f32`, whatever they hold.
pub(crate) struct Kernels {
    /// Rows of a tile, the width of a panel of A.
    pub rows: usize,
    /// Columns of a tile, the width of a panel of B.
    pub cols: usize,
    /// Units of memory a k takes in a panel of A and of B.
    pub row_step: usize,
    pub col_step: usize,
    /// Panels hold whole multiples of so many k, zero past the last.
    pub depth_unit: usize,
    /// Steps of k that a tile takes at a time.
    pub block_depth: usize,
    /// Steps of k that are laid out at a time, so that a task has columns enough for its depth.
    pub most_depth: usize,
    /// How many rows and columns an entry of `tiles` stands for.
    pub tile_rows: usize,
    pub lanes: usize,
    /// `tiles[r][v]` multiplies up to `(r + 1) · tile_rows` rows by up to `(v + 1) · lanes` columns of a panel of B.
    pub tiles: &'static [&'static [TileLoop]],
    /// `wide[r]` multiplies so few rows by several panels of B at once: one panel alone has too few chains to hide the
    /// latency of an addition.
    pub wide: &'static [(usize, TileLoop)],
    pub pack_rows: PackLoop,
    pub pack_cols: PackLoop,
    /// How many panels these lay out at once from rows of memory: neighbours share cache lines.
    pub packed_at_once: usize,
    /// For operands with many zeros, where leaving these out can pay.
    pub sparse: Option<&'static SparseLoops>,
    /// What a thread does before and after its tiles.
    pub enter: unsafe fn(),
    pub leave: unsafe fn(),
}

impl Kernels {
    /// Steps of k that a panel of `depth` holds.
    pub fn padded(&self, depth: usize) -> usize {
        depth.next_multiple_of(self.depth_unit)
    }

    /// Units of memory in a panel of B.
    pub fn col_panel(&self, depth: usize) -> usize {
        self.col_step * self.padded(depth)
    }

    /// Units of memory in a panel of A.
    pub fn row_panel(&self, depth: usize) -> usize {
        self.row_step * self.padded(depth)
    }

    /// Units of memory in all panels of a matrix of `depth` rows and `cols` columns.
    pub fn all_panels(&self, depth: usize, cols: usize) -> usize {
        cols.div_ceil(self.cols) * self.col_panel(depth)
    }
}

/// `enter` and `leave` of instruction sets that keep nothing between tiles.
pub(super) unsafe fn nothing() {}

pub(super) type TileLoop = unsafe fn(&Tile);
pub(super) type PackLoop = unsafe fn(&Strip, *mut f32);

/// Panels that are ready: where the first begins, how far apart they are.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub first: *const f32,
    pub apart: usize,
    /// From one k to the next.
    pub step: usize,
}

// SAFETY: the pointer stands for a slice that outlives the threads' work and that is written only before it is read, with a
// barrier between, or at disjoint places.
unsafe impl Sync for Panels {}

impl Panels {
    /// Step `k` of panel `idx`.
    pub fn at(&self, idx: usize, k: usize) -> *const f32 {
        self.first.wrapping_add(idx * self.apart + k * self.step)
    }
}

/// The columns of `b` that make `count` panels from number `idx` on.
pub(super) fn columns(kernels: &Kernels, b: Matrix<f32>, idx: usize, count: usize) -> Strip {
    strip(b, kernels.cols, idx, count)
}

/// The rows of `a` that make `count` panels from number `idx` on.
pub(super) fn rows(kernels: &Kernels, a: Matrix<f32>, idx: usize, count: usize) -> Strip {
    strip(a.transposed(), kernels.rows, idx, count)
}

/// The columns that make `count` runs of `width` from number `idx` on.
pub(super) fn strip(matrix: Matrix<f32>, width: usize, idx: usize, count: usize) -> Strip {
    let first = idx * width;
    let n = (matrix.cols() - first).min(count * width);
    let block = matrix.block(0..matrix.rows(), first..first + n);
    Strip {
        first: block.values().as_ptr(),
        across: block.col_stride(),
        along: block.row_stride(),
        n,
        depth: block.rows(),
        width,
    }
}
