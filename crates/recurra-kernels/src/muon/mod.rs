//! Muon: matrices that move in all directions alike.
//!
//! The momentum of a matrix has a few large singular values and many small ones; Muon (Jordan and others, 2024) replaces it by
//! the nearest matrix whose singular values are all about 1, found with products alone. A weight that is several matrices one
//! on top of the other (the gates of a recurrent layer) is treated matrix by matrix: they have nothing to do with each other.
//!
//! An iteration costs 4·r²·c + 2·r³ operations for r rows or columns, whichever are fewer, and c of the others; where that is
//! much against the products of a step, which take 6·r·c a token, larger batches pay.

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use crate::matmul::{Matrix, Start, matmul};
use crate::update::{self, Slabs};
use crate::{Cpu, Element, SharedSlice};

/// a, b, c of an iteration: the steepest at 0 of those that keep singular values near 1 (Jordan and others, 2024).
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Iterations of a step.
const ITERATIONS: usize = 5;

/// The least norm that is divided by.
const LEAST_NORM: f64 = 1e-7;

/// Root mean square of the step of a value over the learning rate: about that of AdamW (Liu and others, 2025).
const STEP_SIZE: f64 = 0.2;

/// Values of one task of a loop over values.
const BLOCK: usize = 16 * 1024;

/// Muon as PyTorch's `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`: u ← u + (1−μ)·(scale·g − u);
/// d = scale·g + μ·(u − scale·g); x ← x − lr·λ·x − lr·0.2·√max(rows, columns) · NS(d).
///
/// NS is X ← d / ‖d‖ and then five times X ← a·X + (b·X·Xᵀ + c·(X·Xᵀ)²)·X. The factor 0.2·√max(rows, columns) (Moonlight: Liu
/// and others, 2025) makes the step as large as one of AdamW, so that both can have one learning rate. u is zero before the
/// first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Learning rate.
    pub lr: f64,
    /// μ.
    pub momentum: f64,
    /// λ.
    pub weight_decay: f64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// Room for a matrix on its way, kept from step to step.
#[derive(Debug)]
pub struct Workspace<E> {
    /// X (rows, columns).
    x: Vec<E>,
    /// X after the iteration.
    next: Vec<E>,
    /// X·Xᵀ, or Xᵀ·X where there are fewer columns.
    gram: Vec<E>,
    /// Its square, and what X is multiplied by.
    factor: Vec<E>,
}

impl<E> Default for Workspace<E> {
    fn default() -> Self {
        Self { x: Vec::new(), next: Vec::new(), gram: Vec::new(), factor: Vec::new() }
    }
}

/// One step of [`Muon`] for `n_parts` matrices of `cols` columns, one on top of the other; then the gradient is zero. Their
/// [`average`](update::average) follows with the weight `average`. u is the first moments; the second are left alone.
///
/// Products go through [`matmul`], in the precision of the instruction set; the same bits for any number of threads.
///
/// # Panics
/// When lengths differ, or the values are not so many matrices.
#[track_caller]
pub fn step<E: Element>(
    cpu: &Cpu,
    muon: Muon,
    [n_parts, cols]: [usize; 2],
    slabs: Slabs<'_, E>,
    average: Option<f64>,
    workspace: &mut Workspace<E>,
) {
    let Slabs { value, gradient, moments: [momentum, _], average: mean } = slabs;
    let len = value.len();
    assert!(
        n_parts * cols > 0 && len.is_multiple_of(n_parts * cols),
        "{len} values as {n_parts} matrices of {cols} columns"
    );
    assert_eq!([gradient.len(), momentum.len()], [len; 2], "lengths of gradient and momentum");
    let rows = len / n_parts / cols;
    let parts = value.chunks_exact_mut(rows * cols).zip(gradient.chunks_exact_mut(rows * cols));
    for ((value, gradient), momentum) in parts.zip(momentum.chunks_exact_mut(rows * cols)) {
        direction(cpu, muon, gradient, momentum, &mut workspace.x);
        orthogonalize(cpu, rows, cols, workspace);
        let keep = E::from_f64(1.0 - muon.lr * muon.weight_decay);
        let rate = E::from_f64(muon.lr * STEP_SIZE * (rows.max(cols) as f64).sqrt());
        change(cpu, value, &workspace.x, |value, x| {
            value.iter_mut().zip(x).for_each(|(value, &x)| *value = keep * *value - rate * x);
        });
    }
    if let Some(weight) = average {
        update::average(cpu, weight, value, mean);
    }
}

