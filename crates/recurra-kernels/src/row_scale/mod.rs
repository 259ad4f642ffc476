//! Every row of a matrix times a number of its own: what word dropout does to embedded words, forward and backward.
//!
//! One multiplication a value, so memory is what it waits for, and the plain loop is the fast path.

mod reference;
#[cfg(test)]
mod tests;

use crate::{Cpu, Element, SharedSlice};

/// Values of one task.
const BLOCK: usize = 32 * 1024;

/// y_n = s_n · x_n, in place. A row times 0 is 0, whatever stands in it.
///
/// # Shapes
/// `scales` (N), `values` (N, D).
///
/// # Panics
/// When `values` does not hold as many rows as there are scales.
#[track_caller]
pub fn apply<E: Element>(cpu: &Cpu, scales: &[E], values: &mut [E]) {
    if scales.is_empty() && values.is_empty() {
        return;
    }
    assert!(
        !scales.is_empty() && values.len().is_multiple_of(scales.len()),
        "{} values are no rows for {} scales",
        values.len(),
        scales.len()
    );
    let width = values.len() / scales.len();
    let rows = (BLOCK / width.max(1)).max(1);
    let values = SharedSlice::new(values);
    cpu.pool().for_each(scales.len().div_ceil(rows), |task| {
        let rows = task * rows..scales.len().min((task + 1) * rows);
        // SAFETY: every task has rows of its own.
        let values = unsafe { values.slice(rows.start * width..rows.end * width) };
        reference::apply(&scales[rows], values);
    });
}
