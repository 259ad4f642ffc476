//! Asking memory for what will be laid out next while rows are multiplied.

use super::Matrix;

/// Values in a cache line.
const LINE: usize = 16;

/// A part of a matrix on its way to the second cache, some lines at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// Runs of neighbours in memory: where the next one begins, how many are left, how far apart they are, how long.
    first: *const f32,
    runs: usize,
    apart: usize,
    len: usize,
    /// Values of the next run that have been asked for.
    done: usize,
    /// Lines to ask for at a time.
    at_once: usize,
}

impl Ahead {
    /// All of `matrix` within so many calls of [`fetch`](Self::fetch).
    pub fn over(matrix: Matrix<f32>, calls: usize) -> Self {
        let matrix = if matrix.col_stride() == 1 { matrix } else { matrix.transposed() };
        let (runs, len) = (matrix.rows(), matrix.cols());
        let lines = runs * len.div_ceil(LINE);
        Self {
            first: matrix.values().as_ptr(),
            runs: if len == 0 { 0 } else { runs },
            apart: matrix.row_stride(),
            len,
            done: 0,
            at_once: lines.div_ceil(calls.max(1)),
        }
    }

    /// Asks for the next lines.
    #[inline]
    pub fn fetch(&mut self) {
        for _ in 0..self.at_once {
            if self.runs == 0 {
                return;
            }
            prefetch(self.first.wrapping_add(self.done));
            self.done += LINE;
            if self.done >= self.len {
                self.done = 0;
                self.runs -= 1;
                self.first = self.first.wrapping_add(self.apart);
            }
        }
    }
}

/// Asks for a line into the second cache.
#[inline(always)]
fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and it may be given any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_asked_for_within_the_calls() {
        let values = vec![0.0; 40 * 100];
        for (rows, cols, calls) in [(1, 1, 1), (3, 17, 2), (40, 100, 7), (5, 16, 100), (0, 3, 2)] {
            let matrix = Matrix::with_strides(&values, rows, cols, 100);
            for matrix in [matrix, matrix.transposed()] {
                let mut ahead = Ahead::over(matrix, calls);
                (0..calls).for_each(|_| ahead.fetch());
                assert_eq!(ahead.runs, 0, "{rows} × {cols} in {calls}");
            }
        }
    }
}
