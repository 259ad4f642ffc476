//! A slice that several threads write at once, each at places of its own.

use std::marker::PhantomData;
use std::ops::Range;

use crate::Element;
use crate::element::expect_f32;

/// A mutable slice that the members of a team write at disjoint places.
#[derive(Debug)]
pub struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out places through `slice`, whose caller promises that they do not overlap.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}
// SAFETY: it stands for a `&mut [T]`, which may be sent when `T` may.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}

impl<'a> SharedSlice<'a, f32> {
    /// As [`new`](Self::new), where another operand of the same type has been found to be `f32`.
    #[track_caller]
    pub(crate) fn of_f32<E: Element>(values: &'a mut [E]) -> Self {
        Self::new(expect_f32(values))
    }
}

impl<'a, T> SharedSlice<'a, T> {
    /// Borrows `values` for as long as the team works on it.
    pub fn new(values: &'a mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lifetime: PhantomData }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values at `range`.
    ///
    /// # Safety
    /// No other thread reads or writes them while the result lives (a [`Worker::barrier`](crate::Worker::barrier) ends such a time).
    ///
    /// # Panics
    /// When `range` does not lie inside.
    #[allow(clippy::mut_from_ref)] // that is what sharing disjoint parts means
    #[track_caller]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} outside of 0..{}",
            self.len
        );
        // SAFETY: inside the borrowed slice by the check above; unaliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The address of the value at `idx`, for kernels that compute their own addresses.
    ///
    /// # Panics
    /// When `idx` lies outside (one past the end is allowed).
    #[track_caller]
    pub fn ptr(&self, idx: usize) -> *mut T {
        assert!(idx <= self.len, "{idx} outside of 0..={}", self.len);
        // SAFETY: inside, or one past the end of, the borrowed slice.
        unsafe { self.start.add(idx) }
    }
}
