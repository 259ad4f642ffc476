//! The loop over rows many of whose values are zero, once for every vector type.

use super::ahead::Ahead;
use super::vector::TileStart;
use crate::simd::Vector;

/// Vectors of columns in a block: as many chains as hide the latency of an addition.
pub(super) const WIDTH: usize = 8;
/// Steps of k in a block, a bit each; a block of B takes 32 KiB of the first cache with AVX-512.
pub(super) const DEPTH: usize = 64;
/// Rows of A that are asked for ahead.
const ROWS_AHEAD: usize = 8;
/// Values in a cache line.
const LINE: usize = 16;

/// Rows of A and of sums, and the block of B that they are multiplied with.
#[derive(Clone, Copy)]
pub(crate) struct SparseRows {
    pub n: usize,
    pub a: *const f32,
    /// From one row of A to the next.
    pub a_stride: usize,
    /// For each row a bit for each value of A that is not zero, the first the lowest.
    pub kept: *const u64,
    /// `WIDTH` vectors for each step of k.
    pub b: *const f32,
    /// The sums so far where `start` says so, and what they become; each with the values from one row to the next.
    pub start: TileStart,
    pub from: (*const f32, usize),
    pub to: (*mut f32, usize),
    /// Columns that exist in both.
    pub cols: usize,
    /// What the next block of B will be laid out from.
    pub ahead: Ahead,
}

/// The loops of one instruction set.
pub(crate) struct SparseLoops {
    /// The largest share of values that are not zero with which leaving out the others pays.
    pub most_kept: f64,
    /// The bits of `n ≤ 64` values.
    pub kept: unsafe fn(*const f32, usize) -> u64,
    pub multiply: unsafe fn(SparseRows),
}

/// A bit for each of `n ≤ 64` values that is not zero, the first the lowest.
///
/// # Safety
/// The values are readable.
#[inline(always)]
pub(super) unsafe fn kept(values: *const f32, n: usize) -> u64 {
    // SAFETY: by this function's contract.
    let values = unsafe { std::slice::from_raw_parts(values, n) };
    let mut bits = 0;
    for (byte, values) in values.chunks(8).enumerate() {
        let mut part = 0;
        for (bit, &value) in values.iter().enumerate() {
            part |= u64::from(value != 0.0) << bit;
        }
        bits |= part << (8 * byte);
    }
    bits
}

/// C ← start + A·B for some rows: one fused chain over the k that are kept for each value.
///
/// # Safety
/// A is readable where `kept` says so, B for as many steps, the sums for `n` × `cols`, and the contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector>(rows: SparseRows) {
    // SAFETY: by this function's contract.
    unsafe {
        if rows.cols == WIDTH * V::LANES {
            multiply_columns::<V, true>(rows);
        } else {
            multiply_columns::<V, false>(rows);
        }
    }
}

/// The same for a block all of whose columns exist, or for any.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn multiply_columns<V: Vector, const WHOLE: bool>(rows: SparseRows) {
    let SparseRows { n, mut a, a_stride, kept, b, start, .. } = rows;
    let ((mut from, from_stride), (mut to, to_stride)) = (rows.from, rows.to);
    let mut ahead = rows.ahead;
    let lanes = |v: usize| rows.cols.saturating_sub(v * V::LANES).min(V::LANES);
    // SAFETY: by this function's contract; partial vectors touch only the columns that exist.
    unsafe {
        let load = |from: *const f32, v: usize| {
            let from = from.wrapping_add(v * V::LANES);
            if WHOLE { V::load(from) } else { V::load_first(from, lanes(v)) }
        };
        for row in 0..n {
            let mut sums = [V::splat(0.0); WIDTH];
            match start {
                TileStart::Zero => {}
                TileStart::Bias(bias) => {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = load(bias, v);
                    }
                }
                TileStart::Sum => {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = load(from, v);
                    }
                }
            }
            from = from.wrapping_add(from_stride);
            for line in (0..WIDTH * V::LANES).step_by(LINE) {
                V::prefetch(from.wrapping_add(line));
            }
            for line in (0..DEPTH).step_by(LINE) {
                V::prefetch(a.wrapping_add(ROWS_AHEAD * a_stride + line));
            }
            ahead.fetch();
            let mut bits = *kept.add(row);
            while bits != 0 {
                let k = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let x = V::splat(*a.add(k));
                let columns = b.add(k * (WIDTH * V::LANES));
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = x.mul_add(V::load(columns.add(v * V::LANES)), *sum);
                }
            }
            for (v, sum) in sums.iter().enumerate() {
                let to = to.wrapping_add(v * V::LANES);
                if WHOLE { sum.store(to) } else { sum.store_first(to, lanes(v)) }
            }
            a = a.wrapping_add(a_stride);
            to = to.wrapping_add(to_stride);
        }
    }
}
