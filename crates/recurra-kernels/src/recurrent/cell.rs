//! What a step of a cell computes for each of its units, apart from the products.

use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Most gates of a cell, and most values it keeps of a unit and step.
pub(crate) const MOST_GATES: usize = 4;

/// The pointwise part of a recurrent cell. Every cell has one state that a unit carries to the next step by itself, its
/// *memory*: c of the LSTM, h of the others.
///
/// With a = W_ih·x + b (the input's part of each gate) and u = W_hh·h₋ (the recurrent part).
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // the constants are for layers in tiles
pub(crate) trait Cell: Copy + Sync {
    /// Gates of a unit.
    const GATES: usize;
    /// The gate whose recurrent part has a bias of its own.
    const BIASED: Option<usize> = None;
    /// How many values of a unit and step the way back wants; at least [`GATES`](Self::GATES).
    const KEPT: usize;
    /// How many gradients a unit has at a step: those of a and of u, the same ones counted once.
    const GRADIENTS: usize;
    /// Which gradient each gate's a has, as one run of neighbours.
    const OF_INPUT: &'static [usize];
    /// Which gradient each gate's u has; together they are a run of neighbours.
    const OF_RECURRENT: &'static [usize];

    /// What is kept, the new memory, and h, by the functions `F`.
    ///
    /// # Safety
    /// As for [`Vector`].
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        a: [V; MOST_GATES],
        u: [V; MOST_GATES],
        memory_before: V,
    ) -> ([V; MOST_GATES], V, V);

    /// The gradients of the gates, and what of the memory's gradient goes on to the step before.
    ///
    /// `d_h` is the gradient of h by this step's output and by u of the step after, `d_memory` what the step after sends
    /// back past its products.
    ///
    /// # Safety
    /// As for [`Vector`].
    unsafe fn backward<V: Vector, F: GateFunctions<V>>(
        self,
        kept: [V; MOST_GATES],
        memory_before: V,
        memory: V,
        d_h: V,
        d_memory: V,
    ) -> ([V; MOST_GATES], V);
}
