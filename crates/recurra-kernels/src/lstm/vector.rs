//! The LSTM's steps on vectors.

use super::cell::Lstm;
use super::{Form, GATES, Shape};
use crate::recurrent::{Cell, Extent, Left, Panels, Place, Sweep, fetch_ahead, load, run, store};
use crate::simd::Vector;
use crate::simd::math::Exact;
use crate::{Cpu, SharedSlice};

#[allow(clippy::too_many_arguments)] // the cell has that many
pub(super) fn forward(
    cpu: &Cpu,
    shape: Shape,
    form: Form<'_, f32>,
    panels: &Panels,
    gates: &mut [f32],
    h: &mut [f32],
    c: &mut [f32],
    seen: Option<&mut [f32]>,
) {
    let [gates, h, c] = [gates, h, c].map(SharedSlice::new);
    let seen = form.state_mask.zip(seen.map(SharedSlice::new));
    match form.is_coupled {
        false => run(cpu, &Forward { cell: Lstm::<false>, shape, panels, gates, h, c, seen }),
        true => run(cpu, &Forward { cell: Lstm::<true>, shape, panels, gates, h, c, seen }),
    }
}

#[allow(clippy::too_many_arguments)] // the cell has that many
pub(super) fn backward(
    cpu: &Cpu,
    shape: Shape,
    form: Form<'_, f32>,
    panels: &Panels,
    gates: &mut [f32],
    c: &[f32],
    d_h: &[f32],
    d_h_last: &mut [f32],
    d_c_last: &mut [f32],
) {
    let [gates, d_h_last, d_c_last] = [gates, d_h_last, d_c_last].map(SharedSlice::new);
    let mask = form.state_mask;
    match form.is_coupled {
        false => {
            let cell = Lstm::<false>;
            run(cpu, &Backward { cell, shape, mask, panels, gates, c, d_h, d_h_last, d_c_last });
        }
        true => {
            let cell = Lstm::<true>;
            run(cpu, &Backward { cell, shape, mask, panels, gates, c, d_h, d_h_last, d_c_last });
        }
    }
}

struct Forward<'a, C> {
    cell: C,
    shape: Shape,
    panels: &'a Panels,
    gates: SharedSlice<'a, f32>,
    h: SharedSlice<'a, f32>,
    c: SharedSlice<'a, f32>,
    /// A mask of the state, and what the products see through it.
    seen: Option<(&'a [f32], SharedSlice<'a, f32>)>,
}

impl<C: Cell> Sweep for Forward<'_, C> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time, rows: self.shape.batch, panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        let hidden = self.shape.hidden;
        let seen = self.seen.as_ref().map_or(&self.h, |(_, seen)| seen);
        let values = seen.ptr(step * self.shape.state());
        [Left { values, row_stride: hidden, depth: hidden }, Left::NONE]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let hidden = self.shape.hidden;
        let of_mask = row * hidden + unit;
        let row = step * self.shape.batch + row;
        let before = row * hidden + unit;
        let now = before + self.shape.state();
        // SAFETY: unit + n ≤ H, so that all places lie in this row, whose sizes `forward` has checked; they are this
        // member's by the contract of `Sweep`.
        unsafe {
            let gate_i = self.gates.ptr(row * GATES * hidden + unit);
            let (gate_f, gate_g, gate_o) =
                (gate_i.add(hidden), gate_i.add(2 * hidden), gate_i.add(3 * hidden));
            for gate in [gate_i, gate_f, gate_g, gate_o] {
                fetch_ahead::<V>(gate, GATES * hidden);
            }
            fetch_ahead::<V>(self.c.ptr(before), hidden);
            let a = [load(gate_i, n), load(gate_f, n), load(gate_g, n), load(gate_o, n)];
            let mut u = [V::splat(0.0); GATES];
            for (gate, u) in u.iter_mut().enumerate() {
                *u = V::load(sums.add(gate * V::LANES));
            }
            let c = load(self.c.ptr(before), n);
            let ([i, f, g, o], c, h) = self.cell.forward::<V, Exact>(a, u, c);
            store(i, gate_i, n);
            store(f, gate_f, n);
            store(g, gate_g, n);
            store(o, gate_o, n);
            store(c, self.c.ptr(now), n);
            store(h, self.h.ptr(now), n);
            if let Some((mask, seen)) = &self.seen {
                store(h.mul(load(mask.as_ptr().add(of_mask), n)), seen.ptr(now), n);
            }
        }
    }
}

/// Step s treats time T−1−s; one more step brings the gradient of the first state.
struct Backward<'a, C> {
    cell: C,
    shape: Shape,
    /// (B, H): of the state.
    mask: Option<&'a [f32]>,
    panels: &'a Panels,
    gates: SharedSlice<'a, f32>,
    c: &'a [f32],
    d_h: &'a [f32],
    d_h_last: SharedSlice<'a, f32>,
    d_c_last: SharedSlice<'a, f32>,
}

impl<C: Cell> Sweep for Backward<'_, C> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time + 1, rows: self.shape.batch, panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        if step == 0 {
            return [Left::NONE; 2];
        }
        let width = GATES * self.shape.hidden;
        let values = self.gates.ptr((self.shape.time - step) * self.shape.batch * width);
        [Left { values, row_stride: width, depth: width }, Left::NONE]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let Shape { time, batch, hidden } = self.shape;
        let last = row * hidden + unit;
        // SAFETY: unit + n ≤ H, so that all places lie in this row, whose sizes `backward` has checked; they are this
        // member's by the contract of `Sweep`.
        unsafe {
            let mut d_h = V::load(sums);
            if let Some(mask) = self.mask {
                d_h = d_h.mul(load(mask.as_ptr().add(last), n));
            }
            if step == time {
                return store(d_h, self.d_h_last.ptr(last), n);
            }
            if step == 0 {
                d_h = load(self.d_h_last.ptr(last), n);
            }
            let row = (time - 1 - step) * batch + row;
            let before = row * hidden + unit;
            let gate_i = self.gates.ptr(row * GATES * hidden + unit);
            let (gate_f, gate_g, gate_o) =
                (gate_i.add(hidden), gate_i.add(2 * hidden), gate_i.add(3 * hidden));
            for gate in [gate_i, gate_f, gate_g, gate_o] {
                fetch_ahead::<V>(gate, GATES * hidden);
            }
            let now = before + batch * hidden;
            for states in [&self.c[before..], &self.c[now..], &self.d_h[before..]] {
                fetch_ahead::<V>(states.as_ptr(), hidden);
            }
            d_h = d_h.add(load(self.d_h.as_ptr().add(before), n));
            let gates = [load(gate_i, n), load(gate_f, n), load(gate_g, n), load(gate_o, n)];
            let c_before = load(self.c.as_ptr().add(before), n);
            let c = load(self.c.as_ptr().add(now), n);
            let d_c = load(self.d_c_last.ptr(last), n);
            let ([d_i, d_f, d_g, d_o], d_c) =
                self.cell.backward::<V, Exact>(gates, c_before, c, d_h, d_c);
            store(d_i, gate_i, n);
            store(d_f, gate_f, n);
            store(d_g, gate_g, n);
            store(d_o, gate_o, n);
            store(d_c, self.d_c_last.ptr(last), n);
        }
    }
}
