//! What a layer reads: rows as they lie or rows of a table, through dropout, without a copy of them in between.

use super::{Input, LayerShape};
use crate::dropout;
use crate::recurrent::load;
use crate::simd::{Avx512, Vector};
use crate::tiles::DEPTH;

/// Rows of values, sixteen of a row at a time.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    values: &'a [f32],
    ids: Option<&'a [u32]>,
    width: usize,
    pub mask: Option<dropout::Prepared>,
    /// Rows that the mask covers before it begins again.
    mask_rows: usize,
}

impl<'a> Reader<'a> {
    /// The inputs of a layer.
    ///
    /// # Panics
    /// When there are not as many as the shape says, or an id has no row.
    #[track_caller]
    pub(super) fn new(input: Input<'a>, shape: LayerShape) -> Self {
        let Input { values, ids, mask } = input;
        let (n_rows, width) = (shape.rows(), shape.inputs);
        match ids {
            None => assert_eq!(values.len(), n_rows * width, "x of {shape:?}"),
            Some(ids) => {
                assert_eq!(ids.len(), n_rows, "ids of {shape:?}");
                let vocab = values.len() / width;
                assert_eq!(values.len(), vocab * width, "a table for {shape:?}");
                if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                    panic!("id {id} of a table of {vocab} rows");
                }
            }
        }
        let mask = mask.filter(|mask| mask.keep != 1.0).map(|mask| mask.checked(n_rows * width));
        Self { values, ids, width, mask, mask_rows: usize::MAX }
    }

    /// States as they lie, through a mask (B, H) of each.
    pub(super) fn of_states(
        values: &'a [f32],
        batch: usize,
        width: usize,
        mask: Option<dropout::Prepared>,
    ) -> Self {
        Self { values, ids: None, width, mask, mask_rows: batch }
    }

    /// Values of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The first value of row `n`.
    #[inline(always)]
    pub(super) fn row(&self, n: usize) -> *const f32 {
        let row = self.ids.map_or(n, |ids| ids[n] as usize);
        self.values[row * self.width..][..self.width].as_ptr()
    }

    /// [`vector`](Self::vector) of a row and its number, and the same values of later columns asked for; zeros where
    /// there is no row.
    ///
    /// # Safety
    /// As [`vector`](Self::vector).
    #[inline(always)]
    pub(super) unsafe fn vector_or_zero(
        &self,
        row: Option<(*const f32, usize)>,
        column: usize,
    ) -> Avx512 {
        // SAFETY: by this function's contract; the hint may be given any address.
        unsafe {
            let Some((row, n)) = row else { return Avx512::splat(0.0) };
            Avx512::prefetch(row.wrapping_add(column + DEPTH));
            self.vector(row, n, column)
        }
    }

    /// Sixteen values of row `n`, which begins at `row`, from `column` on: zeros past its end.
    ///
    /// # Safety
    /// The machine has AVX-512; `row` is [`row(n)`](Self::row).
    #[inline(always)]
    pub(super) unsafe fn vector(&self, row: *const f32, n: usize, column: usize) -> Avx512 {
        let lanes = self.width.saturating_sub(column).min(Avx512::LANES);
        // SAFETY: by this function's contract; no value past the row is read.
        unsafe {
            let values = load(row.wrapping_add(column), lanes);
            let n = if n < self.mask_rows { n } else { n % self.mask_rows };
            through(self.mask, values, n * self.width + column)
        }
    }
}

/// Sixteen values, or their gradients, through the mask if there is one; the first is at `position`.
///
/// # Safety
/// The machine has AVX-512.
#[inline(always)]
pub(super) unsafe fn through(
    mask: Option<dropout::Prepared>,
    values: Avx512,
    position: usize,
) -> Avx512 {
    match mask {
        // SAFETY: by this function's contract.
        Some(mask) => unsafe { mask.through(values, position as u32) },
        None => values,
    }
}
