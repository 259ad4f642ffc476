//! Products of small matrices inside of one task.

use crate::recurrent::{load, store};
use crate::simd::Vector;

/// A matrix in memory: the value at (row, col) is `row·row_stride + col·col_stride` values from the first.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub values: *const f32,
    pub row_stride: usize,
    pub col_stride: usize,
}

/// A matrix whose rows lie in one piece each.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub values: *const f32,
    pub row_stride: usize,
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(super) struct To {
    pub values: *mut f32,
    pub row_stride: usize,
}

/// Which steps of k a row has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Depth {
    /// So many, every row.
    Whole(usize),
    /// Row t those of 0..=t: the others are zero.
    UpTo,
    /// Row s those of s..n.
    From(usize),
}

/// C_ij ← scale_i·C_ij + Σ_k a_ik·b_kj; where there is no scale, C is overwritten.
///
/// Each sum is one chain over k, which begins with what C holds. Zeros that [`Depth`] leaves out may be added or not, which is
/// the same.
///
/// # Safety
/// As for [`Vector`]; the matrices have `rows`, `cols` and the depth, and the scale a value for each row.
#[inline(always)]
pub(super) unsafe fn product<V: Vector, const R: usize>(
    a: Left,
    b: Right,
    scale: Option<*const f32>,
    c: To,
    (rows, depth, cols): (usize, Depth, usize),
) {
    let mut col = 0;
    while col < cols {
        let left = cols - col;
        let mut row = 0;
        while row < rows {
            let height = match rows - row {
                n if n >= R => R,
                n if n >= 4 => 4,
                n if n >= 2 => 2,
                _ => 1,
            };
            let (first_k, last_k) = match depth {
                Depth::Whole(depth) => (0, depth),
                Depth::UpTo => (0, row + height),
                Depth::From(depth) => (row, depth),
            };
            // SAFETY: rows, columns and depth inside by this function's contract.
            unsafe {
                let part = Part {
                    a: Left {
                        values: a.values.add(row * a.row_stride + first_k * a.col_stride),
                        ..a
                    },
                    b: Right { values: b.values.add(first_k * b.row_stride + col), ..b },
                    scale: scale.map(|scale| scale.add(row)),
                    c: To { values: c.values.add(row * c.row_stride + col), ..c },
                    depth: last_k - first_k,
                };
                match (height, left >= 2 * V::LANES) {
                    (1, true) => tile::<V, 1, 2>(part, V::LANES),
                    (2, true) => tile::<V, 2, 2>(part, V::LANES),
                    (4, true) => tile::<V, 4, 2>(part, V::LANES),
                    (_, true) => tile::<V, R, 2>(part, V::LANES),
                    (1, false) => tile::<V, 1, 1>(part, left),
                    (2, false) => tile::<V, 2, 1>(part, left),
                    (4, false) => tile::<V, 4, 1>(part, left),
                    (_, false) => tile::<V, R, 1>(part, left),
                }
            }
            row += height;
        }
        col += if left >= 2 * V::LANES { 2 * V::LANES } else { V::LANES };
    }
}

/// A part of a product that stays in registers.
#[derive(Clone, Copy)]
struct Part {
    a: Left,
    b: Right,
    scale: Option<*const f32>,
    c: To,
    depth: usize,
}

/// R rows by P vectors, of which the last has `n` columns, or as many as a vector where there are more.
///
/// # Safety
/// As [`product`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // rows and vectors, counted alike for registers and memory
unsafe fn tile<V: Vector, const R: usize, const P: usize>(part: Part, n: usize) {
    let Part { a, b, scale, c, depth } = part;
    let n = n.min(V::LANES);
    // SAFETY: by this function's contract.
    unsafe {
        let mut sum = [[V::splat(0.0); P]; R];
        if let Some(scale) = scale {
            for r in 0..R {
                let scale = V::splat(*scale.add(r));
                for p in 0..P {
                    let from = c.values.add(r * c.row_stride + p * V::LANES);
                    sum[r][p] = load::<V>(from, n).mul(scale);
                }
            }
        }
        for k in 0..depth {
            let mut right = [V::splat(0.0); P];
            for p in 0..P {
                right[p] = load(b.values.add(k * b.row_stride + p * V::LANES), n);
            }
            for r in 0..R {
                let left = V::splat(*a.values.add(r * a.row_stride + k * a.col_stride));
                for p in 0..P {
                    sum[r][p] = left.mul_add(right[p], sum[r][p]);
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                store(sum[r][p], c.values.add(r * c.row_stride + p * V::LANES), n);
            }
        }
    }
}

/// to (cols, rows) ← the transpose of from (rows, cols), times `scale`.
///
/// # Safety
/// Both are there.
pub(super) unsafe fn transpose(from: Right, rows: usize, cols: usize, scale: f32, to: To) {
    const BLOCK: usize = 16;
    for first in (0..cols).step_by(BLOCK) {
        for row in 0..rows {
            for col in first..cols.min(first + BLOCK) {
                // SAFETY: inside by this function's contract.
                unsafe {
                    let value = *from.values.add(row * from.row_stride + col);
                    *to.values.add(col * to.row_stride + row) = value * scale;
                }
            }
        }
    }
}

/// Σ a_i·b_i of `n` values.
///
/// # Safety
/// As for [`Vector`]; `n` values each.
#[inline(always)]
pub(super) unsafe fn dot<V: Vector>(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: inside by this function's contract.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..n).step_by(V::LANES) {
            let lanes = V::LANES.min(n - at);
            sum = load::<V>(a.add(at), lanes).mul_add(load(b.add(at), lanes), sum);
        }
        sum.sum()
    }
}

/// y ← scale·y + x·a, for `n` values.
///
/// # Safety
/// As for [`Vector`]; `n` values each.
#[inline(always)]
pub(super) unsafe fn add_scaled<V: Vector>(
    y: *mut f32,
    scale: f32,
    x: *const f32,
    a: f32,
    n: usize,
) {
    for at in (0..n).step_by(V::LANES) {
        let lanes = V::LANES.min(n - at);
        // SAFETY: inside by this function's contract.
        unsafe {
            let kept = load::<V>(y.add(at), lanes).mul(V::splat(scale));
            store(load::<V>(x.add(at), lanes).mul_add(V::splat(a), kept), y.add(at), lanes);
        }
    }
}

/// to ← from·a, for `n` values.
///
/// # Safety
/// As for [`Vector`]; `n` values each.
#[inline(always)]
pub(super) unsafe fn copy_scaled<V: Vector>(from: *const f32, a: f32, to: *mut f32, n: usize) {
    for at in (0..n).step_by(V::LANES) {
        let lanes = V::LANES.min(n - at);
        // SAFETY: inside by this function's contract.
        unsafe { store(load::<V>(from.add(at), lanes).mul(V::splat(a)), to.add(at), lanes) };
    }
}
