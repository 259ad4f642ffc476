//! One step of an optimizer in one pass over memory, and the norm that gradients are clipped by.
//!
//! A pass reads the value, the gradient and the moments once, writes them once and leaves the gradient at zero for the next
//! step. The formulas are those of PyTorch's `torch.optim.SGD` and `torch.optim.AdamW` (Loshchilov & Hutter, 2019), with
//! every coefficient computed in `f64` before it is rounded to the element type. Clipping by the global norm (Pascanu et
//! al., 2013) is `scale` = min(1, clip / ‖g‖), applied in the same pass.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
pub(crate) mod put_row;
mod reference;
#[cfg(test)]
mod tests;
mod vector;

use std::cell::RefCell;

use crate::{Cpu, Element, Isa, SharedSlice};

/// Values of one task. Partial sums of the norm are formed over blocks of this many, whatever the number of threads.
const BLOCK: usize = 16 * 1024;

/// Stochastic gradient descent as PyTorch's: weight decay is added to the gradient, momentum without dampening.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// How much of the last velocity stays; with 0 no velocity is kept.
    pub momentum: f64,
    /// How much of the value is added to its gradient.
    pub weight_decay: f64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// Adam with decoupled weight decay as PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the second moment, the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The value shrinks by lr · weight_decay, whatever its gradient.
    pub weight_decay: f64,
    /// Which step this is, counted from 1.
    pub step: u64,
    /// What the gradient is multiplied by first: the clip factor.
    pub scale: f64,
}

/// Coefficients of an AdamW step: m ← m + (g − m)·`toward_m`, v ← `keep_v`·v + `add_v`·g²,
/// x ← `keep`·x − `rate`·m / (√v·`root_scale` + `epsilon`).
#[derive(Clone, Copy, Debug)]
struct AdamWStep<E> {
    scale: E,
    keep: E,
    toward_m: E,
    keep_v: E,
    add_v: E,
    rate: E,
    root_scale: E,
    epsilon: E,
}

/// Coefficients of an SGD step: g ← `scale`·g + `weight_decay`·x, u ← `momentum`·u + g, x ← x − `lr`·u.
#[derive(Clone, Copy, Debug)]
struct SgdStep<E> {
    scale: E,
    weight_decay: E,
    momentum: E,
    lr: E,
}

impl Sgd {
    fn prepare<E: Element>(self) -> SgdStep<E> {
        SgdStep {
            scale: E::from_f64(self.scale),
            weight_decay: E::from_f64(self.weight_decay),
            momentum: E::from_f64(self.momentum),
            lr: E::from_f64(self.lr),
        }
    }
}

impl AdamW {
    fn prepare<E: Element>(self) -> AdamWStep<E> {
        let steps = self.step.min(i32::MAX as u64) as i32;
        let (correction1, correction2) =
            (1.0 - self.beta1.powi(steps), 1.0 - self.beta2.powi(steps));
        AdamWStep {
            scale: E::from_f64(self.scale),
            keep: E::from_f64(1.0 - self.lr * self.weight_decay),
            toward_m: E::from_f64(1.0 - self.beta1),
            keep_v: E::from_f64(self.beta2),
            add_v: E::from_f64(1.0 - self.beta2),
            rate: E::from_f64(self.lr / correction1),
            root_scale: E::from_f64(1.0 / correction2.sqrt()),
            epsilon: E::from_f64(self.epsilon),
        }
    }
}

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
        Isa::Avx512 | Isa::Amx => unsafe { avx512::squared_norm(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::squared_norm(block) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::squared_norm(block),
        _ => plain::squared_norm(block),
    }
}

