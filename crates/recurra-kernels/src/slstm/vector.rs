//! The sLSTM's steps on vectors: one sweep over time for each head.

use std::ops::Range;

use super::{GATES, Shape, States};
use crate::recurrent::{Extent, Left, Panels, Place, Sweep, fetch_ahead, load, run_alone, store};
use crate::simd::Vector;
use crate::simd::math::{exp, log_sigmoid, sigmoid, tanh};
use crate::{Cpu, SharedSlice};

/// Multiply-adds below which other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 16;

/// Runs `task` for each head and some rows of the batch. Neither heads nor rows exchange anything, so how rows are cut
/// changes no bit.
fn each(cpu: &Cpu, shape: Shape, task: impl Fn(usize, Range<usize>) + Sync) {
    let Shape { time, batch, heads, units } = shape;
    let work = time * batch * heads * GATES * units * units;
    let alone = cpu.threads() == 1 || work < ALONE;
    let parts = if alone { 1 } else { cpu.threads().div_ceil(heads).min(batch) };
    let part = |idx: usize| {
        let (head, part) = (idx / parts, idx % parts);
        task(head, batch * part / parts..batch * (part + 1) / parts);
    };
    cpu.pool().for_each_or_alone(alone, heads * parts, part);
}

pub(super) fn forward(
    cpu: &Cpu,
    shape: Shape,
    panels: Vec<&Panels>,
    bias: &[f32],
    inputs: [&[f32]; 2],
    gates: [SharedSlice<'_, f32>; 2],
    states: States<SharedSlice<'_, f32>>,
) {
    let (gates, states) = (&gates, &states);
    each(cpu, shape, |head, rows| {
        let panels = panels[head];
        let sweep = Forward { shape, head, rows, panels, bias, inputs, gates, states };
        run_alone(cpu.isa(), &sweep);
    });
}

pub(super) fn backward(
    cpu: &Cpu,
    shape: Shape,
    panels: Vec<&Panels>,
    gates: [SharedSlice<'_, f32>; 2],
    states: [&[f32]; 3],
    d_h: &[f32],
    d_last: [SharedSlice<'_, f32>; 3],
) {
    let (gates, d_last) = (&gates, &d_last);
    each(cpu, shape, |head, rows| {
        let panels = panels[head];
        let sweep = Backward { shape, head, rows, panels, gates, states, d_h, d_last };
        run_alone(cpu.isa(), &sweep);
    });
}

/// Some rows of one head, forward.
struct Forward<'a> {
    shape: Shape,
    head: usize,
    rows: Range<usize>,
    panels: &'a Panels,
    bias: &'a [f32],
    inputs: [&'a [f32]; 2],
    gates: &'a [SharedSlice<'a, f32>; 2],
    states: &'a States<SharedSlice<'a, f32>>,
}

impl Sweep for Forward<'_> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time, rows: self.rows.len(), panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        let (hidden, units) = (self.shape.hidden(), self.shape.units);
        let row = step * self.shape.batch + self.rows.start;
        let values = self.states.h.ptr(row * hidden + self.head * units);
        [Left { values, row_stride: hidden, depth: units }, Left::NONE]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let Shape { batch, heads, units, .. } = self.shape;
        let hidden = heads * units;
        let row = step * batch + self.rows.start + row;
        let before = row * hidden + self.head * units + unit;
        let now = before + batch * hidden;
        let States { h, c, n: normalizer, m } = self.states;
        // SAFETY: unit + n ≤ D, so that all places lie in this head's part of this row, whose sizes `forward` has checked;
        // they are this task's, which alone has this head and row.
        unsafe {
            let place = |gate: usize| ((row * heads + self.head) * 2 + gate % 2) * units + unit;
            let mut a = [V::splat(0.0); GATES];
            for (gate, a) in a.iter_mut().enumerate() {
                let input = self.inputs[gate / 2].as_ptr().add(place(gate));
                fetch_ahead::<V>(input, 2 * hidden);
                fetch_ahead::<V>(self.gates[gate / 2].ptr(place(gate)), 2 * hidden);
                let bias = self.bias.as_ptr().add((self.head * GATES + gate) * units + unit);
                let sum = V::load(sums.add(gate * V::LANES));
                *a = load::<V>(input, n).add(load(bias, n)).add(sum);
            }
            let (i_raw, f_raw, z, o) = (a[0], a[1], tanh(a[2]), sigmoid(a[3]));
            let c_before = load::<V>(c.ptr(before), n);
            let n_before = load::<V>(normalizer.ptr(before), n);
            let carried = log_sigmoid(f_raw).add(load(m.ptr(before), n));
            let smallest = V::splat(f32::MIN_POSITIVE);
            let m_now = n_before.abs().select_less(smallest, i_raw, carried.max(i_raw));
            let i = exp(i_raw.sub(m_now));
            let f = exp(carried.sub(m_now).min(V::splat(0.0)));
            let c_now = f.mul_add(c_before, i.mul(z));
            let n_now = f.mul_add(n_before, i);
            store(m_now, m.ptr(now), n);
            store(c_now, c.ptr(now), n);
            store(n_now, normalizer.ptr(now), n);
            store(o.mul(c_now).div(n_now), h.ptr(now), n);
            for (gate, value) in [i, f_raw, z, o].into_iter().enumerate() {
                store(value, self.gates[gate / 2].ptr(place(gate)), n);
            }
        }
    }
}

