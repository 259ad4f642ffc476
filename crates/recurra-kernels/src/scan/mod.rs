//! Recurrences without a recurrent product: each unit goes over the steps alone, so that everything large is made before.
//!
//! Given are the products of a whole sequence with the input, a = W·x + b, gate by gate. A unit carries one *memory* from step
//! to step, c or h, and no other unit reads it. So a sequence is B·H lanes side by side, and nobody waits for anybody.
//!
//! ```text
//! minGRU (Feng et al. 2024)           z = σ(a_z)                                h = (1 − z) ⊙ h₋ + z ⊙ a_g
//! minLSTM (Feng et al. 2024)          f = σ(a_f)   i = σ(a_i)                   h = (f ⊙ h₋ + i ⊙ a_g) / (f + i)
//! QRNN, fo-pooling (Bradbury 2017)    z = tanh(a_z)   f = σ(a_f)   o = σ(a_o)   c = f ⊙ c₋ + (1 − f) ⊙ z     h = o ⊙ c
//! SRU (Lei et al. 2018)               f = σ(a_f + v_f ⊙ c₋)   r = σ(a_r + v_r ⊙ c₋)
//!                                     c = f ⊙ c₋ + (1 − f) ⊙ a_u                h = r ⊙ c + (1 − r) ⊙ α·x
//! ```
//!
//! where h₋, c₋ are those of the step before. The papers compute these as parallel scans, in logarithms where the numbers would
//! grow too small or too large; one step after the other needs no logarithms, and B·H lanes keep a processor busy.
//!
//! What of a gate the way back wants is kept in its place, and the gradient of a is left there.

mod formula;
mod min_gru;
mod min_lstm;
mod qrnn;
mod reference;
mod sru;
#[cfg(test)]
mod tests;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
mod quick;

pub use crate::recurrent::Shape;
use crate::{Cpu, Element};
use std::ops::Range;

use formula::Formula;
use min_gru::MinGru;
use min_lstm::MinLstm;
use qrnn::Qrnn;
use sru::Sru;

/// Which recurrence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScanCell {
    /// Gates z, g; memory h.
    MinGru,
    /// Gates f, i, g; memory h.
    MinLstm,
    /// Gates z, f, o; memory c.
    Qrnn,
    /// Gates u, f, r, and x where it is a product as well; memory c; vectors v_f, v_r.
    Sru {
        /// α, what x is multiplied by.
        scale: f32,
        /// Whether x is the fourth gate; else it is given beside the gates.
        is_projected: bool,
    },
}

/// What a cell reads that no step changes.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a, E> {
    /// (N, H): the cell's learned vectors; empty where it has none.
    pub vectors: &'a [E],
    /// (T, B, H): x, where the cell reads it [beside](ScanCell::reads_x) its gates; else empty.
    pub x: &'a [E],
}

/// Does the same with the formula of whichever cell it is.
macro_rules! each {
    ($cell:expr, $formula:ident => $do:expr) => {
        match $cell {
            ScanCell::MinGru => {
                let $formula = MinGru;
                $do
            }
            ScanCell::MinLstm => {
                let $formula = MinLstm;
                $do
            }
            ScanCell::Qrnn => {
                let $formula = Qrnn;
                $do
            }
            ScanCell::Sru { scale, is_projected: true } => {
                let $formula = Sru::<true> { scale };
                $do
            }
            ScanCell::Sru { scale, is_projected: false } => {
                let $formula = Sru::<false> { scale };
                $do
            }
        }
    };
}

impl ScanCell {
    /// How many products with the input a unit has.
    pub fn n_gates(self) -> usize {
        fn of<F: Formula>(_: F) -> usize {
            F::GATES
        }
        each!(self, formula => of(formula))
    }

    /// Which of these have a bias.
    pub fn biased_gates(self) -> Range<usize> {
        match self {
            ScanCell::Sru { .. } => 1..3,
            _ => 0..self.n_gates(),
        }
    }

    /// How many learned vectors (H) multiply the memory.
    pub fn n_vectors(self) -> usize {
        fn of<F: Formula>(_: F) -> usize {
            F::VECTORS
        }
        each!(self, formula => of(formula))
    }

    /// Whether it reads x beside its gates.
    pub fn reads_x(self) -> bool {
        fn of<F: Formula>(_: F) -> bool {
            F::READS_X
        }
        each!(self, formula => of(formula))
    }

