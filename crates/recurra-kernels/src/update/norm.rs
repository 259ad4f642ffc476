//! Σ g² of gradients: what they are clipped by.

use std::cell::RefCell;

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{BLOCK, plain, reference};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::{Cpu, Element, Isa, SharedSlice};

/// Σ g², in `f64`: squares of `f32` are exact there, sixteen running sums a block of 16,384 values, blocks added in order.
/// The same bits for any number of threads and any instruction set; infinite or not a number when a gradient is.
///
/// # Shapes
/// `gradients` any, read as one row.
pub fn squared_norm<E: Element>(cpu: &Cpu, gradients: &[E]) -> f64 {
    thread_local! {
        static SUMS: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
    }
    let n_blocks = gradients.len().div_ceil(BLOCK);
    SUMS.with_borrow_mut(|sums| {
        sums.clear();
        sums.resize(n_blocks, 0.0);
        let shared = SharedSlice::new(sums);
        cpu.pool().for_each(n_blocks, |idx| {
            let block = &gradients[idx * BLOCK..gradients.len().min((idx + 1) * BLOCK)];
            // SAFETY: every task has a sum of its own.
            let sum = unsafe { &mut shared.slice(idx..idx + 1)[0] };
            *sum = squared_norm_of_block(cpu.isa(), block);
        });
        sums.iter().sum()
    })
}

/// Σ g² of each row as [`squared_norm`] sums a block.
///
/// # Shapes
/// `gradients` (V, D), `squares` (V).
///
/// # Panics
/// When `gradients` does not consist of as many rows.
#[track_caller]
pub fn squared_norms<E: Element>(cpu: &Cpu, gradients: &[E], squares: &mut [f64]) {
    let n_rows = squares.len();
    // SAFETY: every row comes once.
    unsafe { squares_of(cpu, gradients, n_rows, |idx| idx, squares) };
}

/// Σ g² of some rows, as [`squared_norms`] of all.
///
/// # Shapes
/// `gradients` (V, D), `rows` below V and rising, `squares` (V), of which those of `rows` are overwritten.
///
/// # Panics
/// When `gradients` does not consist of as many rows, or `rows` do not rise or leave it.
#[track_caller]
pub fn squared_norms_at<E: Element>(cpu: &Cpu, gradients: &[E], rows: &[u32], squares: &mut [f64]) {
    let n_rows = squares.len();
    assert!(
        rows.is_sorted_by(|a, b| a < b) && rows.last().is_none_or(|&row| (row as usize) < n_rows),
        "some rows of {n_rows} that do not rise or leave it"
    );
    // SAFETY: every row stands in `rows` once, as they rise.
    unsafe { squares_of(cpu, gradients, rows.len(), |idx| rows[idx] as usize, squares) };
}

/// Σ g² of `n` rows of (V, D), of which the one with number `idx` is `row(idx)`.
///
/// # Safety
/// No row comes twice.
#[track_caller]
unsafe fn squares_of<E: Element>(
    cpu: &Cpu,
    gradients: &[E],
    n: usize,
    row: impl Fn(usize) -> usize + Sync,
    squares: &mut [f64],
) {
    let (len, n_rows) = (gradients.len(), squares.len());
    assert!(
        if n_rows == 0 { len == 0 } else { len.is_multiple_of(n_rows) },
        "gradients of {len} values in {n_rows} rows"
    );
    let width = len / n_rows.max(1);
    let rows = BLOCK.div_ceil(width.max(1));
    let shared = SharedSlice::new(squares);
    cpu.pool().for_each(n.div_ceil(rows), |task| {
        for row in (task * rows..n.min((task + 1) * rows)).map(&row) {
            // SAFETY: no other task has this row, by this function's contract.
            let square = unsafe { &mut shared.slice(row..row + 1)[0] };
            *square = squared_norm_of_block(cpu.isa(), &gradients[row * width..(row + 1) * width]);
        }
    });
}

fn squared_norm_of_block<E: Element>(isa: Isa, block: &[E]) -> f64 {
    match E::as_f32(block) {
        Some(block) => squared_norm_f32(isa, block),
        None => reference::squared_norm(block),
    }
}

fn squared_norm_f32(isa: Isa, block: &[f32]) -> f64 {
    match isa {
        // SAFETY: `Cpu` has checked that the machine has the instruction set.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::squared_norm(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::squared_norm(block) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::squared_norm(block),
        _ => plain::squared_norm(block),
    }
}