/// Some rows of one head, backward. Step s treats time T−1−s; one more step brings the gradient of the first state.
struct Backward<'a> {
    shape: Shape,
    head: usize,
    rows: Range<usize>,
    panels: &'a Panels,
    gates: &'a [SharedSlice<'a, f32>; 2],
    /// c, n, m.
    states: [&'a [f32]; 3],
    d_h: &'a [f32],
    /// Of h, c, n.
    d_last: &'a [SharedSlice<'a, f32>; 3],
}

impl Sweep for Backward<'_> {
    fn extent(&self) -> Extent<'_> {
        Extent { steps: self.shape.time + 1, rows: self.rows.len(), panels: self.panels }
    }
    fn left(&self, step: usize) -> [Left; 2] {
        if step == 0 {
            return [Left::NONE; 2];
        }
        let Shape { time, batch, heads, units } = self.shape;
        let row = (time - step) * batch + self.rows.start;
        self.gates.each_ref().map(|gates| Left {
            values: gates.ptr((row * heads + self.head) * 2 * units),
            row_stride: 2 * heads * units,
            depth: 2 * units,
        })
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let Shape { time, batch, heads, units } = self.shape;
        let hidden = heads * units;
        let row = self.rows.start + row;
        let last = row * hidden + self.head * units + unit;
        let [d_h_last, d_c_last, d_n_last] = self.d_last;
        let [c, normalizer, m] = self.states.map(<[f32]>::as_ptr);
        // SAFETY: unit + n ≤ D, so that all places lie in this head's part of this row, whose sizes `backward` has checked;
        // they are this task's, which alone has this head and row.
        unsafe {
            let mut d_h = V::load(sums);
            if step == time {
                return store(d_h, d_h_last.ptr(last), n);
            }
            if step == 0 {
                d_h = load(d_h_last.ptr(last), n);
            }
            let row = (time - 1 - step) * batch + row;
            let before = row * hidden + self.head * units + unit;
            let now = before + batch * hidden;
            let gate = |gate: usize| {
                let place = ((row * heads + self.head) * 2 + gate % 2) * units + unit;
                self.gates[gate / 2].ptr(place)
            };
            for idx in 0..GATES {
                fetch_ahead::<V>(gate(idx), 2 * hidden);
            }
            for states in [c, normalizer, m] {
                fetch_ahead::<V>(states.add(before), hidden);
            }
            let (i, f_raw) = (load::<V>(gate(0), n), load::<V>(gate(1), n));
            let (z, o) = (load::<V>(gate(2), n), load::<V>(gate(3), n));
            let one = V::splat(1.0);
            let carried = log_sigmoid(f_raw).add(load(m.add(before), n));
            let f = exp(carried.sub(load(m.add(now), n)).min(V::splat(0.0)));
            let scale = one.div(load(normalizer.add(now), n)); // 1 / n
            let mean = load::<V>(c.add(now), n).mul(scale);
            let d_h = d_h.add(load(self.d_h.as_ptr().add(before), n));
            let d_mean = d_h.mul(o).mul(scale);
            let d_c = load::<V>(d_c_last.ptr(last), n).add(d_mean);
            let d_n = load::<V>(d_n_last.ptr(last), n).sub(d_mean.mul(mean));
            let d_i = d_c.mul_add(z, d_n).mul(i);
            let d_f = d_c.mul(load(c.add(before), n));
            let d_f = d_n.mul_add(load(normalizer.add(before), n), d_f);
            let d_f = d_f.mul(f).mul(one.sub(sigmoid(f_raw)));
            store(d_i, gate(0), n);
            store(d_f, gate(1), n);
            store(d_c.mul(i).mul(one.sub(z.mul(z))), gate(2), n);
            store(d_h.mul(mean).mul(o).mul(one.sub(o)), gate(3), n);
            store(d_c.mul(f), d_c_last.ptr(last), n);
            store(d_n.mul(f), d_n_last.ptr(last), n);
        }
    }
}