    /// Whether what it hands up is its memory.
    pub fn hands_up_memory(self) -> bool {
        fn of<F: Formula>(_: F) -> bool {
            F::HANDS_UP_MEMORY
        }
        each!(self, formula => of(formula))
    }
}

/// The memories and outputs of all steps.
///
/// # Shapes
/// - `gates` (T, B, G·H), in: a; out: what [`backward`] wants of them.
/// - `memory` (T+1, B, H): the first is that before the sequence, the others are written.
/// - `out` (T, B, H): h; empty where the cell hands up its memory.
///
/// # Panics
/// When a size disagrees.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    cell: ScanCell,
    shape: Shape,
    given: Given<'_, E>,
    gates: &mut [E],
    memory: &mut [E],
    out: &mut [E],
) {
    check(cell, shape, &given, gates.len(), memory.len());
    let out_width = if cell.hands_up_memory() { 0 } else { shape.hidden };
    shape.check("out", out.len(), shape.sequence(out_width));
    if let (Some(given), Some(gates), Some(memory), Some(out)) =
        (given.as_f32(), E::as_f32_mut(gates), E::as_f32_mut(memory), E::as_f32_mut(out))
    {
        return each!(cell, formula => vector::forward(cpu, formula, shape, given, gates, memory, out));
    }
    reference::forward(cell, shape, given, gates, memory, out);
}

/// The gradients of all a, of what is given, and of the memory before the sequence.
///
/// # Shapes
/// - `gates` (T, B, G·H), in: as [`forward`] left them; out: the gradients of a.
/// - `memory` (T+1, B, H) as [`forward`] left it; `d_out` (T, B, H) the gradient of every h.
/// - `d_memory` (B, H), in: the gradient of the last memory beside that in `d_out`; out: of the first.
/// - `d_x` (T, B, H), overwritten with the gradient of the x that is given; empty where none is.
/// - `d_vectors` (B, N, H), added to: the gradient of the vectors, row by row of the batch.
///
/// # Panics
/// When a size disagrees.
#[track_caller]
#[allow(clippy::too_many_arguments)] // the cells have that many
pub fn backward<E: Element>(
    cpu: &Cpu,
    cell: ScanCell,
    shape: Shape,
    given: Given<'_, E>,
    gates: &mut [E],
    memory: &[E],
    d_out: &[E],
    d_memory: &mut [E],
    d_x: &mut [E],
    d_vectors: &mut [E],
) {
    check(cell, shape, &given, gates.len(), memory.len());
    shape.check("d_out", d_out.len(), shape.sequence(shape.hidden));
    shape.check("d_memory", d_memory.len(), shape.state());
    shape.check("d_x", d_x.len(), given.x.len());
    shape.check("d_vectors", d_vectors.len(), shape.batch * given.vectors.len());
    if let (Some(given), Some(gates), Some(memory), Some(d_out)) =
        (given.as_f32(), E::as_f32_mut(gates), E::as_f32(memory), E::as_f32(d_out))
        && let (Some(d_memory), Some(d_x), Some(d_vectors)) =
            (E::as_f32_mut(d_memory), E::as_f32_mut(d_x), E::as_f32_mut(d_vectors))
    {
        let wanted = [d_memory, d_x, d_vectors];
        return each!(cell, formula => {
            vector::backward(cpu, formula, shape, given, gates, memory, d_out, wanted);
        });
    }
    reference::backward(cell, shape, given, gates, memory, d_out, d_memory, d_x, d_vectors);
}

impl<'a, E: Element> Given<'a, E> {
    fn as_f32(&self) -> Option<Given<'a, f32>> {
        Some(Given { vectors: E::as_f32(self.vectors)?, x: E::as_f32(self.x)? })
    }
}

#[track_caller]
fn check<E>(cell: ScanCell, shape: Shape, given: &Given<'_, E>, gates: usize, memory: usize) {
    shape.check("gates", gates, shape.sequence(cell.n_gates() * shape.hidden));
    shape.check("memory", memory, shape.states());
    shape.check("vectors", given.vectors.len(), cell.n_vectors() * shape.hidden);
    let x_width = if cell.reads_x() { shape.hidden } else { 0 };
    shape.check("x", given.x.len(), shape.sequence(x_width));
}
