//! How a layer's numbers are cut into blocks of sixteen units, and who has which.

use super::LayerShape;
use crate::Worker;
use crate::tiles::{DEPTH, ROWS};
use std::ops::Range;

impl LayerShape {
    /// T·B.
    pub(super) fn rows(self) -> usize {
        self.time * self.batch
    }

    /// Blocks of sixteen units.
    pub(super) fn blocks(self) -> usize {
        blocks(self.hidden)
    }

    /// Whole pairs of rows in a step.
    pub(super) fn paired_batch(self) -> usize {
        self.batch.next_multiple_of(2)
    }
}

/// Blocks of sixteen that hold `n` values.
pub(super) fn blocks(n: usize) -> usize {
    n.div_ceil(ROWS)
}

/// Values in whole tiles.
pub(super) fn padded(n: usize) -> usize {
    n.next_multiple_of(DEPTH)
}

/// The member's share of `n_blocks`: whole pairs, so that no two members write to the same cache line of `bf16`.
pub(super) fn own_blocks(worker: &Worker<'_>, n_blocks: usize) -> Range<usize> {
    let pairs = worker.share(n_blocks.div_ceil(2));
    2 * pairs.start..(2 * pairs.end).min(n_blocks)
}

/// Rows whose sums are made at a time: two tiles.
pub(super) const CHUNK: usize = 2 * ROWS;

/// Blocks of units, `by` at a time, with chunks of the rows of a batch: equal ones of whole pairs and at most [`CHUNK`] rows.
///
/// Blocks go from the first to the last at even steps and back at odd ones, because what was read last is still in the second
/// cache, and of a weight that is larger than the cache nothing else is.
pub(super) fn back_and_forth(
    blocks: Range<usize>,
    by: usize,
    batch: usize,
    step: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let n = blocks.len().div_ceil(by);
    let groups = (0..n).map(move |idx| {
        let idx = if step.is_multiple_of(2) { idx } else { n - 1 - idx };
        let start = blocks.start + idx * by;
        start..(start + by).min(blocks.end)
    });
    let (pairs, chunks) = (batch.div_ceil(2), batch.div_ceil(CHUNK));
    let row = move |chunk: usize| (2 * (pairs * chunk / chunks)).min(batch);
    groups.flat_map(move |blocks| {
        (0..chunks).map(move |chunk| (blocks.clone(), row(chunk)..row(chunk + 1)))
    })
}

/// Some steps of a sequence that are treated before the next.
pub(super) type Steps = Range<usize>;

/// The steps of a sequence in equal pieces of about `rows` rows: the cut depends on nothing else.
pub(super) fn pieces(
    time: usize,
    batch: usize,
    rows: usize,
) -> impl DoubleEndedIterator<Item = Steps> {
    let count = time.div_ceil((rows / batch).max(1));
    (0..count).map(move |idx| time * idx / count..time * (idx + 1) / count)
}

/// Steps of the longest of these pieces.
pub(super) fn longest_piece(time: usize, batch: usize, rows: usize) -> usize {
    pieces(time, batch, rows).map(|steps| steps.len()).max().expect("a sequence has steps")
}