/// One step of [`Sgd`]: g ← scale·g + weight_decay·x; u ← momentum·u + g; x ← x − lr·u; then the gradient is zero.
///
/// `momentum` holds u, zero before the first step; without it u is g.
///
/// # Shapes
/// `value`, `gradient` and `momentum` alike.
///
/// # Panics
/// When the lengths differ, or `sgd.momentum` is not zero and there is no slice to keep it in.
#[track_caller]
pub fn sgd<E: Element>(
    cpu: &Cpu,
    sgd: Sgd,
    value: &mut [E],
    gradient: &mut [E],
    momentum: Option<&mut [E]>,
) {
    let len = value.len();
    assert_eq!(gradient.len(), len, "lengths of gradient and value");
    assert!(
        momentum.is_some() || sgd.momentum == 0.0,
        "momentum {} needs a slice of {len} values to be kept in",
        sgd.momentum
    );
    if let Some(momentum) = &momentum {
        assert_eq!(momentum.len(), len, "lengths of momentum and value");
    }
    let momentum = momentum.map(SharedSlice::new);
    let (value, gradient) = (SharedSlice::new(value), SharedSlice::new(gradient));
    cpu.pool().for_each(len.div_ceil(BLOCK), |task| {
        let range = task * BLOCK..len.min((task + 1) * BLOCK);
        // SAFETY: every task has values of its own.
        let (value, gradient, momentum) = unsafe {
            (
                value.slice(range.clone()),
                gradient.slice(range.clone()),
                momentum.as_ref().map(|momentum| momentum.slice(range)),
            )
        };
        if let (Some(value), Some(gradient)) = (E::as_f32_mut(value), E::as_f32_mut(gradient)) {
            let momentum = momentum.and_then(E::as_f32_mut);
            sgd_f32(cpu.isa(), sgd.prepare(), value, gradient, momentum);
        } else {
            reference::sgd(sgd.prepare(), value, gradient, momentum);
        }
    });
}

fn sgd_f32(
    isa: Isa,
    step: SgdStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    momentum: Option<&mut [f32]>,
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::sgd(step, value, gradient, momentum),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::sgd(step, value, gradient, momentum),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::sgd(step, value, gradient, momentum),
            _ => plain::sgd(step, value, gradient, momentum),
        }
    }
}

/// One step of [`AdamW`]: x ← x − lr·weight_decay·x; g ← scale·g; m ← β₁·m + (1−β₁)·g; v ← β₂·v + (1−β₂)·g²;
/// x ← x − lr · m̂ / (√v̂ + ε) with m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ); then the gradient is zero.
///
/// # Shapes
/// `value`, `gradient`, `m` and `v` alike; `m` and `v` are zero before the first step.
///
/// # Panics
/// When the lengths differ or `adamw.step` is 0.
#[track_caller]
pub fn adamw<E: Element>(
    cpu: &Cpu,
    adamw: AdamW,
    value: &mut [E],
    gradient: &mut [E],
    m: &mut [E],
    v: &mut [E],
) {
    let len = value.len();
    assert_eq!(gradient.len(), len, "lengths of gradient and value");
    assert_eq!(m.len(), len, "lengths of first moment and value");
    assert_eq!(v.len(), len, "lengths of second moment and value");
    assert!(adamw.step > 0, "steps of AdamW are counted from 1");
    let (value, gradient) = (SharedSlice::new(value), SharedSlice::new(gradient));
    let (m, v) = (SharedSlice::new(m), SharedSlice::new(v));
    cpu.pool().for_each(len.div_ceil(BLOCK), |task| {
        let range = task * BLOCK..len.min((task + 1) * BLOCK);
        // SAFETY: every task has values of its own.
        let (value, gradient, m, v) = unsafe {
            (
                value.slice(range.clone()),
                gradient.slice(range.clone()),
                m.slice(range.clone()),
                v.slice(range),
            )
        };
        if let (Some(value), Some(gradient), Some(m), Some(v)) =
            (E::as_f32_mut(value), E::as_f32_mut(gradient), E::as_f32_mut(m), E::as_f32_mut(v))
        {
            adamw_f32(cpu.isa(), adamw.prepare(), value, gradient, m, v);
        } else {
            reference::adamw(adamw.prepare(), value, gradient, m, v);
        }
    });
}

fn adamw_f32(
    isa: Isa,
    step: AdamWStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::adamw(step, value, gradient, m, v),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::adamw(step, value, gradient, m, v),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::adamw(step, value, gradient, m, v),
            _ => plain::adamw(step, value, gradient, m, v),
        }
    }
}
