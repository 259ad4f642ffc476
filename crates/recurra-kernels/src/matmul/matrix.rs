//! A view of a slice as a matrix.

use std::ops::Range;

/// `rows` × `cols` values of a slice, row-major or transposed, without a copy.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, E> {
    values: &'a [E],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, E> Matrix<'a, E> {
    /// The whole of `values`, row-major.
    ///
    /// # Panics
    /// When `values` does not hold exactly `rows · cols` values.
    #[track_caller]
    pub fn new(values: &'a [E], rows: usize, cols: usize) -> Self {
        assert!(
            rows.checked_mul(cols) == Some(values.len()),
            "a matrix of {rows} × {cols} over {} values",
            values.len()
        );
        Self { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// Row-major with `row_stride` values from the start of a row to the start of the next.
    ///
    /// # Panics
    /// When rows overlap or the last one ends outside of `values`.
    #[track_caller]
    pub fn with_strides(values: &'a [E], rows: usize, cols: usize, row_stride: usize) -> Self {
        let needed =
            rows.saturating_sub(1).checked_mul(row_stride).and_then(|n| n.checked_add(cols));
        assert!(
            (cols <= row_stride || rows <= 1)
                && needed.is_some_and(|n| rows == 0 || n <= values.len()),
            "a matrix of {rows} × {cols} with rows {row_stride} apart over {} values",
            values.len()
        );
        Self { values, rows, cols, row_stride, col_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns it has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Values from one row to the next.
    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Values from one column to the next.
    pub(crate) fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The slice it looks at; the first value is that of row 0, column 0.
    pub(crate) fn values(&self) -> &'a [E] {
        self.values
    }

    /// The rows and columns at these places, as a matrix.
    #[track_caller]
    pub(crate) fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end
                && rows.end <= self.rows
                && cols.start <= cols.end
                && cols.end <= self.cols,
            "block {rows:?} × {cols:?} of a matrix of {} × {}",
            self.rows,
            self.cols
        );
        let first = rows.start * self.row_stride + cols.start * self.col_stride;
        let values = self.values.get(first..).unwrap_or_default(); // past the end only when the block is empty
        Self { values, rows: rows.len(), cols: cols.len(), ..self }
    }

    /// The same view of a slice of another type that stands for the same values.
    pub(crate) fn with_values<F>(self, values: &'a [F]) -> Matrix<'a, F> {
        debug_assert_eq!(values.len(), self.values.len());
        Matrix {
            values,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        }
    }
}

impl<E: Copy> Matrix<'_, E> {
    /// The value at a place.
    pub(crate) fn at(&self, row: usize, col: usize) -> E {
        self.values[row * self.row_stride + col * self.col_stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_find_their_values() {
        let values: Vec<usize> = (0..35).collect();
        let wide = Matrix::with_strides(&values, 5, 4, 7);
        assert_eq!(wide.at(3, 2), 23);
        assert_eq!(wide.transposed().at(2, 3), 23);
        assert_eq!(wide.block(2..5, 1..4).at(1, 1), 23);
        assert_eq!(wide.transposed().block(1..4, 2..5).at(1, 1), 23);
        let empty = Matrix::new(&values[..0], 0, 4);
        assert_eq!((empty.transposed().rows(), empty.block(0..0, 4..4).cols()), (4, 0));
    }

    #[test]
    #[should_panic(expected = "3 × 4 over 13 values")]
    fn a_wrong_size_is_said() {
        let _ = Matrix::new(&[0.0; 13], 3, 4);
    }

    #[test]
    #[should_panic(expected = "3 × 4 with rows 5 apart over 13 values")]
    fn a_last_row_outside_is_said() {
        let _ = Matrix::with_strides(&[0.0; 13], 3, 4, 5);
    }
}
