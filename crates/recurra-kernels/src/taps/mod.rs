//! Sums of a few shifted copies of a matrix, each with a coefficient a column.
//!
//! ```text
//! y_rc = b_c + Σ_j w_jc·x[r·C + c + offset_j]        x is 0 outside of where it is
//! d_w_jc = Σ_r d_y_rc·x[r·C + c + offset_j]
//! ```
//!
//! With offsets of whole rows this is a convolution over time, each column for itself (Kim 2014; depthwise); with offsets
//! of some columns a product with a matrix of small blocks on its diagonal, whose other coefficients are 0; with one offset of
//! 0 a gain. What x gets back is a sum of the same kind. All of them wait for memory, so one loop serves.

mod reference;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::isa::by_isa;
use crate::{Cpu, Element, Isa, SharedSlice};
use std::ops::Range;

#[cfg(test)]
mod tests;

/// Values of a task.
const BLOCK: usize = 1 << 14;
/// Columns of a task that sums over rows.
const STRIP: usize = 64;

/// Which copies are summed.
#[derive(Clone, Copy, Debug)]
pub struct Taps<'a, E> {
    /// w (J, C).
    pub coefficients: &'a [E],
    /// How far from y_rc, in values, the j-th copy is read.
    pub offsets: &'a [isize],
    /// C.
    pub cols: usize,
}

/// y of the values from the given one on, which begins a row: of the taps, the bias and x.
type Sum = unsafe fn(Taps<'_, f32>, Option<&[f32]>, &[f32], usize, &mut [f32]);
/// The gradients of some columns, from which on and how many: of the offsets, x, d_y and C.
type Gradient = unsafe fn(&[isize], &[f32], &[f32], usize, &SharedSlice<'_, f32>, [usize; 2]);

/// What an instruction set has.
struct Loops {
    sum: Sum,
    gradient: Gradient,
}

/// y = b + Σ_j w_j ⊙ x_j.
///
/// # Shapes
/// `bias` (C), `x` any, `y` (N, C).
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn sum<E: Element>(cpu: &Cpu, taps: Taps<'_, E>, bias: Option<&[E]>, x: &[E], y: &mut [E]) {
    let Taps { coefficients, offsets, cols } = taps;
    check(offsets, cols, coefficients.len(), y.len());
    assert!(bias.is_none_or(|bias| bias.len() == cols), "a bias for {cols} columns");
    if let (Some(x), Some(coefficients)) = (E::as_f32(x), E::as_f32(coefficients)) {
        let taps = Taps { coefficients, offsets, cols };
        let bias = bias.map(|bias| E::as_f32(bias).expect("one type for all operands"));
        let n = y.len();
        let y = SharedSlice::of_f32(y);
        let size = (BLOCK / cols).max(1) * cols;
        let block = |places: Range<usize>| {
            // SAFETY: values of its own for each task, sizes as checked; `Cpu` has found the instruction set.
            unsafe {
                let y = y.slice(places.clone());
                (loops(cpu.isa()).sum)(taps, bias, x, places.start, y);
            }
        };
        return cpu.pool().for_each_block(n, size, block);
    }
    reference::sum(taps, bias, x, y);
}

/// d_w_j += Σ_r d_y ⊙ x_j, from the first row to the last.
///
/// # Shapes
/// `d_y` (N, C), `d_coefficients` (J, C).
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn gradient<E: Element>(
    cpu: &Cpu,
    offsets: &[isize],
    cols: usize,
    x: &[E],
    d_y: &[E],
    d_coefficients: &mut [E],
) {
    check(offsets, cols, d_coefficients.len(), d_y.len());
    if let (Some(x), Some(d_y)) = (E::as_f32(x), E::as_f32(d_y)) {
        let d = SharedSlice::of_f32(d_coefficients);
        let task = |idx: usize| {
            let first = idx * STRIP;
            let columns = [first, STRIP.min(cols - first)];
            // SAFETY: columns of its own for each task, sizes as checked; `Cpu` has found the instruction set.
            unsafe { (loops(cpu.isa()).gradient)(offsets, x, d_y, cols, &d, columns) };
        };
        let n_strips = cols.div_ceil(STRIP);
        cpu.pool().for_each_or_alone(d_y.len() <= BLOCK, n_strips, task);
        return;
    }
    reference::gradient(offsets, cols, x, d_y, d_coefficients);
}

#[track_caller]
fn check(offsets: &[isize], cols: usize, coefficients: usize, y: usize) {
    assert!(
        cols > 0 && coefficients == offsets.len() * cols && y.is_multiple_of(cols),
        "{coefficients} coefficients of {} copies, {y} values in {cols} columns",
        offsets.len()
    );
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS)
}
