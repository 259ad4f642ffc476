//! Buffers that are used again step after step, so that a steady step allocates nothing.

use recurra_kernels::{Element, prefer_large_pages};

/// A store of buffers between uses. A step asks for the same sizes in the same order as the step before it, so after the
/// first step every request is met by a buffer that is already there. Where windows are of many lengths, longer buffers come
/// in the place of shorter ones, not beside them.
#[derive(Debug, Default)]
pub struct Arena<E> {
    free: Vec<Vec<E>>,
}

impl<E: Element> Arena<E> {
    /// An empty store.
    pub fn new() -> Self {
        Self { free: Vec::new() }
    }

    /// A buffer of `len` values of unspecified content.
    pub fn take(&mut self, len: usize) -> Vec<E> {
        let fitting = (0..self.free.len())
            .filter(|&idx| self.free[idx].capacity() >= len)
            .min_by_key(|&idx| self.free[idx].capacity());
        let mut buffer = match fitting {
            Some(idx) => self.free.swap_remove(idx),
            None => {
                self.drop_nearly(len);
                Vec::new()
            }
        };
        if buffer.capacity() < len {
            buffer.reserve_exact(len);
            prefer_large_pages(buffer.spare_capacity_mut());
        }
        buffer.resize(len, E::ZERO);
        buffer
    }

    /// Drops the largest buffer, if it holds more than half of `len`: one of that length will do its work.
    fn drop_nearly(&mut self, len: usize) {
        let largest = (0..self.free.len()).max_by_key(|&idx| self.free[idx].capacity());
        if let Some(idx) = largest.filter(|&idx| 2 * self.free[idx].capacity() > len) {
            self.free.swap_remove(idx);
        }
    }

    /// A buffer of `len` zeros.
    pub fn take_zeros(&mut self, len: usize) -> Vec<E> {
        let mut buffer = self.take(len);
        buffer.fill(E::ZERO);
        buffer
    }

    /// A copy of `values`.
    pub fn take_copy(&mut self, values: &[E]) -> Vec<E> {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Gives a buffer back for the next request.
    pub fn give(&mut self, buffer: Vec<E>) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }

    /// How many values all waiting buffers could hold.
    pub fn capacity(&self) -> usize {
        self.free.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_round_of_the_same_requests_allocates_nothing() {
        let mut arena = Arena::<f32>::new();
        let round = |arena: &mut Arena<f32>| {
            let taken: Vec<_> = [7, 100, 3, 100, 20].map(|len| arena.take(len)).into();
            assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [7, 100, 3, 100, 20]);
            taken.into_iter().for_each(|buffer| arena.give(buffer));
            arena.capacity()
        };
        let first = round(&mut arena);
        assert_eq!(round(&mut arena), first);
        assert_eq!(round(&mut arena), first);
    }

    #[test]
    fn windows_that_grow_leave_no_shorter_buffers_behind() {
        let mut arena = Arena::<f32>::new();
        for time in 60..=90 {
            let taken: Vec<_> = [1, 40, 40, 10].map(|width| arena.take(time * width)).into();
            taken.into_iter().for_each(|buffer| arena.give(buffer));
        }
        // One buffer for each request of the longest window, or one a little longer.
        let longest = 90 * (1 + 40 + 40 + 10);
        assert!(
            (longest..longest * 5 / 4).contains(&arena.capacity()),
            "{} values",
            arena.capacity()
        );
    }

    #[test]
    fn zeros_are_zero_in_a_used_buffer() {
        let mut arena = Arena::<f64>::new();
        arena.give(vec![1.0; 10]);
        assert_eq!(arena.take_zeros(5), [0.0; 5]);
    }
}
