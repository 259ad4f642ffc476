//! The loop over a strip of columns, once for every vector type.

use crate::simd::Vector;

/// Vectors side by side in a strip: enough chains to hide the latency of an addition.
pub(super) const WIDTH: usize = 8;

/// Columns to sum, at most `WIDTH` vectors of them.
pub(super) struct Strip {
    pub from: *const f32,
    /// One of the two is 1.
    pub row_stride: usize,
    pub col_stride: usize,
    pub rows: usize,
    pub cols: usize,
    pub sums: *mut f32,
}

/// Adds the columns of a strip to their sums.
///
/// # Safety
/// The strip is readable, its sums writable, and the contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(strip: &Strip) {
    let &Strip { from, row_stride, col_stride, rows, cols, sums } = strip;
    // SAFETY: by this function's contract; partial vectors touch only the columns that exist.
    unsafe {
        if col_stride != 1 {
            for col in 0..cols {
                *sums.add(col) += along::<V>(from.add(col * col_stride), rows);
            }
            return;
        }
        let lanes = |v: usize| cols.saturating_sub(v * V::LANES).min(V::LANES);
        if cols == WIDTH * V::LANES {
            let mut totals = [V::splat(0.0); WIDTH];
            for (v, total) in totals.iter_mut().enumerate() {
                *total = V::load(sums.add(v * V::LANES));
            }
            for row in 0..rows {
                for (v, total) in totals.iter_mut().enumerate() {
                    *total = total.add(V::load(from.add(row * row_stride + v * V::LANES)));
                }
            }
            for (v, total) in totals.iter().enumerate() {
                total.store(sums.add(v * V::LANES));
            }
            return;
        }
        for v in 0..cols.div_ceil(V::LANES) {
            let mut total = V::load_first(sums.add(v * V::LANES), lanes(v));
            for row in 0..rows {
                total =
                    total.add(V::load_first(from.add(row * row_stride + v * V::LANES), lanes(v)));
            }
            total.store_first(sums.add(v * V::LANES), lanes(v));
        }
    }
}

/// The sum of `n` values side by side.
#[inline(always)]
unsafe fn along<V: Vector>(from: *const f32, n: usize) -> f32 {
    // SAFETY: the caller vouches for `n` readable values.
    unsafe {
        let mut totals = [V::splat(0.0); 4];
        let mut idx = 0;
        while idx + 4 * V::LANES <= n {
            for (v, total) in totals.iter_mut().enumerate() {
                *total = total.add(V::load(from.add(idx + v * V::LANES)));
            }
            idx += 4 * V::LANES;
        }
        while idx < n {
            let lanes = (n - idx).min(V::LANES);
            totals[0] = totals[0].add(V::load_first(from.add(idx), lanes));
            idx += lanes;
        }
        totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
    }
}
