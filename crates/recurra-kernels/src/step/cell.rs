//! What each cell makes of the products: the equations of [`lstm`](crate::lstm), [`gru`](crate::gru) and [`rnn`](crate::rnn).

use super::layout::LANES;
use super::{Cell, MOST_LINES};
use crate::recurrent::{load, store};
use crate::simd::{Vector, math};

/// The products of a block for all rows, and the states they go into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    pub cell: Cell,
    pub n_rows: usize,
    /// H, and which of the units are in the block.
    pub hidden: usize,
    pub first_unit: usize,
    pub n_units: usize,
    /// W·x + b and U·h₋ (+ b_hn for the last gate of a GRU): for each row all lines of the block.
    pub x_sums: *const f32,
    pub h_sums: *const f32,
    /// (B, H) each; c is that of the step before, and becomes that of this one.
    pub h_before: *const f32,
    pub h: *mut f32,
    pub c: *mut f32,
}

/// # Safety
/// As for [`Vector`]; everything that `finish` names is there, and its units are the caller's alone.
#[inline(always)]
pub(super) unsafe fn finish<V: Vector>(finish: &Finish) {
    let n_gates = finish.cell.n_gates();
    let lines = if n_gates == 1 { MOST_LINES } else { 1 };
    let sums_len = n_gates * lines * LANES;
    for row in 0..finish.n_rows {
        let mut unit = 0;
        while unit < finish.n_units {
            let n = V::LANES.min(finish.n_units - unit);
            let place = row * finish.hidden + finish.first_unit + unit;
            let sums = row * sums_len + unit;
            // SAFETY: by this function's contract; of a line that ends early the sums are there, and not used.
            unsafe {
                let x = |gate: usize| V::load(finish.x_sums.add(sums + gate * LANES));
                let u = |gate: usize| V::load(finish.h_sums.add(sums + gate * LANES));
                let a = |gate: usize| x(gate).add(u(gate));
                let h = match finish.cell {
                    Cell::RnnTanh => math::tanh(a(0)),
                    Cell::RnnRelu => a(0).max(V::splat(0.0)),
                    Cell::Lstm => {
                        let (i, f) = (math::sigmoid(a(0)), math::sigmoid(a(1)));
                        let (g, o) = (math::tanh(a(2)), math::sigmoid(a(3)));
                        let c = f.mul_add(load(finish.c.add(place), n), i.mul(g));
                        store(c, finish.c.add(place), n);
                        o.mul(math::tanh(c))
                    }
                    Cell::Gru => {
                        let (r, z) = (math::sigmoid(a(0)), math::sigmoid(a(1)));
                        let n_gate = math::tanh(r.mul_add(u(2), x(2)));
                        let h = V::splat(1.0).sub(z).mul(n_gate);
                        z.mul_add(load(finish.h_before.add(place), n), h)
                    }
                };
                store(h, finish.h.add(place), n);
            }
            unit += V::LANES;
        }
    }
}
