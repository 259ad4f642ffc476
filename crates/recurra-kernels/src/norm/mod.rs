//! Normalised rows: RMS norm (Zhang and Sennrich 2019) and layer norm (Ba, Kiros and Hinton 2016), with a gain and a bias.
//!
//! A row of C values is normalised as a whole or in groups of C / G values each, with
//!
//! - RMS: r = 1 / √(mean x² + ε), x̂ = x·r;
//! - layer: μ = mean x, r = 1 / √(mean (x − μ)² + ε), x̂ = (x − μ)·r;
//!
//! y = x̂ ⊙ gain + bias, and backward, with δ = d_y ⊙ gain:
//!
//! - d_x = r·(δ − x̂·mean(δ ⊙ x̂)), for layer norm less mean δ within the brackets;
//! - d_gain = Σ d_y ⊙ x̂, d_bias = Σ d_y over all rows, in blocks of rows whose sums are added in their order.
//!
//! Nothing is kept for the way back: μ and r are computed again while the row is in the first cache.

mod reference;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::column_sum::column_sums;
use crate::isa::by_isa;
use crate::matmul::Matrix;
use crate::{Cpu, Element, Isa, SharedSlice};

/// Rows of a task.
const ROWS: usize = 32;
/// Below this many values other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 14;

/// How rows are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// By what.
    pub kind: Kind,
    /// G: how many parts of a row are normalised each for itself.
    pub groups: usize,
    /// ε, which keeps a row of zeros finite.
    pub epsilon: f32,
}

/// By what a row is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The root of its mean square.
    Rms,
    /// Its standard deviation, after its mean is taken off.
    Layer,
}

/// What a norm learns.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, E> {
    /// (C)
    pub gain: &'a [E],
    /// (C), or none.
    pub bias: Option<&'a [E]>,
}

/// What the way back leaves.
#[derive(Debug)]
pub struct Gradients<'a, E> {
    /// (N, C)
    pub d_x: &'a mut [E],
    /// Whether `d_x` is added to; else it is overwritten.
    pub adds: bool,
    /// (C), added to.
    pub d_gain: &'a mut [E],
    /// (C), added to; none where there is no bias.
    pub d_bias: Option<&'a mut [E]>,
}

/// Some rows, for the loops.
struct Rows<'a> {
    norm: Norm,
    x: &'a [f32],
    affine: Affine<'a, f32>,
}

/// What an instruction set has.
struct Loops {
    forward: unsafe fn(&Rows<'_>, &mut [f32]),
    backward: unsafe fn(&Rows<'_>, &[f32], &mut Back<'_>),
}

/// Where the way back of some rows goes.
struct Back<'a> {
    d_x: &'a mut [f32],
    adds: bool,
    /// Sums for the gain, and for the bias where there is one.
    sums: &'a mut [f32],
}

/// y = x̂ ⊙ gain + bias.
///
/// # Shapes
/// `x` and `y` (N, C); C is that of the gain, a multiple of the groups.
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn forward<E: Element>(cpu: &Cpu, norm: Norm, x: &[E], affine: Affine<'_, E>, y: &mut [E]) {
    check(norm, x, affine, y.len());
    let cols = affine.gain.len();
    if let (Some(x), Some(affine)) = (E::as_f32(x), affine.as_f32()) {
        let y = SharedSlice::of_f32(y);
        return each_block(cpu, x.len(), cols, |_, places| {
            let rows = Rows { norm, x: &x[places.clone()], affine };
            // SAFETY: rows of its own for each task; `Cpu` has found the instruction set.
            unsafe { (loops(cpu.isa()).forward)(&rows, y.slice(places)) };
        });
    }
    reference::forward(norm, x, affine, y);
}

/// How many values [`backward`] works in.
pub fn scratch_len<E>(rows: usize, affine: Affine<'_, E>) -> usize {
    rows.div_ceil(ROWS) * affine.n_sums()
}

