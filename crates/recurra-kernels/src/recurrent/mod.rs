//! What the recurrent kernels ([`lstm`](crate::lstm), [`gru`](crate::gru), [`rnn`](crate::rnn)) share: the packed
//! recurrent weight, the product with it, and the sweep over the time steps.
//!
//! A whole sequence is one piece of work for the team. Each member owns some hidden units (or some rows of the batch) for
//! all time steps, so that its part of W_hh stays in its own cache; members meet at a barrier after every step because each
//! needs the hidden state of all. W_hh is packed in *panels*: the columns of a block of `LANES` units, all gates side by
//! side, so that the product of a few rows with a panel stays in registers and the pointwise part of the cell follows
//! while its sums are in the first cache.
//!
//! Each sum over the hidden units is one chain of multiply-adds in the order of the units, for any number of threads, any
//! batch size and any place of a row in the batch. So the bits of a row depend on the row alone (and on the instruction
//! set), and a sequence computed in several calls with carried state equals the same sequence in one.

mod cell;
mod panels;
mod product;
mod sweep;
mod weight;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
pub(crate) mod reference;

pub(crate) use cell::{Cell, MOST_GATES};
pub(crate) use panels::Panels;
pub(crate) use product::Left;
pub(crate) use sweep::{Extent, Place, Sweep, fetch_ahead, load, run, run_alone, store};
pub use weight::RecurrentWeight;

#[cfg(test)]
pub(crate) mod tests;

/// The sizes of a recurrent layer over a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T, time steps.
    pub time: usize,
    /// B, sequences side by side.
    pub batch: usize,
    /// H, hidden units.
    pub hidden: usize,
}

// Sizes that no memory has stay so, and no slice passes for one of them.
impl Shape {
    /// B·H: values in one state.
    pub(crate) fn state(self) -> usize {
        self.batch.saturating_mul(self.hidden)
    }

    /// T·B·`width`: values in a sequence.
    pub(crate) fn sequence(self, width: usize) -> usize {
        self.time.saturating_mul(self.batch).saturating_mul(width)
    }

    /// (T + 1)·B·H: values in all states, the first one among them.
    pub(crate) fn states(self) -> usize {
        self.sequence(self.hidden).saturating_add(self.state())
    }

    /// Panics unless `name` holds `expected` values.
    #[track_caller]
    pub(crate) fn check(self, name: &str, len: usize, expected: usize) {
        assert!(
            len == expected,
            "`{name}` holds {len} values; {expected} expected for T = {}, B = {}, H = {}",
            self.time,
            self.batch,
            self.hidden
        );
    }
}
