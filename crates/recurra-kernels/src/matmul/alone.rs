//! Products that one thread makes of operands that it has laid out itself, for work that is shared out in other pieces than
//! the blocks of one product.

use super::block::Block;
use super::buffer::Buffer;
use super::kernels::{Kernels, Panels, columns, rows};
use super::{Matrix, Start};

/// A left operand (M, K), laid out.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub panels: &'a [f32],
    pub rows: usize,
    pub depth: usize,
}

/// Some rows and columns of a right operand that was laid out as a whole.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    pub panels: &'a [f32],
    /// Rows of the whole.
    pub depth: usize,
    /// The first row, a multiple of the depth that panels come in.
    pub first_row: usize,
    /// The first column, a multiple of a panel's width.
    pub first_col: usize,
    /// Columns.
    pub cols: usize,
}

impl<'a> Left<'a> {
    /// Lays out all of a matrix.
    ///
    /// # Safety
    /// The machine has the instruction set of the kernels.
    pub(crate) unsafe fn lay(
        kernels: &Kernels,
        a: Matrix<'_, f32>,
        to: &'a mut Buffer<f32>,
    ) -> Left<'a> {
        let (panel, n_panels) = (kernels.row_panel(a.cols()), a.rows().div_ceil(kernels.rows));
        let panels = to.take(n_panels * panel);
        for (idx, to) in panels.chunks_exact_mut(panel).enumerate() {
            // SAFETY: room for the panel; the instruction set by this function's contract.
            unsafe { (kernels.pack_rows)(&rows(kernels, a, idx, 1), to.as_mut_ptr()) };
        }
        Left { panels, rows: a.rows(), depth: a.cols() }
    }
}

impl<'a> Right<'a> {
    /// Lays out all of a matrix.
    ///
    /// # Safety
    /// The machine has the instruction set of the kernels.
    pub(crate) unsafe fn lay(
        kernels: &Kernels,
        b: Matrix<'_, f32>,
        to: &'a mut Buffer<f32>,
    ) -> Right<'a> {
        let panels = to.take(right_len(kernels, b.rows(), b.cols()));
        // SAFETY: by this function's contract.
        unsafe { lay_right(kernels, b, panels) };
        Right { panels, depth: b.rows(), first_row: 0, first_col: 0, cols: b.cols() }
    }
}

/// Room for a right operand.
pub(crate) fn right_len(kernels: &Kernels, depth: usize, cols: usize) -> usize {
    kernels.all_panels(depth, cols)
}

/// Lays out a right operand.
///
/// # Safety
/// The machine has the instruction set of the kernels.
#[track_caller]
pub(crate) unsafe fn lay_right(kernels: &Kernels, b: Matrix<'_, f32>, to: &mut [f32]) {
    let panel = kernels.col_panel(b.rows());
    assert!(to.len() >= right_len(kernels, b.rows(), b.cols()), "room for a right operand");
    for idx in 0..b.cols().div_ceil(kernels.cols) {
        // SAFETY: room for every panel by the check above; the instruction set by this function's contract.
        unsafe {
            (kernels.pack_cols)(&columns(kernels, b, idx, 1), to.as_mut_ptr().add(idx * panel));
        }
    }
}

/// C ← A·B, or C ← C + A·B.
///
/// # Safety
/// The machine has the instruction set of the kernels; operands hold what they say, in panels of them; C has room for as many
/// rows, `c_stride` apart, and nobody else has it.
pub(crate) unsafe fn multiply(
    kernels: &'static Kernels,
    left: Left<'_>,
    right: Right<'_>,
    adds: bool,
    c: *mut f32,
    c_stride: usize,
) {
    debug_assert!(right.first_row.is_multiple_of(kernels.depth_unit));
    debug_assert!(right.first_col.is_multiple_of(kernels.cols));
    debug_assert!(right.first_row + left.depth <= kernels.padded(right.depth));
    let a = Panels {
        first: left.panels.as_ptr(),
        apart: kernels.row_panel(left.depth),
        step: kernels.row_step,
    };
    let apart = kernels.col_panel(right.depth);
    let first = right.first_col / kernels.cols * apart + right.first_row * kernels.col_step;
    let b = Panels { first: right.panels[first..].as_ptr(), apart, step: kernels.col_step };
    let block = Block {
        kernels,
        rows: left.rows,
        depth: left.depth,
        cols: right.cols,
        start: if adds { Start::Sum } else { Start::Zero },
        c,
        c_stride,
    };
    let (i, j) = (left.rows.div_ceil(kernels.rows), right.cols.div_ceil(kernels.cols));
    // SAFETY: by this function's contract.
    unsafe { block.multiply(a, b, 0..i, 0..j) };
}
