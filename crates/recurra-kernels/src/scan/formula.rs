//! What a step of a scan computes for each of its units.

use crate::simd::Vector;
use crate::simd::math::GateFunctions;

/// Most gates of a cell.
pub(super) const MOST_GATES: usize = 4;
/// Most learned vectors of a cell.
pub(super) const MOST_VECTORS: usize = 2;

/// What a unit reads beside its gates and its memory.
#[derive(Clone, Copy)]
pub(super) struct Beside<V> {
    pub vectors: [V; MOST_VECTORS],
    pub x: V,
}

/// What a unit makes on the way forward.
pub(super) struct Made<V> {
    pub kept: [V; MOST_GATES],
    pub memory: V,
    pub out: V,
}

/// What a unit makes on the way back.
pub(super) struct Gradients<V> {
    pub a: [V; MOST_GATES],
    pub before: V,
    pub vectors: [V; MOST_VECTORS],
    pub x: V,
}

impl<V: Vector> Gradients<V> {
    /// Those of a cell that reads nothing beside its gates.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub unsafe fn of_gates(a: [V; MOST_GATES], before: V) -> Self {
        // SAFETY: by the contract of `Vector`.
        let zero = unsafe { V::splat(0.0) };
        Self { a, before, vectors: [zero; MOST_VECTORS], x: zero }
    }
}

/// One step of one cell.
pub(super) trait Formula: Copy + Sync {
    /// Gates of a unit.
    const GATES: usize;
    /// Learned vectors.
    const VECTORS: usize = 0;
    /// Whether x is read beside the gates.
    const READS_X: bool = false;
    /// Whether the output is the memory.
    const HANDS_UP_MEMORY: bool;

    /// By the functions `F`: what of the gates is kept, the memory, and the output.
    ///
    /// # Safety
    /// As for [`Vector`].
    unsafe fn forward<V: Vector, F: GateFunctions<V>>(
        self,
        a: [V; MOST_GATES],
        beside: Beside<V>,
        before: V,
    ) -> Made<V>;

    /// The gradients, from that of the output and what the step after sends back to the memory.
    ///
    /// # Safety
    /// As for [`Vector`].
    unsafe fn backward<V: Vector>(
        self,
        kept: [V; MOST_GATES],
        beside: Beside<V>,
        before: V,
        memory: V,
        d_out: V,
        d_memory: V,
    ) -> Gradients<V>;
}

/// d·s·(1 − s): the gradient of a from that of s = σ(a).
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(super) unsafe fn before_sigmoid<V: Vector>(d: V, s: V) -> V {
    // SAFETY: by the contract of `Vector`.
    unsafe { d.mul(s).mul(V::splat(1.0).sub(s)) }
}
