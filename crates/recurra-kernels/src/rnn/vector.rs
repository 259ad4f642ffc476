//! The simple recurrent network's steps on vectors.

use super::{Activation, Shape};
use crate::recurrent::{Cell, Extent, Left, MOST_GATES, Panels, Place, Sweep, load, run, store};
use crate::simd::Vector;
use crate::simd::math::Exact;
use crate::{Cpu, SharedSlice};

pub(super) fn forward(
    cpu: &Cpu,
    shape: Shape,
    activation: Activation,
    panels: &Panels,
    h: &mut [f32],
) {
    run(cpu, &Forward { shape, activation, panels, h: SharedSlice::new(h) });
}

pub(super) fn backward(
    cpu: &Cpu,
    shape: Shape,
    activation: Activation,
    panels: &Panels,
    h: &[f32],
    d_h: &mut [f32],
    d_h_last: &mut [f32],
) {
    let [d_h, d_h_last] = [d_h, d_h_last].map(SharedSlice::new);
    run(cpu, &Backward { shape, activation, panels, h, d_h, d_h_last });
}

struct Forward<'a> {
    shape: Shape,
    activation: Activation,
    panels: &'a Panels,
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
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let Shape { batch, hidden, .. } = self.shape;
        let place = self.h.ptr(((step + 1) * batch + row) * hidden + unit);
        // SAFETY: unit + n ≤ H, so that all places lie in this row, whose sizes `forward` has checked; they are this
        // member's by the contract of `Sweep`.
        unsafe {
            let zero = V::splat(0.0);
            let a = [load(place, n), zero, zero, zero];
            let (_, h, _) =
                self.activation.forward::<V, Exact>(a, [V::load(sums), zero, zero, zero], zero);
            store(h, place, n);
        }
    }
}

/// Step s treats time T−1−s; one more step brings the gradient of the first state.
struct Backward<'a> {
    shape: Shape,
    activation: Activation,
    panels: &'a Panels,
    h: &'a [f32],
    d_h: SharedSlice<'a, f32>,
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
        let hidden = self.shape.hidden;
        let values = self.d_h.ptr((self.shape.time - step) * self.shape.state());
        [Left { values, row_stride: hidden, depth: hidden }, Left::NONE]
    }
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, Place { step, row, unit, n }: Place, sums: *const f32) {
        let Shape { time, batch, hidden } = self.shape;
        let last = self.d_h_last.ptr(row * hidden + unit);
        // SAFETY: unit + n ≤ H, so that all places lie in this row, whose sizes `backward` has checked; they are this
        // member's by the contract of `Sweep`.
        unsafe {
            let mut d_h = V::load(sums);
            if step == time {
                return store(d_h, last, n);
            }
            if step == 0 {
                d_h = load(last, n);
            }
            let before = ((time - 1 - step) * batch + row) * hidden + unit;
            let h: V = load(self.h.as_ptr().add(before + batch * hidden), n);
            let place = self.d_h.ptr(before);
            d_h = d_h.add(load(place, n));
            let zero = V::splat(0.0);
            let ([d_a, ..], _) =
                self.activation.backward::<V, Exact>([zero; MOST_GATES], zero, h, d_h, zero);
            store(d_a, place, n);
        }
    }
}
