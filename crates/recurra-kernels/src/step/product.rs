//! One part of one block times some rows: what every instruction set has its own loop for.

use super::layout::{LANES, Packed};

/// Rows of an input, as a product reads them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// `f32`, or what [`Kernels::prepare`](super::kernels::Kernels) made of it.
    pub values: *const u8,
    /// From one row to the next.
    pub row_bytes: usize,
    /// One a row, where they are whole numbers.
    pub scales: *const f32,
}

impl Rows {
    /// No rows.
    pub const NONE: Self =
        Self { values: std::ptr::null(), row_bytes: 0, scales: std::ptr::null() };
}

/// out ← bias + weights · rows, or weights · rows + bias for the second input: each sum is one chain in the order of k.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub packed: &'a Packed,
    /// Which input.
    pub part: usize,
    pub block: usize,
    pub rows: Rows,
    pub n_rows: usize,
    /// Lines of a row beside each other; rows `out_stride` values apart.
    pub out: *mut f32,
    pub out_stride: usize,
    /// The weights that are read after these: many rows leave time to fetch them meanwhile.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // asked for by tiles only
    pub next: *const u8,
}

/// Where the parts of a header and of the output of one line are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header(*const f32);

impl Header {
    pub fn bias(self, line: usize) -> *const f32 {
        self.0.wrapping_add(line * LANES)
    }
    pub fn scales(self, line: usize, n_lines: usize) -> *const f32 {
        self.bias(n_lines + line)
    }
    pub fn offsets(self, line: usize, n_lines: usize) -> *const i32 {
        self.bias(2 * n_lines + line).cast()
    }
}

impl Product<'_> {
    /// The header and the weights.
    #[inline(always)]
    pub fn operand(&self) -> (Header, *const u8) {
        let (header, weights) = self.packed.part(self.block, self.part);
        (Header(header), weights)
    }

    /// Values of the input.
    #[inline(always)]
    pub fn depth(&self) -> usize {
        self.packed.parts[self.part].depth
    }

    /// Row `row` of the input.
    #[inline(always)]
    pub fn row(&self, row: usize) -> *const u8 {
        self.rows.values.wrapping_add(row * self.rows.row_bytes)
    }

    /// Where line `line` of row `row` goes.
    #[inline(always)]
    pub fn out(&self, row: usize, line: usize) -> *mut f32 {
        self.out.wrapping_add(row * self.out_stride + line * LANES)
    }
}
