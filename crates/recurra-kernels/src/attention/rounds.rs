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

    /// Lays the rounds out as right operands (D, slots).
    ///
    /// # Safety
    /// The machine has the instruction set of the kernels.
    pub(super) unsafe fn lay_across<'a>(
        &'a self,
        head: &Head<'_>,
        from: &[f32],
        to: &'a mut Buffer<f32>,
    ) -> Across<'a> {
        let len = alone::right_len(head.kernels, self.size, self.slots);
        // SAFETY: by this function's contract.
        Across(unsafe { self.lay(head, from, Matrix::transposed, len, to) })
    }

    /// Lays the rounds out as right operands (slots, D).
    ///
    /// # Safety
    /// The machine has the instruction set of the kernels.
    pub(super) unsafe fn lay_down<'a>(
        &'a self,
        head: &Head<'_>,
        from: &[f32],
        to: &'a mut Buffer<f32>,
    ) -> Down<'a> {
        let len = alone::right_len(head.kernels, self.slots, self.size);
        // SAFETY: by this function's contract.
        Down(unsafe { self.lay(head, from, |rows| rows, len, to) })
    }

    /// # Safety
    /// The machine has the instruction set of the kernels.
    unsafe fn lay<'a, 'm>(
        &'a self,
        head: &Head<'_>,
        from: &'m [f32],
        operand: fn(Matrix<'m, f32>) -> Matrix<'m, f32>,
        len: usize,
        to: &'a mut Buffer<f32>,
    ) -> Laid<'a> {
        let len = len.next_multiple_of(LINE);
        let panels = to.take(len * self.count);
        for (idx, to) in panels.chunks_exact_mut(len).enumerate() {
            let n = self.existing(head, self.first + idx);
            let rows = Matrix::new(&from[idx * self.len()..][..n * self.size], n, self.size);
            // SAFETY: by this function's contract.
            unsafe { alone::lay_right(head.kernels, operand(rows), to) };
        }
        Laid { panels, len, rounds: self }
    }
}

/// Rows of all slots of each round as right operands.
struct Laid<'a> {
    panels: &'a [f32],
    /// Values of a round.
    len: usize,
    rounds: &'a Rounds,
}

impl Laid<'_> {
    fn of(&self, round: usize) -> &[f32] {
        &self.panels[self.rounds.idx(round) * self.len..][..self.len]
    }
}

/// Scores of some queries, a row each.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    pub(super) values: &'a [f32],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Queries.
    pub(super) rows: usize,
}

impl<'a> Scores<'a> {
    /// Some columns of all rows.
    pub(super) fn columns(self, first: usize, n: usize) -> Matrix<'a, f32> {
        Matrix::with_strides(&self.values[first..], self.rows, n, self.stride)
    }
}

/// C ← A·Bᵀ for some slots of a round.
pub(super) struct Across<'a>(Laid<'a>);

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
        let right = Right {
            panels: self.0.of(seen.round),
            depth: self.0.rounds.size,
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
pub(super) struct Down<'a>(Laid<'a>);

impl Down<'_> {
    /// (queries, D) from rows of scores.
    ///
    /// # Safety
    /// As [`alone::multiply`]; C has a row of D values for each row of scores.
    pub(super) unsafe fn multiply(
        &self,
        head: &Head<'_>,
        scores: Scores<'_>,
        seen: &Seen,
        laid: &mut Buffer<f32>,
        adds: bool,
        c: &mut [f32],
    ) {
        let size = self.0.rounds.size;
        let right = Right {
            panels: self.0.of(seen.round),
            depth: self.0.rounds.existing(head, seen.round),
            first_row: seen.slots.start,
            first_col: 0,
            cols: size,
        };
        // SAFETY: by this function's contract.
        unsafe {
            let left = Left::lay(head.kernels, scores.columns(seen.col, seen.slots.len()), laid);
            alone::multiply(head.kernels, left, right, adds, c.as_mut_ptr(), size);
        }
    }
}
