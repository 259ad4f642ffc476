//! The pointwise part of the GRU on vectors.

use super::{GATES, Shape};
use crate::recurrent::{Left, MOST_KEPT, Panels, Sweep, fetch_ahead, load, run, store};
use crate::simd::{Vector, math};
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
    fn steps(&self) -> usize {
        self.shape.time
    }
    fn rows(&self) -> usize {
        self.shape.batch
    }
    fn panels(&self) -> &Panels {
        self.panels
    }
    fn left(&self, step: usize) -> [Left; 2] {
        let hidden = self.shape.hidden;
        let values = self.h.ptr(step * self.shape.state());
        [Left { values, row_stride: hidden, depth: hidden }, Left::NONE]
    }
    fn n_kept(&self) -> usize {
        1
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(
        &self,
        step: usize,
        row: usize,
        unit: usize,
        n_units: usize,
        sums: *const f32,
    ) -> [V; MOST_KEPT] {
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
            let r = math::sigmoid(load::<V>(gate_r, n_units).add(V::load(sums)));
            let z = math::sigmoid(load::<V>(gate_z, n_units).add(V::load(sums.add(V::LANES))));
            let bias: V = load(self.bias_hn.as_ptr().add(unit), n_units);
            let q = V::load(sums.add(2 * V::LANES)).add(bias);
            let n = math::tanh(r.mul_add(q, load(gate_n, n_units)));
            let h = V::splat(1.0).sub(z).mul(n);
            let h = z.mul_add(load(self.h.ptr(before), n_units), h);
            store(r, gate_r, n_units);
            store(z, gate_z, n_units);
            store(n, gate_n, n_units);
            store(q, self.hn.ptr(before), n_units);
            store(h, self.h.ptr(now), n_units);
            let none = V::splat(0.0);
            [h, none, none, none]
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
    fn steps(&self) -> usize {
        self.shape.time + 1
    }
    fn rows(&self) -> usize {
        self.shape.batch
    }
    fn panels(&self) -> &Panels {
        self.panels
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
    fn n_kept(&self) -> usize {
        GATES
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(
        &self,
        step: usize,
        row: usize,
        unit: usize,
        n_units: usize,
        sums: *const f32,
    ) -> [V; MOST_KEPT] {
        let Shape { time, batch, hidden } = self.shape;
        // SAFETY: unit + n_units ≤ H, so that all places lie in this row, whose sizes `backward` has checked; they are
        // this member's by the contract of `Sweep`.
        unsafe {
            let carried = self.d_h_last.ptr(row * hidden + unit);
            let d_h = V::load(sums).add(load(carried, n_units));
            if step == time {
                store(d_h, carried, n_units);
                return [V::splat(0.0); MOST_KEPT];
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
            fetch_ahead::<V>(self.hn.ptr(before), hidden);
            let (r, z, n): (V, V, V) =
                (load(gate_r, n_units), load(gate_z, n_units), load(gate_n, n_units));
            let q: V = load(self.hn.ptr(before), n_units);
            let h_before: V = load(self.h.as_ptr().add(before), n_units);
            let d_h = d_h.add(load(self.d_h.as_ptr().add(before), n_units));

            let one = V::splat(1.0);
            let d_a_n = d_h.mul(one.sub(z)).mul(one.sub(n.mul(n)));
            let d_a_r = d_a_n.mul(q).mul(r).mul(one.sub(r));
            let d_a_z = d_h.mul(h_before.sub(n)).mul(z).mul(one.sub(z));
            let d_q = d_a_n.mul(r);
            store(d_a_r, gate_r, n_units);
            store(d_a_z, gate_z, n_units);
            store(d_a_n, gate_n, n_units);
            store(d_q, self.hn.ptr(before), n_units);
            store(d_h.mul(z), carried, n_units);
            [d_a_r, d_a_z, d_q, V::splat(0.0)]
        }
    }
}
