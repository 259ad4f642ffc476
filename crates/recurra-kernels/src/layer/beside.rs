//! What goes on while the matrix unit multiplies.

use std::ops::Range;

/// Work in small parts that goes on while the matrix unit multiplies: a step of k keeps that busy for 64 cycles, in which the
/// other units have time for some hundred instructions.
pub(super) trait Beside {
    /// Parts that are left.
    fn left(&self) -> usize;

    /// Does the next part.
    ///
    /// # Safety
    /// There is one left, and what it reads and writes is there.
    unsafe fn part(&mut self);

    /// Does all that is left.
    ///
    /// # Safety
    /// As for [`part`](Self::part).
    #[inline(always)]
    unsafe fn rest(&mut self) {
        for _ in 0..self.left() {
            // SAFETY: by this function's contract.
            unsafe { self.part() };
        }
    }
}

/// Nothing, or something.
impl<B: Beside> Beside for Option<B> {
    #[inline(always)]
    fn left(&self) -> usize {
        self.as_ref().map_or(0, B::left)
    }

    #[inline(always)]
    unsafe fn part(&mut self) {
        // SAFETY: by this function's contract there is something.
        unsafe { self.as_mut().unwrap_unchecked().part() };
    }
}

/// The sums of some rows and blocks of units, in the order in which they are worked with: the rows of a block, then those of
/// the next.
#[derive(Clone, Debug)]
pub(super) struct SumsInTurn<const BY: usize> {
    rows: Range<usize>,
    /// Values to the next row and to the next block.
    to_row: usize,
    to_block: usize,
    /// The next ones.
    pub row: usize,
    pub block: usize,
    pub sums: *const f32,
    left: usize,
}

impl<const BY: usize> SumsInTurn<BY> {
    /// Those of `rows` and `blocks`, `BY` rows at a time, the first at `sums`.
    #[inline(always)]
    pub(super) fn new(
        blocks: &Range<usize>,
        rows: Range<usize>,
        sums: *const f32,
        [to_row, to_block]: [usize; 2],
    ) -> Self {
        let left = rows.len().div_ceil(BY) * blocks.len();
        Self { row: rows.start, block: blocks.start, rows, to_row, to_block, sums, left }
    }

    /// How often there is something to take.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The rows that are next: as many as are taken at a time, or what is left of them.
    #[inline(always)]
    pub(super) fn n_rows(&self) -> usize {
        BY.min(self.rows.end - self.row)
    }

    /// The sums of the next rows, one after the other.
    #[inline(always)]
    pub(super) fn of_row(&self, idx: usize) -> *const f32 {
        self.sums.wrapping_add(idx * self.to_row)
    }

    /// Goes on to the rows after them.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.left -= 1;
        self.row += BY;
        self.sums = self.sums.wrapping_add(BY * self.to_row);
        if self.row >= self.rows.end {
            let back = (self.row - self.rows.start) * self.to_row;
            self.sums = self.sums.wrapping_sub(back).wrapping_add(self.to_block);
            (self.row, self.block) = (self.rows.start, self.block + 1);
        }
    }
}
