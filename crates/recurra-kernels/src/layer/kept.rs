//! What a layer keeps of a sequence for the way back: gates and memories, block by block.

use super::{CellKind, LayerShape};
use crate::SharedSlice;
use crate::tiles::ROWS;

/// Values of an `f32` in a cache line, and what may be lost to begin at one.
const LINE: usize = 16;

/// How many values of the size of an `f32` a layer keeps of a sequence.
pub fn kept_len(cell: CellKind, shape: LayerShape) -> usize {
    Blocks::len(shape, shape.time, cell.sizes().kept) + Blocks::len(shape, shape.time + 1, 1) + LINE
}

/// Values of `f16` as a member of the team goes through its own: (T, blocks, B, width, 16), those of one step and one block of
/// sixteen units together, row by row.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    first: *mut u16,
    blocks: usize,
    batch: usize,
    width: usize,
}

// SAFETY: it stands for a slice that the members of a team use at places of their own blocks.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// The places from `first` on, `width` vectors a row.
    pub(super) fn new(first: *mut f32, shape: LayerShape, width: usize) -> Self {
        Self { first: first.cast(), blocks: shape.blocks(), batch: shape.batch, width }
    }

    /// Values of the size of an `f32` that so many steps take.
    pub(super) fn len(shape: LayerShape, steps: usize, width: usize) -> usize {
        steps * shape.batch * shape.blocks() * width * ROWS / 2
    }

    /// The vectors of a row.
    #[inline(always)]
    pub(super) fn at(&self, step: usize, block: usize, row: usize) -> *mut u16 {
        let row = (step * self.blocks + block) * self.batch + row;
        self.first.wrapping_add(row * self.width * ROWS)
    }
}

/// The places of what is kept, from a cache line on.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// What the cell keeps of each step.
    pub gates: Blocks,
    /// The memories before each step, and after the last: as large as an `f16` can be at most.
    pub memory: Blocks,
}

impl Kept {
    /// The places inside of `values`, of [`kept_len`].
    #[track_caller]
    pub(super) fn new(values: &SharedSlice<'_, f32>, cell: CellKind, shape: LayerShape) -> Self {
        assert!(values.len() >= kept_len(cell, shape), "{} values to keep {shape:?}", values.len());
        let start = values.ptr(0).align_offset(LINE * size_of::<f32>()).min(LINE);
        let gates = Blocks::len(shape, shape.time, cell.sizes().kept);
        Self {
            gates: Blocks::new(values.ptr(start), shape, cell.sizes().kept),
            memory: Blocks::new(values.ptr(start + gates), shape, 1),
        }
    }
}
