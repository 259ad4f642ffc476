//! The loop over vectors, written once.

use std::ops::Range;

use crate::SharedSlice;
use crate::simd::Vector;

/// d_table\[idₙ\] += d_outₙ on the given columns.
///
/// # Safety
/// That of [`Vector`]; every id lies below the rows of `d_table`, `columns` within `width`, and no other thread touches
/// these columns.
#[inline(always)]
pub unsafe fn backward<V: Vector>(
    ids: &[u32],
    d_out: &[f32],
    width: usize,
    columns: Range<usize>,
    d_table: &SharedSlice<'_, f32>,
) {
    let n_columns = columns.len();
    let (whole, rest) = (n_columns / V::LANES * V::LANES, n_columns % V::LANES);
    for (n, &id) in ids.iter().enumerate() {
        let from = d_out[n * width..][columns.clone()].as_ptr();
        let row = id as usize * width;
        // SAFETY: by this function's contract the row is in the table and its columns are ours.
        unsafe {
            let to = d_table.slice(row + columns.start..row + columns.end).as_mut_ptr();
            for at in (0..whole).step_by(V::LANES) {
                V::load(to.add(at)).add(V::load(from.add(at))).store(to.add(at));
            }
            if rest > 0 {
                let (to, from) = (to.add(whole), from.add(whole));
                V::load_first(to, rest).add(V::load_first(from, rest)).store_first(to, rest);
            }
        }
    }
}
