//! What a step of a Mogrifier LSTM does beside its products (Melis, Kočiský and Blunsom 2020).
//!
//! A round scales a vector v, which is x or h, by a gate that comes from the other one; a is its product:
//!
//! ```text
//! m = 2·σ(a)        v ← m ⊙ v
//! d_v ← d ⊙ m       d_a = d ⊙ v ⊙ m ⊙ (1 − m/2)
//! ```
//!
//! so that a product of 0 changes nothing (with the quick σ of bf16 products, less than 2e-6 of it). After the rounds comes the step of an LSTM whose products are all made: see
//! [`lstm`](crate::lstm) for its equations, both ways.

mod reference;
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

use crate::element::expect_f32;
use crate::isa::by_isa;
use crate::{Cpu, Element, Isa, SharedSlice};

const GATES: usize = 4;

/// Values of a task.
const BLOCK: usize = 1 << 13;

/// What an instruction set has.
struct Loops {
    scale: unsafe fn(&mut [f32], &[f32], &mut [f32]),
    scale_backward: unsafe fn(&mut [f32], &[f32], &mut [f32]),
    step: unsafe fn(bool, Step<'_, f32>),
    step_backward: unsafe fn(bool, StepBack<'_, f32>),
}

/// One row of a step forward: (4H), (H), (H), (H).
struct Step<'a, E> {
    gates: &'a mut [E],
    c_before: &'a [E],
    c: &'a mut [E],
    h: &'a mut [E],
}

/// One row of a step backward: (4H), and (H) each.
struct StepBack<'a, E> {
    gates: &'a mut [E],
    c_before: &'a [E],
    c: &'a [E],
    d_h: &'a [E],
    d_c: &'a mut [E],
}

/// out = 2·σ(a) ⊙ v.
///
/// # Shapes
/// All as many values; `gate`, in: a; out: 2·σ(a).
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn scale<E: Element>(cpu: &Cpu, gate: &mut [E], v: &[E], out: &mut [E]) {
    let n = v.len();
    assert!(gate.len() == n && out.len() == n, "a gate of {} values for {n}", gate.len());
    if let Some(v) = E::as_f32(v) {
        let [gate, out] = [gate, out].map(SharedSlice::of_f32);
        cpu.pool().for_each_block(n, BLOCK, |places| {
            // SAFETY: places of its own for each task; `Cpu` has found the instruction set.
            unsafe {
                let (gate, out) = (gate.slice(places.clone()), out.slice(places.clone()));
                (loops(cpu.isa()).scale)(gate, &v[places], out);
            }
        });
        return;
    }
    reference::scale(gate, v, out);
}

/// The gradient of [`scale`].
///
/// # Shapes
/// All as many values; `gate`, in: 2·σ(a); out: the gradient of a. `d`, in: the gradient of out; out: that of `v`.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn scale_backward<E: Element>(cpu: &Cpu, gate: &mut [E], v: &[E], d: &mut [E]) {
    let n = v.len();
    assert!(gate.len() == n && d.len() == n, "a gate of {} values for {n}", gate.len());
    if let Some(v) = E::as_f32(v) {
        let [gate, d] = [gate, d].map(SharedSlice::of_f32);
        cpu.pool().for_each_block(n, BLOCK, |places| {
            // SAFETY: as in `scale`.
            unsafe {
                let (gate, d) = (gate.slice(places.clone()), d.slice(places.clone()));
                (loops(cpu.isa()).scale_backward)(gate, &v[places], d);
            }
        });
        return;
    }
    reference::scale_backward(gate, v, d);
}

/// A step of an LSTM from all its products, with an input gate of at most 1 − f where `is_coupled`.
///
/// # Shapes
/// - `gates` (B, 4H), in: W·x + U·h₋ + b; out: i, f, g, o after their activations.
/// - `c_before` (B, H); `c` and `h` (B, H) are written.
///
/// # Panics
/// When a size disagrees.
#[track_caller]
pub fn step<E: Element>(
    cpu: &Cpu,
    hidden: usize,
    is_coupled: bool,
    gates: &mut [E],
    c_before: &[E],
    c: &mut [E],
    h: &mut [E],
) {
    let n = check(hidden, gates.len(), [c_before.len(), c.len(), h.len()]);
    let [gates, c, h] = [gates, c, h].map(SharedSlice::new);
    cpu.pool().for_each(n / hidden, |row| {
        let places = row * hidden..(row + 1) * hidden;
        // SAFETY: a row of its own for each task; `Cpu` has found the instruction set.
        unsafe {
            let gates = gates.slice(GATES * places.start..GATES * places.end);
            let (c, h) = (c.slice(places.clone()), h.slice(places.clone()));
            let c_before = &c_before[places];
            match E::as_f32(c_before) {
                Some(c_before) => {
                    let (gates, c, h) = (expect_f32(gates), expect_f32(c), expect_f32(h));
                    (loops(cpu.isa()).step)(is_coupled, Step { gates, c_before, c, h });
                }
                None => reference::step(is_coupled, Step { gates, c_before, c, h }),
            }
        }
    });
}

/// The gradients of [`step`].
///
/// # Shapes
/// - `gates` (B, 4H), in: as [`step`] left them; out: the gradients of the products.
/// - `c_before`, `c` and `d_h` (B, H); `d_c` (B, H), in: of c, by the step after; out: of `c_before`.
///
/// # Panics
/// When a size disagrees.
#[track_caller]
#[allow(clippy::too_many_arguments)] // the cell has that many
pub fn step_backward<E: Element>(
    cpu: &Cpu,
    hidden: usize,
    is_coupled: bool,
    gates: &mut [E],
    c_before: &[E],
    c: &[E],
    d_h: &[E],
    d_c: &mut [E],
) {
    let n = check(hidden, gates.len(), [c_before.len(), c.len(), d_c.len()]);
    assert_eq!(d_h.len(), n, "d_h");
    let [gates, d_c] = [gates, d_c].map(SharedSlice::new);
    cpu.pool().for_each(n / hidden, |row| {
        let places = row * hidden..(row + 1) * hidden;
        // SAFETY: as in `step`.
        unsafe {
            let gates = gates.slice(GATES * places.start..GATES * places.end);
            let d_c = d_c.slice(places.clone());
            let (c_before, c, d_h) = (&c_before[places.clone()], &c[places.clone()], &d_h[places]);
            match (E::as_f32(c_before), E::as_f32(c), E::as_f32(d_h)) {
                (Some(c_before), Some(c), Some(d_h)) => {
                    let (gates, d_c) = (expect_f32(gates), expect_f32(d_c));
                    let row = StepBack { gates, c_before, c, d_h, d_c };
                    (loops(cpu.isa()).step_backward)(is_coupled, row);
                }
                _ => {
                    let row = StepBack { gates, c_before, c, d_h, d_c };
                    reference::step_backward(is_coupled, row);
                }
            }
        }
    });
}

#[track_caller]
fn check(hidden: usize, gates: usize, parts: [usize; 3]) -> usize {
    let n = parts[0];
    assert!(
        n.is_multiple_of(hidden) && gates == GATES * n && parts == [n; 3],
        "gates of {gates} values for states of {parts:?}, H {hidden}"
    );
    n
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS, bf16 => &avx512::QUICK)
}
