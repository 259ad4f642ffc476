//! Functions of a value times its own gate, and gates of one half of a row by the other.
//!
//! f(x) = x·σ(s(x)), f′(x) = σ + x·σ·(1 − σ)·s′(x), with σ = σ(s(x)) and
//!
//! - SiLU (Elfwing, Uchibe and Doya 2018): s(x) = x;
//! - GELU (Hendrycks and Gimpel 2016), approximated with tanh as GPT-2 has it: s(x) = 2·√(2/π)·(x + 0.044715·x³).
//!
//! Of a row (a, b) of two halves a gate makes f(a) ⊙ b (Dauphin et al. 2017; Shazeer 2020): SwiGLU with SiLU, GEGLU with
//! GELU. Backward: d_a = d ⊙ b ⊙ f′(a), d_b = d ⊙ f(a).

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

/// Values of a task.
const BLOCK: usize = 1 << 14;

/// Which function it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// x·σ(2·√(2/π)·(x + 0.044715·x³)).
    Gelu,
    /// x·σ(x).
    Silu,
}

/// Values side by side, for the loops.
#[derive(Clone, Copy)]
struct Run<'a> {
    function: Function,
    a: &'a [f32],
    /// What f(a) is multiplied by, if anything.
    b: Option<&'a [f32]>,
}

/// Where the gradients of a run go.
struct Back<'a> {
    d_a: &'a mut [f32],
    d_b: Option<&'a mut [f32]>,
    /// Whether they are added to; else they are overwritten.
    adds: bool,
}

/// What an instruction set has.
struct Loops {
    forward: unsafe fn(Run<'_>, &mut [f32]),
    backward: unsafe fn(Run<'_>, &[f32], Back<'_>),
}

/// y = f(x).
///
/// # Shapes
/// `x` and `y` as many values.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn forward<E: Element>(cpu: &Cpu, function: Function, x: &[E], y: &mut [E]) {
    assert_eq!(x.len(), y.len(), "an activation of so many values into so many");
    if let Some(x) = E::as_f32(x) {
        let y = SharedSlice::of_f32(y);
        return each_block(cpu, x.len(), 1, |places| {
            let run = Run { function, a: &x[places.clone()], b: None };
            // SAFETY: places of its own for each task; `Cpu` has found the instruction set.
            unsafe { (loops(cpu.isa()).forward)(run, y.slice(places)) };
        });
    }
    reference::forward(function, x, y);
}

/// d_x = d_y ⊙ f′(x), added to what is there where `adds`.
///
/// # Shapes
/// All as many values.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    function: Function,
    x: &[E],
    d_y: &[E],
    d_x: &mut [E],
    adds: bool,
) {
    assert!(x.len() == d_y.len() && x.len() == d_x.len(), "gradients of {} values", x.len());
    if let (Some(x), Some(d_y)) = (E::as_f32(x), E::as_f32(d_y)) {
        let d_x = SharedSlice::of_f32(d_x);
        return each_block(cpu, x.len(), 1, |places| {
            let run = Run { function, a: &x[places.clone()], b: None };
            // SAFETY: places of its own for each task; `Cpu` has found the instruction set.
            unsafe {
                let back = Back { d_a: d_x.slice(places.clone()), d_b: None, adds };
                (loops(cpu.isa()).backward)(run, &d_y[places], back);
            }
        });
    }
    reference::backward(function, x, d_y, d_x, adds);
}

/// y = f(a) ⊙ b for every row (a, b).
///
/// # Shapes
/// `x` (N, 2·F), `y` (N, F).
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn gated_forward<E: Element>(
    cpu: &Cpu,
    function: Function,
    x: &[E],
    width: usize,
    y: &mut [E],
) {
    check_gated(x.len(), width, y.len());
    if let Some(x) = E::as_f32(x) {
        let y = SharedSlice::of_f32(y);
        return each_block(cpu, y.len(), width, |places| {
            for first in places.step_by(width) {
                let (a, b) = x[2 * first..2 * (first + width)].split_at(width);
                let run = Run { function, a, b: Some(b) };
                // SAFETY: rows of its own for each task; `Cpu` has found the instruction set.
                unsafe { (loops(cpu.isa()).forward)(run, y.slice(first..first + width)) };
            }
        });
    }
    reference::gated_forward(function, x, width, y);
}

/// The gradient of [`gated_forward`], added to what is there where `adds`.
///
/// # Shapes
/// `x` and `d_x` (N, 2·F), `d_y` (N, F).
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn gated_backward<E: Element>(
    cpu: &Cpu,
    function: Function,
    x: &[E],
    width: usize,
    d_y: &[E],
    d_x: &mut [E],
    adds: bool,
) {
    check_gated(x.len(), width, d_y.len());
    assert_eq!(x.len(), d_x.len(), "gradients of so many values");
    if let (Some(x), Some(d_y)) = (E::as_f32(x), E::as_f32(d_y)) {
        let d_x = SharedSlice::of_f32(d_x);
        return each_block(cpu, d_y.len(), width, |places| {
            for first in places.step_by(width) {
                let row = 2 * first..2 * (first + width);
                let (a, b) = x[row.clone()].split_at(width);
                let run = Run { function, a, b: Some(b) };
                // SAFETY: rows of its own for each task; `Cpu` has found the instruction set.
                unsafe {
                    let (d_a, d_b) = d_x.slice(row).split_at_mut(width);
                    let back = Back { d_a, d_b: Some(d_b), adds };
                    (loops(cpu.isa()).backward)(run, &d_y[first..first + width], back);
                }
            }
        });
    }
    reference::gated_backward(function, x, width, d_y, d_x, adds);
}

#[track_caller]
fn check_gated(inputs: usize, width: usize, outputs: usize) {
    assert!(
        inputs == 2 * outputs && outputs.is_multiple_of(width.max(1)),
        "a gate from {inputs} values into {outputs}, {width} a row"
    );
}

/// Blocks of whole rows of `width` on the team.
fn each_block(cpu: &Cpu, len: usize, width: usize, block: impl Fn(Range<usize>) + Sync) {
    cpu.pool().for_each_block(len, BLOCK.next_multiple_of(width.max(1)), block);
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS, bf16 => &avx512::QUICK)
}

#[cfg(test)]
mod tests;
