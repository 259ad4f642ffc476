//! The way over the steps, on vectors, written once for all cells.

use std::ops::Range;

use super::formula::{Beside, Formula, MOST_GATES, MOST_VECTORS};
use super::{Given, Shape};
use crate::isa::by_isa;
use crate::recurrent::{load, store};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;
use crate::{Cpu, Isa, SharedSlice};

/// Units of a task: a run of memory that is long enough to be fetched ahead, several tasks a thread even with few rows.
const UNITS: usize = 256;
/// Units times steps below which one thread is as fast as a team.
const TINY: usize = 1 << 13;

pub(super) fn forward<F: Formula>(
    cpu: &Cpu,
    formula: F,
    shape: Shape,
    given: Given<'_, f32>,
    gates: &mut [f32],
    memory: &mut [f32],
    out: &mut [f32],
) {
    let [gates, memory, out] = [gates, memory, out].map(SharedSlice::new);
    run(cpu, &Forward { formula, shape, given, gates, memory, out });
}

#[allow(clippy::too_many_arguments)] // the cells have that many
pub(super) fn backward<F: Formula>(
    cpu: &Cpu,
    formula: F,
    shape: Shape,
    given: Given<'_, f32>,
    gates: &mut [f32],
    memory: &[f32],
    d_out: &[f32],
    [d_memory, d_x, d_vectors]: [&mut [f32]; 3],
) {
    let [gates, d_memory, d_x, d_vectors] = [gates, d_memory, d_x, d_vectors].map(SharedSlice::new);
    run(cpu, &Backward { formula, shape, given, gates, memory, d_out, d_memory, d_x, d_vectors });
}

/// A way over the steps that some units of a row go alone.
pub(super) trait Scan: Sync {
    /// Whether it goes from the last step to the first.
    const IS_BACKWARD: bool;

    fn shape(&self) -> Shape;

    /// One step of `n` units.
    ///
    /// # Safety
    /// As for [`Vector`]; row and units lie inside, and no other thread touches them.
    unsafe fn step<V: Vector, G: GateFunctions<V>>(&self, place: Place);

    /// All steps of the units `units` in row `row` of the batch.
    ///
    /// # Safety
    /// As for [`step`](Self::step).
    #[inline(always)]
    unsafe fn units<V: Vector, G: GateFunctions<V>>(&self, row: usize, units: Range<usize>) {
        let Shape { time, batch, .. } = self.shape();
        for idx in 0..time {
            let step = if Self::IS_BACKWARD { time - 1 - idx } else { idx };
            for unit in units.clone().step_by(V::LANES) {
                let n = V::LANES.min(units.end - unit);
                // SAFETY: by this function's contract.
                unsafe { self.step::<V, G>(Place { row, line: step * batch + row, unit, n }) }
            }
        }
    }
}

/// Where a step is: `n` units from `unit` on in `row` of the batch, which is row `line` of the sequence (T·B).
#[derive(Clone, Copy)]
pub(super) struct Place {
    row: usize,
    line: usize,
    unit: usize,
    n: usize,
}

/// Shares rows and runs of units among the team. A unit's numbers do not depend on who goes its way.
fn run(cpu: &Cpu, scan: &impl Scan) {
    let Shape { time, batch, hidden } = scan.shape();
    let parts = hidden.div_ceil(UNITS);
    let task = |idx: usize| {
        let (row, part) = (idx / parts, idx % parts);
        let units = part * UNITS..hidden.min((part + 1) * UNITS);
        // SAFETY: a `Cpu` exists only with an instruction set that the machine has; each task has units of its own.
        unsafe { on_isa(cpu.isa(), scan, row, units) }
    };
    cpu.pool().for_each_or_alone(time * batch * hidden < TINY, batch * parts, task);
}

unsafe fn on_isa(isa: Isa, scan: &impl Scan, row: usize, units: Range<usize>) {
    // SAFETY: the caller vouches for the instruction set and for the units.
    unsafe {
        by_isa!(
            isa,
            super::file => file::units(scan, row, units),
            bf16 => super::quick::units(scan, row, units)
        )
    }
}

struct Forward<'a, F> {
    formula: F,
    shape: Shape,
    given: Given<'a, f32>,
    gates: SharedSlice<'a, f32>,
    memory: SharedSlice<'a, f32>,
    out: SharedSlice<'a, f32>,
}

