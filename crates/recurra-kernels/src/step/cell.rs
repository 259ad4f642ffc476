//! What each cell makes of the products, by the equations that training has.

use super::layout::LANES;
use super::{CellKind, MOST_LINES};
use crate::gru::cell::Gru;
use crate::lstm::cell::Lstm;
use crate::recurrent::{self, MOST_GATES, load, store};
use crate::simd::Vector;
use crate::simd::math::Exact;

/// The products of a block for all rows, and the states they go into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    pub cell: CellKind,
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
    // SAFETY: the caller's contract is the same.
    unsafe {
        match finish.cell {
            CellKind::Rnn(activation) => units::<V, _>(finish, activation),
            CellKind::Lstm => units::<V, _>(finish, Lstm),
            CellKind::Gru => units::<V, _>(finish, Gru),
        }
    }
}

/// The units of all rows, by the equations of one cell.
#[inline(always)]
unsafe fn units<V: Vector, C: recurrent::Cell>(finish: &Finish, cell: C) {
    let lines = if C::GATES == 1 { MOST_LINES } else { 1 };
    let sums_len = C::GATES * lines * LANES;
    // The memory of the other cells is their h.
    let is_lstm = finish.cell == CellKind::Lstm;
    let memory_before = if is_lstm { finish.c.cast_const() } else { finish.h_before };
    for row in 0..finish.n_rows {
        let mut unit = 0;
        while unit < finish.n_units {
            let n = V::LANES.min(finish.n_units - unit);
            let place = row * finish.hidden + finish.first_unit + unit;
            let sums = row * sums_len + unit;
            // SAFETY: by this function's contract; of a line that ends early the sums are there, and not used.
            unsafe {
                let mut a = [V::splat(0.0); MOST_GATES];
                let mut u = a;
                for gate in 0..C::GATES {
                    a[gate] = V::load(finish.x_sums.add(sums + gate * LANES));
                    u[gate] = V::load(finish.h_sums.add(sums + gate * LANES));
                }
                let before = load(memory_before.add(place), n);
                let (_, memory, h) = cell.forward::<V, Exact>(a, u, before);
                if is_lstm {
                    store(memory, finish.c.add(place), n);
                }
                store(h, finish.h.add(place), n);
            }
            unit += V::LANES;
        }
    }
}