/// u ← u + (1−μ)·(scale·g − u); `x` ← scale·g + μ·(u − scale·g); g ← 0.
fn direction<E: Element>(
    cpu: &Cpu,
    muon: Muon,
    gradient: &mut [E],
    momentum: &mut [E],
    x: &mut Vec<E>,
) {
    let (mu, scale) = (E::from_f64(muon.momentum), E::from_f64(muon.scale));
    let toward_g = E::from_f64(1.0 - muon.momentum);
    let len = gradient.len();
    x.resize(len, E::ZERO);
    let slabs = [gradient, momentum, x].map(SharedSlice::new);
    cpu.pool().for_each_block(len, BLOCK, |range| {
        // SAFETY: every task has values of its own.
        let blocks = slabs.each_ref().map(|slab| unsafe { slab.slice(range.clone()) });
        let [gradient, momentum, x] = blocks;
        for ((g, u), x) in gradient.iter_mut().zip(momentum).zip(x) {
            let scaled = scale * *g;
            *u += toward_g * (scaled - *u);
            *x = scaled + mu * (*u - scaled);
            *g = E::ZERO;
        }
    });
}

/// `x` (rows, cols) ← NS(`x`).
fn orthogonalize<E: Element>(cpu: &Cpu, rows: usize, cols: usize, workspace: &mut Workspace<E>) {
    let Workspace { x, next, gram, factor } = workspace;
    let side = rows.min(cols);
    next.resize(rows * cols, E::ZERO);
    gram.resize(side * side, E::ZERO);
    factor.resize(side * side, E::ZERO);
    let [a, b, c] = COEFFICIENTS.map(E::from_f64);
    let norm = update::squared_norm(cpu, x).sqrt().max(LEAST_NORM);
    let inverse = E::from_f64(1.0 / norm);
    scale_into(cpu, inverse, x, next);
    std::mem::swap(x, next);
    for _ in 0..ITERATIONS {
        // The side that is shorter: X·Xᵀ·X = X·(Xᵀ·X).
        let of_x = Matrix::new(x, rows, cols);
        let (left, right) =
            if rows <= cols { (of_x, of_x.transposed()) } else { (of_x.transposed(), of_x) };
        matmul(cpu, left, right, Start::Zero, gram); // (r, r)
        let of_gram = Matrix::new(gram, side, side);
        matmul(cpu, of_gram, of_gram, Start::Zero, factor); // (r, r)
        change(cpu, factor, gram, |factor, gram| {
            factor
                .iter_mut()
                .zip(gram)
                .for_each(|(square, &gram)| *square = b * gram + c * *square);
        });
        scale_into(cpu, a, x, next);
        let of_factor = Matrix::new(factor, side, side);
        let (left, right) = if rows <= cols { (of_factor, of_x) } else { (of_x, of_factor) };
        matmul(cpu, left, right, Start::Sum, next); // (rows, cols)
        std::mem::swap(x, next);
    }
}

/// `to` ← factor · `from`.
fn scale_into<E: Element>(cpu: &Cpu, factor: E, from: &[E], to: &mut [E]) {
    change(cpu, to, from, |to, from| {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to = factor * from);
    });
}

/// Has the team change `values` block by block, given `others` at the same places.
fn change<E: Element>(
    cpu: &Cpu,
    values: &mut [E],
    others: &[E],
    of_block: impl Fn(&mut [E], &[E]) + Sync,
) {
    let len = values.len();
    let values = SharedSlice::new(values);
    cpu.pool().for_each_block(len, BLOCK, |range| {
        // SAFETY: every task has values of its own.
        of_block(unsafe { values.slice(range.clone()) }, &others[range]);
    });
}