impl<F: Formula> Scan for Forward<'_, F> {
    const IS_BACKWARD: bool = false;

    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline(always)]
    unsafe fn step<V: Vector, G: GateFunctions<V>>(&self, Place { line, unit, n, .. }: Place) {
        let Shape { batch, hidden, .. } = self.shape;
        let at = line * hidden + unit;
        // SAFETY: unit + n ≤ H, and `check` has compared all sizes; the units are this task's.
        unsafe {
            let beside = beside::<V, F>(self.given, hidden, unit, at, n);
            let gates = self.gates.ptr(line * F::GATES * hidden + unit);
            let a = load_gates::<V, F>(gates, hidden, n);
            let before = load(self.memory.ptr(at), n);
            let made = self.formula.forward::<V, G>(a, beside, before);
            store_gates::<V, F>(made.kept, gates, hidden, n);
            store(made.memory, self.memory.ptr(at + batch * hidden), n);
            if !F::HANDS_UP_MEMORY {
                store(made.out, self.out.ptr(at), n);
            }
        }
    }
}

struct Backward<'a, F> {
    formula: F,
    shape: Shape,
    given: Given<'a, f32>,
    gates: SharedSlice<'a, f32>,
    memory: &'a [f32],
    d_out: &'a [f32],
    d_memory: SharedSlice<'a, f32>,
    d_x: SharedSlice<'a, f32>,
    d_vectors: SharedSlice<'a, f32>,
}

impl<F: Formula> Scan for Backward<'_, F> {
    const IS_BACKWARD: bool = true;

    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline(always)]
    unsafe fn step<V: Vector, G: GateFunctions<V>>(&self, Place { row, line, unit, n }: Place) {
        let Shape { batch, hidden, .. } = self.shape;
        let at = line * hidden + unit;
        // SAFETY: unit + n ≤ H, and `check` has compared all sizes; the units are this task's.
        unsafe {
            let beside = beside::<V, F>(self.given, hidden, unit, at, n);
            let gates = self.gates.ptr(line * F::GATES * hidden + unit);
            let kept = load_gates::<V, F>(gates, hidden, n);
            let memory = self.memory.as_ptr().add(at);
            let (before, now) = (load(memory, n), load(memory.add(batch * hidden), n));
            let d_out = load(self.d_out.as_ptr().add(at), n);
            let d_memory = self.d_memory.ptr(row * hidden + unit);
            let d = self.formula.backward(kept, beside, before, now, d_out, load(d_memory, n));
            store_gates::<V, F>(d.a, gates, hidden, n);
            store(d.before, d_memory, n);
            if F::READS_X {
                store(d.x, self.d_x.ptr(at), n);
            }
            for (idx, &d_vector) in d.vectors[..F::VECTORS].iter().enumerate() {
                let sum = self.d_vectors.ptr((row * F::VECTORS + idx) * hidden + unit);
                store(load::<V>(sum, n).add(d_vector), sum, n);
            }
        }
    }
}

/// What `n` units from `unit` on read beside their gates, where `at` is their place in a sequence (T, B, H).
///
/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn beside<V: Vector, F: Formula>(
    given: Given<'_, f32>,
    hidden: usize,
    unit: usize,
    at: usize,
    n: usize,
) -> Beside<V> {
    // SAFETY: by this function's contract.
    unsafe {
        let zero = V::splat(0.0);
        let mut vectors = [zero; MOST_VECTORS];
        for (idx, vector) in vectors[..F::VECTORS].iter_mut().enumerate() {
            *vector = load(given.vectors.as_ptr().add(idx * hidden + unit), n);
        }
        let x = if F::READS_X { load(given.x.as_ptr().add(at), n) } else { zero };
        Beside { vectors, x }
    }
}

/// # Safety
/// As for [`load`], for each gate.
#[inline(always)]
unsafe fn load_gates<V: Vector, F: Formula>(
    from: *const f32,
    hidden: usize,
    n: usize,
) -> [V; MOST_GATES] {
    // SAFETY: by this function's contract.
    unsafe {
        let mut gates = [V::splat(0.0); MOST_GATES];
        for (gate, value) in gates[..F::GATES].iter_mut().enumerate() {
            *value = load(from.add(gate * hidden), n);
        }
        gates
    }
}

/// # Safety
/// As for [`store`], for each gate.
#[inline(always)]
unsafe fn store_gates<V: Vector, F: Formula>(
    gates: [V; MOST_GATES],
    to: *mut f32,
    hidden: usize,
    n: usize,
) {
    for (gate, &value) in gates[..F::GATES].iter().enumerate() {
        // SAFETY: by this function's contract.
        unsafe { store(value, to.add(gate * hidden), n) }
    }
}
