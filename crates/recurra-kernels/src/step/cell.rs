//! What each cell makes of the products, by the equations that training has.

use super::CellKind;
use super::layout::LANES;
use super::product::Product;
use super::remembered::Place;
use crate::gru::cell::Gru;
use crate::lstm::cell::Lstm;
use crate::recurrent::{self, MOST_GATES, load, store};
use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// The products of a block for all rows, and the states they go into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<'a> {
    pub cell: CellKind,
    pub n_rows: usize,
    /// H, and which of the units are in the block.
    pub hidden: usize,
    pub first_unit: usize,
    pub n_units: usize,
    /// W·x + b and U·h₋ (+ b_hn for the last gate of a GRU): for each row all lines of the block.
    pub x: Sums<'a>,
    pub h: Sums<'a>,
    /// (B, H) each; c is that of the step before, and becomes that of this one.
    pub h_before: *const f32,
    pub h_after: *mut f32,
    pub c: *mut f32,
}

/// The products of a block for all rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sums<'a> {
    /// As they go into gates.
    Values(Values<'a>),
    /// As whole numbers, where this product left them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // of tiles only
    Whole(Product<'a>),
}

/// Rows of values: some apart from each other, or each at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values<'a> {
    Apart { first: *const f32, stride: usize },
    Kept { places: &'a [Place], offset: usize },
}

/// What a cell reads of the products.
pub(super) trait ReadSums<V> {
    /// The values at `place` among those of all lines of a row.
    ///
    /// # Safety
    /// As for [`Vector`]; they are there.
    unsafe fn load(&self, row: usize, place: usize) -> V;
}

impl<V: Vector> ReadSums<V> for Values<'_> {
    #[inline(always)]
    unsafe fn load(&self, row: usize, place: usize) -> V {
        // SAFETY: by this function's contract.
        unsafe {
            let row = match *self {
                Values::Apart { first, stride } => first.add(row * stride),
                Values::Kept { places, offset } => places.get_unchecked(row).sums.add(offset),
            };
            V::load(row.add(place))
        }
    }
}

/// # Safety
/// As for [`Vector`]; everything that `finish` names is there, and its units are the caller's alone.
///
/// # Panics
/// When sums are whole numbers: only who leaves them so can read them.
#[inline(always)]
pub(super) unsafe fn finish<V: Vector, F: GateFunctions<V>>(finish: &Finish<'_>) {
    let (Sums::Values(x), Sums::Values(h)) = (finish.x, finish.h) else {
        unreachable!("sums that are whole numbers");
    };
    // SAFETY: the caller's contract is the same.
    unsafe { of_sums::<V, F>(finish, &x, &h) }
}

/// # Safety
/// As [`finish`], with these sums.
#[inline(always)]
pub(super) unsafe fn of_sums<V: Vector, F: GateFunctions<V>>(
    finish: &Finish<'_>,
    x: &impl ReadSums<V>,
    h: &impl ReadSums<V>,
) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        match finish.cell {
            CellKind::Rnn(activation) => units::<V, F, _>(finish, activation, x, h),
            CellKind::Lstm => units::<V, F, _>(finish, Lstm::<false>, x, h),
            CellKind::CoupledLstm => units::<V, F, _>(finish, Lstm::<true>, x, h),
            CellKind::Gru => units::<V, F, _>(finish, Gru, x, h),
        }
    }
}

/// The units of all rows, by the equations of one cell.
#[inline(always)]
unsafe fn units<V: Vector, F: GateFunctions<V>, C: recurrent::Cell>(
    finish: &Finish<'_>,
    cell: C,
    x: &impl ReadSums<V>,
    h: &impl ReadSums<V>,
) {
    // The memory of the other cells is their h.
    let has_memory = finish.cell.has_memory();
    let memory_before = if has_memory { finish.c.cast_const() } else { finish.h_before };
    for row in 0..finish.n_rows {
        let mut unit = 0;
        while unit < finish.n_units {
            let n = V::LANES.min(finish.n_units - unit);
            let place = row * finish.hidden + finish.first_unit + unit;
            // SAFETY: by this function's contract; of a line that ends early the sums are there, and not used.
            unsafe {
                let mut a = [V::splat(0.0); MOST_GATES];
                let mut u = a;
                for gate in 0..C::GATES {
                    a[gate] = x.load(row, unit + gate * LANES);
                    u[gate] = h.load(row, unit + gate * LANES);
                }
                let before = load(memory_before.add(place), n);
                let (_, memory, after) = cell.forward::<V, F>(a, u, before);
                if has_memory {
                    store(memory, finish.c.add(place), n);
                }
                store(after, finish.h_after.add(place), n);
            }
            unit += V::LANES;
        }
    }
}
