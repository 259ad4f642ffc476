//! Scratch memory that starts at a cache line and only grows.

use crate::{Element, prefer_large_pages};

/// The size of a cache line, and of the widest vector.
const LINE_BYTES: usize = 64;

/// Values that begin at a cache line, so that no aligned vector straddles two.
#[derive(Debug, Default)]
pub(crate) struct Buffer<E> {
    values: Vec<E>,
}

impl<E: Element> Buffer<E> {
    /// A buffer that holds nothing yet.
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// `len` values of unspecified content.
    pub(crate) fn take(&mut self, len: usize) -> &mut [E] {
        let slack = LINE_BYTES / size_of::<E>();
        if self.values.len() < len + slack {
            // The old content is of no use: do not copy it.
            self.values = Vec::new();
            self.values.reserve_exact(len + slack);
            prefer_large_pages(self.values.spare_capacity_mut());
            self.values.resize(len + slack, E::ZERO);
        }
        let start = self.start();
        &mut self.values[start..start + len]
    }

    /// The first `len` values, as last written.
    pub(crate) fn first(&self, len: usize) -> &[E] {
        let start = self.start();
        &self.values[start..start + len]
    }

    /// The first `len` values, as last written, to be changed.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn first_mut(&mut self, len: usize) -> &mut [E] {
        let start = self.start();
        &mut self.values[start..start + len]
    }

    fn start(&self) -> usize {
        // `align_offset` may give up in theory; alignment is only about speed.
        self.values.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES / size_of::<E>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_a_line_and_keeps_what_was_written() {
        let mut buffer = Buffer::<f32>::new();
        for len in [0, 1, 17, 1000, 5] {
            let values = buffer.take(len);
            assert_eq!(values.len(), len);
            assert_eq!(values.as_ptr() as usize % LINE_BYTES, 0);
            values.fill(len as f32);
            assert!(buffer.first(len).iter().all(|&value| value == len as f32));
        }
    }
}
