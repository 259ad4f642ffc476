//! Embedding: the rows of a table that token ids name, and the gradient of those rows.
//!
//! Forward: outₙ = table[idₙ], a plain copy, which is already as fast as memory. Backward: d_table[idₙ] += d_outₙ in the
//! order n = 0, 1, … for every element. Threads share the columns, not the positions, so a frequent word neither holds up
//! one thread nor changes the order of its sum; and an addition rounds alike on every instruction set. So the result is
//! the same bits for any number of threads and any instruction set. Rows that no id names are neither read nor written.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod reference;
#[cfg(test)]
mod tests;
mod vector;

use std::ops::Range;

use crate::isa::by_isa;
use crate::{Cpu, Element, Isa, SharedSlice};

/// Values a thread copies or adds before sharing the work is worth waking another one.
const WORTH_SHARING: usize = 16 * 1024;
/// Columns of one cache line: two threads never write the same line of an aligned table.
const LINE: usize = 16;

/// outₙ = table\[idₙ\].
///
/// # Shapes
/// `table` (V, D), `ids` (N), `out` (N, D), overwritten.
///
/// # Panics
/// When `out` does not hold as many rows as there are ids, `table` does not hold rows of that width, or an id is not
/// below V.
#[track_caller]
pub fn forward<E: Element>(cpu: &Cpu, table: &[E], ids: &[u32], out: &mut [E]) {
    let Some(width) = width(table.len(), ids, out.len(), ["table", "out"]) else { return };
    let rows = WORTH_SHARING.div_ceil(width);
    let out_len = out.len();
    let out = SharedSlice::new(out);
    cpu.pool().for_each(ids.len().div_ceil(rows), |task| {
        let ids = &ids[task * rows..ids.len().min((task + 1) * rows)];
        let start = task * rows * width;
        // SAFETY: every task writes rows of its own.
        let out = unsafe { out.slice(start..out_len.min(start + rows * width)) };
        reference::forward(table, ids, out);
    });
}

/// d_table\[idₙ\] += d_outₙ, for n = 0, 1, … in this order.
///
/// # Shapes
/// `ids` (N), `d_out` (N, D), `d_table` (V, D), added to.
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward<E: Element>(cpu: &Cpu, ids: &[u32], d_out: &[E], d_table: &mut [E]) {
    let Some(width) = width(d_table.len(), ids, d_out.len(), ["d_table", "d_out"]) else { return };
    if let (Some(d_out), Some(d_table)) = (E::as_f32(d_out), E::as_f32_mut(d_table)) {
        let d_table = SharedSlice::new(d_table);
        let add = |columns: Range<usize>| {
            // SAFETY: `width` has checked every id against the table; no two calls share a column.
            unsafe { add_rows(cpu.isa(), ids, d_out, width, columns, &d_table) }
        };
        if d_out.len() < WORTH_SHARING || cpu.threads() == 1 {
            return add(0..width);
        }
        cpu.pool().run(|worker| {
            let lines = worker.share(width.div_ceil(LINE));
            add((lines.start * LINE).min(width)..(lines.end * LINE).min(width));
        });
    } else {
        reference::backward(ids, d_out, d_table);
    }
}

/// # Safety
/// Every id must lie below the rows of `d_table`, and no other thread may touch these columns.
unsafe fn add_rows(
    isa: Isa,
    ids: &[u32],
    d_out: &[f32],
    width: usize,
    columns: Range<usize>,
    d_table: &SharedSlice<'_, f32>,
) {
    // SAFETY: by this function's contract; `Cpu` has checked that the machine has the instruction set.
    unsafe { by_isa!(isa, self::file => file::backward(ids, d_out, width, columns, d_table)) }
}

/// The width D of a row, or nothing when there is nothing to do; panics when the sizes or the ids do not fit.
#[track_caller]
fn width(table: usize, ids: &[u32], rows: usize, names: [&str; 2]) -> Option<usize> {
    let [table_name, rows_name] = names;
    let n = ids.len();
    assert!(
        if n == 0 { rows == 0 } else { rows.is_multiple_of(n) },
        "`{rows_name}` of {rows} values does not hold one row for each of {n} ids"
    );
    if rows == 0 {
        return None;
    }
    let width = rows / n;
    assert!(
        table.is_multiple_of(width),
        "`{table_name}` of {table} values does not hold rows of {width} values as `{rows_name}` does"
    );
    let largest = ids.iter().copied().max()? as usize;
    let n_rows = table / width;
    assert!(largest < n_rows, "id {largest} outside of `{table_name}` with {n_rows} rows");
    Some(width)
}
