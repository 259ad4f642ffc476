//! The keys and values that a window sees, in the rounds of the ring, as right operands.

use super::Attention;
use super::blocks::{Head, LINE, Seen};
use crate::matmul::Matrix;
use crate::matmul::alone::{self, Left, Right};
use crate::matmul::buffer::Buffer;

/// Keys and values of the rounds that a window sees, slot by slot.
pub(super) struct Rounds {
    pub(super) first: usize,
    pub(super) count: usize,
    /// Slots of a round that there is room for.
    pub(super) slots: usize,
    pub(super) size: usize,
}

impl Rounds {
    pub(super) fn of(head: &Head<'_>) -> Self {
        let Attention { context, .. } = head.attention;
        let end = head.start() + head.shape.time;
        let first = head.attention.first_seen(head.start()) / context;
        let count = (end - 1) / context - first + 1;
        Self { first, count, slots: context.min(end), size: head.size() }
    }

    /// Values of a round.
    pub(super) fn len(&self) -> usize {
        self.slots * self.size
    }

    /// Which of them a round is.
    pub(super) fn idx(&self, round: usize) -> usize {
        round - self.first
    }

    /// Slots of a round that exist when the window is over.
    pub(super) fn existing(&self, head: &Head<'_>, round: usize) -> usize {
        let end = head.start() + head.shape.time;
        (end - round * head.attention.context).min(head.attention.context)
    }

    /// Copies keys, rotated by their slots, and values to their places; zero where there are none any more.
    ///
    /// # Safety
    /// The machine has the instruction set of the loops.
    pub(super) unsafe fn gather(&self, head: &Head<'_>, keys: &mut [f32], values: &mut [f32]) {
        let Attention { context, .. } = head.attention;
        let (start, width) = (head.start(), head.shape.width);
        for round in self.first..self.first + self.count {
            for slot in 0..self.existing(head, round) {
                let place = round * context + slot;
                let at = self.idx(round) * self.len() + slot * self.size;
                let (key, value) = (&mut keys[at..at + self.size], &mut values[at..at + self.size]);
                if let Some(time) = place.checked_sub(start) {
                    // SAFETY: by this function's contract.
                    unsafe {
                        (head.loops.rotate)(head.part(time, 1), key, head.rotation.by(slot), 1.0);
                    }
                    value.copy_from_slice(head.part(time, 2));
                } else if place + context >= start {
                    let row = head.stream * context + slot;
                    let from = row * width + head.head * self.size;
                    key.copy_from_slice(&head.memory.keys[from..from + self.size]);
                    value.copy_from_slice(&head.memory.values[from..from + self.size]);
                } else {
                    key.fill(0.0);
                    value.fill(0.0);
                }
            }
        }
    }

    /// Lays the rounds out as right operands: (D, slots) where `across`, else (slots, D).
    ///
    /// # Safety
    /// The machine has the instruction set of the kernels.
    pub(super) unsafe fn lay(
        &self,
        head: &Head<'_>,
        from: &[f32],
        across: bool,
        to: &mut Buffer<f32>,
    ) -> usize {
        let kernels = head.kernels;
        let len = if across {
            alone::right_len(kernels, self.size, self.slots)
        } else {
            alone::right_len(kernels, self.slots, self.size)
        };
        let len = len.next_multiple_of(LINE);
        let to = to.take(len * self.count);
        for round in self.first..self.first + self.count {
            let (idx, n) = (self.idx(round), self.existing(head, round));
            let rows = Matrix::new(&from[idx * self.len()..][..n * self.size], n, self.size);
            let rows = if across { rows.transposed() } else { rows };
            // SAFETY: by this function's contract.
            unsafe { alone::lay_right(kernels, rows, &mut to[idx * len..(idx + 1) * len]) };
        }
        len
    }
}

/// C ← A·Bᵀ for some slots of a round: `right` holds rows of all slots, laid out across.
pub(super) struct Across<'a> {
    pub(super) right: &'a [f32],
    pub(super) round_len: usize,
    pub(super) rounds: &'a Rounds,
}

impl Across<'_> {
    /// Scores of `left` (queries, D) against the slots that are seen.
    ///
    /// # Safety
    /// As [`alone::multiply`].
    pub(super) unsafe fn multiply(
        &self,
        head: &Head<'_>,
        left: Left<'_>,
        seen: &Seen,
        c: &mut [f32],
        stride: usize,
    ) {
        let idx = self.rounds.idx(seen.round);
        let right = Right {
            panels: &self.right[idx * self.round_len..(idx + 1) * self.round_len],
            depth: self.rounds.size,
            first_row: 0,
            first_col: seen.slots.start,
            cols: seen.slots.len(),
        };
        // SAFETY: by this function's contract.
        unsafe {
            alone::multiply(head.kernels, left, right, false, c[seen.col..].as_mut_ptr(), stride);
        }
    }
}

/// C ← P·B, summed over the slots of all rounds that are seen.
pub(super) struct Down<'a> {
    pub(super) right: &'a [f32],
    pub(super) round_len: usize,
    pub(super) rounds: &'a Rounds,
}

impl Down<'_> {
    /// (queries, D) from rows of scores.
    ///
    /// # Safety
    /// As [`alone::multiply`].
    #[allow(clippy::too_many_arguments)] // a product has so many
    pub(super) unsafe fn multiply(
        &self,
        head: &Head<'_>,
        scores: &[f32],
        stride: usize,
        rows: usize,
        seen: &Seen,
        laid: &mut Buffer<f32>,
        adds: bool,
        c: &mut [f32],
    ) {
        let (idx, depth) = (self.rounds.idx(seen.round), seen.slots.len());
        let panels = laid.take(alone::left_len(head.kernels, rows, depth));
        let right = Right {
            panels: &self.right[idx * self.round_len..(idx + 1) * self.round_len],
            depth: self.rounds.existing(head, seen.round),
            first_row: seen.slots.start,
            first_col: 0,
            cols: self.rounds.size,
        };
        // SAFETY: by this function's contract; C has a row of D values for each row of scores.
        unsafe {
            let p = Matrix::with_strides(&scores[seen.col..], rows, depth, stride);
            alone::lay_left(head.kernels, p, panels);
            let left = Left { panels, rows, depth };
            alone::multiply(head.kernels, left, right, adds, c.as_mut_ptr(), self.rounds.size);
        }
    }
}
