//! The loops on vectors.

use super::Taps;
use crate::SharedSlice;
use crate::recurrent::{load, store};
use crate::simd::Vector;

/// Some lanes of x at `place + offset`, 0 outside of it.
///
/// # Safety
/// As for [`Vector`]; `n ≤ LANES`.
#[inline(always)]
unsafe fn shifted<V: Vector>(x: &[f32], place: usize, offset: isize, n: usize) -> V {
    const MOST_LANES: usize = 16;
    let first = place as isize + offset;
    // SAFETY: a whole vector only where it lies inside; else from an array.
    unsafe {
        if first >= 0 && first as usize + n <= x.len() {
            return load(x.as_ptr().add(first as usize), n);
        }
        let mut values = [0.0; MOST_LANES];
        for (lane, value) in values.iter_mut().enumerate().take(n) {
            let place = (first + lane as isize) as usize; // what is before the first is far behind the last
            *value = x.get(place).copied().unwrap_or(0.0);
        }
        V::load(values.as_ptr())
    }
}

/// [`super::sum`] for the values of whole rows, the first of which is at `start`.
///
/// # Safety
/// As for [`Vector`]; shapes are as [`super::sum`] checks them.
#[inline(always)]
pub(super) unsafe fn sum<V: Vector>(
    taps: Taps<'_, f32>,
    bias: Option<&[f32]>,
    x: &[f32],
    start: usize,
    y: &mut [f32],
) {
    let Taps { coefficients, offsets, cols } = taps;
    for (row, y) in y.chunks_exact_mut(cols).enumerate() {
        for col in (0..cols).step_by(V::LANES) {
            let n = V::LANES.min(cols - col);
            let place = start + row * cols + col;
            // SAFETY: col + n ≤ C, which bias, coefficients and y have.
            unsafe {
                let mut sum = match bias {
                    Some(bias) => load(bias.as_ptr().add(col), n),
                    None => V::splat(0.0),
                };
                for (j, &offset) in offsets.iter().enumerate() {
                    let w = load::<V>(coefficients.as_ptr().add(j * cols + col), n);
                    sum = w.mul_add(shifted(x, place, offset, n), sum);
                }
                store(sum, y.as_mut_ptr().add(col), n);
            }
        }
    }
}

/// Rows whose values stay in the first cache while all copies are summed.
const ROWS: usize = 32;

/// [`super::gradient`] for some columns: from which on, and how many.
///
/// # Safety
/// As for [`Vector`]; shapes are as [`super::gradient`] checks them, and nobody else has these columns.
#[inline(always)]
pub(super) unsafe fn gradient<V: Vector>(
    offsets: &[isize],
    x: &[f32],
    d_y: &[f32],
    cols: usize,
    d_coefficients: &SharedSlice<'_, f32>,
    [first, count]: [usize; 2],
) {
    let n_rows = d_y.len() / cols;
    for rows in (0..n_rows).step_by(ROWS) {
        let rows = rows..n_rows.min(rows + ROWS);
        for col in (first..first + count).step_by(V::LANES) {
            let n = V::LANES.min(first + count - col);
            for group in (0..offsets.len()).step_by(4) {
                let group = group..offsets.len().min(group + 4);
                // SAFETY: columns inside of a row, by this function's contract.
                unsafe {
                    let place = |j: usize| d_coefficients.ptr(j * cols + col);
                    let mut sums = [V::splat(0.0); 4];
                    for (j, sum) in group.clone().zip(&mut sums) {
                        *sum = load(place(j), n);
                    }
                    for row in rows.clone() {
                        let at = row * cols + col;
                        let d = load::<V>(d_y.as_ptr().add(at), n);
                        for (&offset, sum) in offsets[group.clone()].iter().zip(&mut sums) {
                            *sum = d.mul_add(shifted(x, at, offset, n), *sum);
                        }
                    }
                    for (j, sum) in group.zip(sums) {
                        store(sum, place(j), n);
                    }
                }
            }
        }
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops { sum, gradient };

        $(#[$feature])?
        unsafe fn sum(
            taps: super::Taps<'_, f32>,
            bias: Option<&[f32]>,
            x: &[f32],
            start: usize,
            y: &mut [f32],
        ) {
            // SAFETY: by this function's contract, which is that of `vector::sum`.
            unsafe { super::vector::sum::<$vector>(taps, bias, x, start, y) }
        }

        $(#[$feature])?
        unsafe fn gradient(
            offsets: &[isize],
            x: &[f32],
            d_y: &[f32],
            cols: usize,
            d_coefficients: &crate::SharedSlice<'_, f32>,
            columns: [usize; 2],
        ) {
            // SAFETY: by this function's contract, which is that of `vector::gradient`.
            unsafe {
                super::vector::gradient::<$vector>(offsets, x, d_y, cols, d_coefficients, columns);
            }
        }
    };
}

pub(super) use loops;
