//! What goes on while the matrix unit multiplies.

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

/// Nothing to do beside a product.
pub(super) struct Idle;

impl Beside for Idle {
    #[inline(always)]
    fn left(&self) -> usize {
        0
    }

    #[inline(always)]
    unsafe fn part(&mut self) {}
}
