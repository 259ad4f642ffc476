//! What a layer keeps of a sequence for the way back: gates and memories, block by block.

use super::sizes::blocks;
use super::{CellKind, LayerShape};
use crate::SharedSlice;
use crate::amx::ROWS;

/// Values of an `f32` in a cache line, and what may be lost to begin at one.
const LINE: usize = 16;

/// How many values of the size of an `f32` a layer keeps of a sequence.
pub fn kept_len(cell: CellKind, shape: LayerShape) -> usize {
    let units = shape.rows() * blocks(shape.hidden) * ROWS;
    units * cell.kept() / 2 + units + shape.batch * blocks(shape.hidden) * ROWS + LINE
}

/// The places of what is kept. Values of one step and one block of sixteen units lie together, row by row: a member of the
/// team goes through its own from the first to the last.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// (T, blocks, B, kept, 16) `f16`: before a step the input's part of its gates, after it what the cell keeps.
    gates: *mut u16,
    /// (T + 1, blocks, B, 16)
    memory: *mut f32,
    batch: usize,
    blocks: usize,
    kept: usize,
}

// SAFETY: it stands for a slice that the members of a team use at places of their own blocks.
unsafe impl Sync for Kept {}

impl Kept {
    /// The places inside of `values`, of [`kept_len`].
    #[track_caller]
    pub(super) fn new(values: &SharedSlice<'_, f32>, cell: CellKind, shape: LayerShape) -> Self {
        assert!(values.len() >= kept_len(cell, shape), "{} values to keep {shape:?}", values.len());
        let start = values.ptr(0).align_offset(LINE * size_of::<f32>()).min(LINE);
        let (blocks, kept) = (shape.blocks(), cell.kept());
        let gates = shape.rows() * blocks * ROWS * kept / 2;
        Self {
            gates: values.ptr(start).cast(),
            memory: values.ptr(start + gates),
            batch: shape.batch,
            blocks,
            kept,
        }
    }

    /// The gates of a block at `step`, those of `row` first, and values from one row to the next.
    #[inline(always)]
    pub(super) fn gates(&self, step: usize, block: usize, row: usize) -> *mut u16 {
        let row = (step * self.blocks + block) * self.batch + row;
        self.gates.wrapping_add(row * self.kept * ROWS)
    }

    /// The memories of a block before `step`, that of `row` first.
    #[inline(always)]
    pub(super) fn memory(&self, step: usize, block: usize, row: usize) -> *mut f32 {
        self.memory.wrapping_add(((step * self.blocks + block) * self.batch + row) * ROWS)
    }
}