/// The gradients of [`forward`].
///
/// # Shapes
/// `x` and `d_y` (N, C), `scratch` as [`scratch_len`] says.
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    norm: Norm,
    x: &[E],
    affine: Affine<'_, E>,
    d_y: &[E],
    gradients: Gradients<'_, E>,
    scratch: &mut [E],
) {
    let Gradients { d_x, adds, d_gain, d_bias } = gradients;
    check(norm, x, affine, d_x.len());
    let cols = affine.gain.len();
    assert!(
        d_y.len() == x.len()
            && d_gain.len() == cols
            && d_bias.as_ref().map(|d_bias| d_bias.len()) == affine.bias.map(<[E]>::len),
        "gradients of a norm of {cols} columns"
    );
    let n_sums = affine.n_sums();
    let n_blocks = (x.len() / cols.max(1)).div_ceil(ROWS);
    assert_eq!(scratch.len(), n_blocks * n_sums, "sums of {n_blocks} blocks of rows");
    if let (Some(x), Some(d_y), Some(affine)) = (E::as_f32(x), E::as_f32(d_y), affine.as_f32()) {
        let d_x = SharedSlice::of_f32(d_x);
        let sums = SharedSlice::of_f32(scratch);
        each_block(cpu, x.len(), cols, |block, places| {
            let rows = Rows { norm, x: &x[places.clone()], affine };
            // SAFETY: rows and sums of its own for each task; `Cpu` has found the instruction set.
            unsafe {
                let sums = sums.slice(block * n_sums..(block + 1) * n_sums);
                sums.fill(0.0);
                let mut back = Back { d_x: d_x.slice(places.clone()), adds, sums };
                (loops(cpu.isa()).backward)(&rows, &d_y[places], &mut back);
            }
        });
        let sums = |first: usize| {
            let from = scratch.get(first..).unwrap_or_default();
            Matrix::with_strides(from, n_blocks, cols, n_sums)
        };
        column_sums(cpu, sums(0), d_gain);
        if let Some(d_bias) = d_bias {
            column_sums(cpu, sums(cols), d_bias);
        }
        return;
    }
    reference::backward(norm, x, affine, d_y, Gradients { d_x, adds, d_gain, d_bias });
}

impl<'a, E: Element> Affine<'a, E> {
    fn as_f32(self) -> Option<Affine<'a, f32>> {
        let bias = match self.bias {
            None => None,
            Some(bias) => Some(E::as_f32(bias)?),
        };
        Some(Affine { gain: E::as_f32(self.gain)?, bias })
    }
}

impl<E> Affine<'_, E> {
    /// Sums of a block of rows: for the gain, and for the bias where there is one.
    fn n_sums(&self) -> usize {
        self.gain.len() + self.bias.map_or(0, <[E]>::len)
    }
}

#[track_caller]
fn check<E>(norm: Norm, x: &[E], affine: Affine<'_, E>, out: usize) {
    let cols = affine.gain.len();
    assert!(
        x.len() == out
            && x.len().is_multiple_of(cols.max(1))
            && affine.bias.is_none_or(|bias| bias.len() == cols)
            && norm.groups > 0
            && cols.is_multiple_of(norm.groups),
        "a norm of {} values into {out}, {cols} columns in {} groups",
        x.len(),
        norm.groups
    );
}

/// Blocks of whole rows on the team.
fn each_block(
    cpu: &Cpu,
    len: usize,
    cols: usize,
    block: impl Fn(usize, std::ops::Range<usize>) + Sync,
) {
    if len == 0 {
        return;
    }
    let size = ROWS * cols;
    let task = |idx: usize| block(idx, idx * size..len.min((idx + 1) * size));
    let n_blocks = len.div_ceil(size);
    cpu.pool().for_each_or_alone(len <= ALONE, n_blocks, task);
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS)
}

#[cfg(test)]
mod tests;
