//! The GRU's steps on vectors.

use super::cell::Gru;
use super::{GATES, Shape};
use crate::recurrent::{Cell, Extent, Left, Panels, Place, Sweep, fetch_ahead, load, run, store};
use crate::simd::Vector;
use crate::simd::math::Exact;
use crate::{Cpu, SharedSlice};

pub(super) fn forward(
    cpu: &Cpu,
    shape: Shape,
    panels: &Panels,
    bias_hn: &[f32],
    gates: &mut [f32],
    hn: &mut [f32],
    h: &mut [f32],
) {
    let [gates, hn, h] = [gates, hn, h].map(SharedSlice::new);
    run(cpu, &Forward { shape, panels, bias_hn, gates, hn, h });
}

#[allow(clippy::too_many_arguments)] // the cell has that many
pub(super) fn backward(
    cpu: &Cpu,
    shape: Shape,
    panels: &Panels,
    gates: &mut [f32],
    hn: &mut [f32],
    h: &[f32],
    d_h: &[f32],
    d_h_last: &mut [f32],
) {
    let [gates, hn, d_h_last] = [gates, hn, d_h_last].map(SharedSlice::new);
    run(cpu, &Backward { shape, panels, gates, hn, h, d_h, d_h_last });
}

struct Forward<'a> {
    shape: Shape,
    panels: &'a Panels,
    bias_hn: &'a [f32],
    gates: SharedSlice<'a, f32>,
    hn: SharedSlice<'a, f32>,
    h: SharedSlice<'a, f32>,
}

impl Sweep for Forward<'_> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time, rows: self.shape.batch, panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        let hidden = self.shape.hidden;
        let values = self.h.ptr(step * self.shape.state());
        [Left { values, row_stride: hidden, depth: hidden }, Left::NONE]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(
        &self,
        Place { step, row, unit, n: n_units }: Place,
        sums: *const f32,
    ) {
        let hidden = self.shape.hidden;
        let row = step * self.shape.batch + row;
        let before = row * hidden + unit;
        let now = before + self.shape.state();
        // SAFETY: unit + n_units ≤ H, so that all places lie in this row, whose sizes `forward` has checked; they are this
        // member's by the contract of `Sweep`.
        unsafe {
            let gate_r = self.gates.ptr(row * GATES * hidden + unit);
            let (gate_z, gate_n) = (gate_r.add(hidden), gate_r.add(2 * hidden));
            for gate in [gate_r, gate_z, gate_n] {
                fetch_ahead::<V>(gate, GATES * hidden);
            }
            let zero = V::splat(0.0);
            let a = [load(gate_r, n_units), load(gate_z, n_units), load(gate_n, n_units), zero];
            let bias: V = load(self.bias_hn.as_ptr().add(unit), n_units);
            let q = V::load(sums.add(2 * V::LANES)).add(bias);
            let u = [V::load(sums), V::load(sums.add(V::LANES)), q, zero];
            let h_before = load(self.h.ptr(before), n_units);
            let ([r, z, n, q], h, _) = Gru.forward::<V, Exact>(a, u, h_before);
            store(r, gate_r, n_units);
            store(z, gate_z, n_units);
            store(n, gate_n, n_units);
            store(q, self.hn.ptr(before), n_units);
            store(h, self.h.ptr(now), n_units);
        }
    }
}

/// Step s treats time T−1−s; one more step brings the gradient of the first state. Between steps, `d_h_last` holds
/// d_h ⊙ z: what reaches h₋ around the product.
struct Backward<'a> {
    shape: Shape,
    panels: &'a Panels,
    gates: SharedSlice<'a, f32>,
    hn: SharedSlice<'a, f32>,
    h: &'a [f32],
    d_h: &'a [f32],
    d_h_last: SharedSlice<'a, f32>,
}

impl Sweep for Backward<'_> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time + 1, rows: self.shape.batch, panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        if step == 0 {
            return [Left::NONE; 2];
        }
        let Shape { time, batch, hidden } = self.shape;
        let row = (time - step) * batch;
        let gates = self.gates.ptr(row * GATES * hidden);
        let hn = self.hn.ptr(row * hidden);
        [
            Left { values: gates, row_stride: GATES * hidden, depth: 2 * hidden },
            Left { values: hn, row_stride: hidden, depth: hidden },
        ]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(
        &self,
        Place { step, row, unit, n: n_units }: Place,
        sums: *const f32,
    ) {
        let Shape { time, batch, hidden } = self.shape;
        // SAFETY: unit + n_units ≤ H, so that all places lie in this row, whose sizes `backward` has checked; they are
        // this member's by the contract of `Sweep`.
        unsafe {
            let carried = self.d_h_last.ptr(row * hidden + unit);
            let d_h = V::load(sums).add(load(carried, n_units));
            if step == time {
                return store(d_h, carried, n_units);
            }
            let row = (time - 1 - step) * batch + row;
            let before = row * hidden + unit;
            let gate_r = self.gates.ptr(row * GATES * hidden + unit);
            let (gate_z, gate_n) = (gate_r.add(hidden), gate_r.add(2 * hidden));
            for gate in [gate_r, gate_z, gate_n] {
                fetch_ahead::<V>(gate, GATES * hidden);
            }
            for states in [&self.h[before..], &self.d_h[before..]] {
                fetch_ahead::<V>(states.as_ptr(), hidden);
            }
            let place = self.hn.ptr(before);
            fetch_ahead::<V>(place, hidden);
            let q = load(place, n_units);
            let gates = [load(gate_r, n_units), load(gate_z, n_units), load(gate_n, n_units), q];
            let h_before: V = load(self.h.as_ptr().add(before), n_units);
            let d_h = d_h.add(load(self.d_h.as_ptr().add(before), n_units));
            let zero = V::splat(0.0);
            let ([d_q, d_r, d_z, d_n], d_before) =
                Gru.backward::<V, Exact>(gates, h_before, zero, d_h, zero);
            store(d_r, gate_r, n_units);
            store(d_z, gate_z, n_units);
            store(d_n, gate_n, n_units);
            store(d_q, place, n_units);
            store(d_before, carried, n_units);
        }
    }
}
