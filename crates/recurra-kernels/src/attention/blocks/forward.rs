//! What a window's queries read.

use super::super::rounds::{Rounds, Scores};
use super::{Desk, Head, ROOM, Room, cols_of, stride};
use crate::SharedSlice;
use crate::matmul::alone::Left;

/// Queries at a time: two tiles.
const QUERIES: usize = 32;

/// o of a window.
///
/// # Safety
/// Nobody else has the head's part of `out` and of `logs`; the machine has the instruction set of loops and kernels.
pub(in super::super) unsafe fn forward(
    head: &Head<'_>,
    out: &SharedSlice<'_, f32>,
    logs: Option<&SharedSlice<'_, f32>>,
) {
    let size = head.size();
    let rounds = Rounds::of(head);
    let len = rounds.count * rounds.len();
    ROOM.with_borrow_mut(|room| {
        let Room { keys, values, keys_across, values_laid, desk, .. } = room;
        let Desk { queries: turned, queries_laid, scores, scores_laid, out: sum_out, .. } = desk;
        let (keys, values) = (keys.take(len), values.take(len));
        // SAFETY: by this function's contract.
        let (keys, values) = unsafe {
            rounds.gather(head, keys, values);
            (rounds.lay_across(head, keys, keys_across), rounds.lay_down(head, values, values_laid))
        };
        for queries in head.queries(QUERIES) {
            let n = queries.times.len();
            let seen = head.seen(&queries);
            let stride = stride(&seen);
            let scores = scores.take(n * stride);
            for seen in seen.iter().flatten() {
                // SAFETY: by this function's contract.
                unsafe {
                    let q = head.turned(&queries, seen.ago, turned);
                    let q = Left::lay(head.kernels, q, queries_laid);
                    keys.multiply(head, q, seen, scores, stride); // q·kᵀ / √D
                }
            }
            let mut sums = [0.0_f32; QUERIES];
            for (idx, row) in scores.chunks_exact_mut(stride).enumerate() {
                let cols = cols_of(&seen, queries.slot + idx);
                // SAFETY: by this function's contract.
                let (largest, sum) = unsafe { (head.loops.softmax)(row, cols) };
                sums[idx] = sum;
                if let Some(logs) = logs {
                    let at = head.logs(queries.times.clone()).start + idx;
                    // SAFETY: by this function's contract.
                    let log = unsafe { logs.slice(at..at + 1) };
                    log[0] = largest + sum.ln();
                }
            }
            let sum_out = sum_out.take(n * size);
            let exponentials = Scores { values: scores, stride, rows: n };
            for (idx, seen) in seen.iter().flatten().enumerate() {
                // SAFETY: by this function's contract.
                unsafe {
                    values.multiply(head, exponentials, seen, scores_laid, idx > 0, sum_out);
                }
            }
            for (idx, time) in queries.times.clone().enumerate() {
                let share = 1.0 / sums[idx];
                // SAFETY: by this function's contract.
                let out = unsafe { out.slice(head.out(time)) };
                let row = &sum_out[idx * size..(idx + 1) * size];
                out.iter_mut().zip(row).for_each(|(out, &sum)| *out = sum * share);
            }
        }
    });
}
