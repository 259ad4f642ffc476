//! The plain loops.

use crate::Element;

/// outₙ = table\[idₙ\].
pub fn forward<E: Element>(table: &[E], ids: &[u32], out: &mut [E]) {
    let width = out.len() / ids.len();
    for (&id, row) in ids.iter().zip(out.chunks_exact_mut(width)) {
        row.copy_from_slice(&table[id as usize * width..][..width]);
    }
}

/// d_table\[idₙ\] += d_outₙ.
pub fn backward<E: Element>(ids: &[u32], d_out: &[E], d_table: &mut [E]) {
    let width = d_out.len() / ids.len();
    for (&id, d_row) in ids.iter().zip(d_out.chunks_exact(width)) {
        for (sum, &d) in d_table[id as usize * width..][..width].iter_mut().zip(d_row) {
            *sum += d;
        }
    }
}
