//! The mLSTM over a whole sequence, forward and backward: a memory of d × d a head, to which each step adds the outer product
//! of a key and a value, and which a query reads.
//!
//! Beck et al. (2024), "xLSTM", equations 19 to 27. With q, k, v, ĩ and f̃ of a step given, and C₋, n₋, m₋ the state before:
//!
//! ```text
//! m = max(log σ(f̃) + m₋, ĩ)       i = exp(ĩ − m)       f = exp(log σ(f̃) + m₋ − m)       k ← k / √d
//! C = f·C₋ + i·k·vᵀ                n = f·n₋ + i·k
//! h = Cᵀ·q / max(|nᵀ·q|, exp(−m))
//! ```
//!
//! (C here is the paper's transposed: a row a key, a column a value.) No step's h is read by another, so a chunk of L steps
//! can be computed at once. With b_t = Σ log σ(f̃) over the chunk up to t, a_s = ĩ_s − b_s, and C₀, n₀, m₀ the state before it:
//!
//! ```text
//! M_t = max(m₀, a_1, …, a_t)     m_t = b_t + M_t     g_t = exp(m₀ − M_t)
//! P_ts = (q_t·k_s)·exp(a_s − M_t)  for s ≤ t, else 0
//! h_t = (Σ_s P_ts·v_s + g_t·C₀ᵀ·q_t) / max(|Σ_s P_ts + g_t·n₀ᵀ·q_t|, exp(−m_t))
//! C_L = g_L·C₀ + Σ_s w_s·k_s·v_sᵀ     n_L = g_L·n₀ + Σ_s w_s·k_s     w_s = exp(a_s − M_L)
//! ```
//!
//! which is attention with a decay inside of a chunk and a recurrence from chunk to chunk. h does not depend on m, which only
//! scales C and n alike, so on the way back m is a constant. With r_t the reciprocal of the divisor, u_t = r_t·d_h_t, and
//! e_t = −r_t·(d_h_t·h_t)·sign(nᵀq) where |nᵀq| is the larger, else 0; and d_C, d_n the gradients of C_L, n_L:
//!
//! ```text
//! d_P_ts = u_t·v_s + e_t                        d_S = d_P ⊙ exp(a_s − M_t)
//! d_q_t = Σ_s d_S_ts·k_s + g_t·(C₀·u_t + e_t·n₀)
//! d_k_s = Σ_t d_S_ts·q_t + w_s·(d_C·v_s + d_n)
//! d_v_s = Σ_t P_ts·u_t + w_s·d_Cᵀ·k_s
//! d_C₀ = g_L·d_C + Σ_t g_t·q_t·u_tᵀ             d_n₀ = g_L·d_n + Σ_t g_t·e_t·q_t
//! d_ĩ_s = k_s·d_k_s                             d_f̃_t = (1 − σ(f̃_t))·Σ_{t' ≥ t} (q·d_q − k·d_k)_t'
//! ```
//!
//! The last line: P is linear in q and in k, and its exponent has ĩ and a sum of log σ(f̃) in it, so the gradients of those
//! are sums of the same products (Yang et al. 2024 have it so for gated linear attention); the sum goes to the window's end.
//! The tests hold it against the recurrence step by step.
//!
//! A head of a stream is one task, so nobody waits and no sum is cut.

mod backward;
mod chunk;
mod product;
mod reference;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::isa::by_isa;
use crate::matmul::buffer::Buffer;
use crate::{Cpu, Element, Isa, SharedSlice};
use std::cell::RefCell;

#[cfg(test)]
mod tests;

/// L: steps of a chunk.
const CHUNK: usize = 64;

/// The sizes of a layer over a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T, time steps.
    pub time: usize,
    /// B, sequences side by side.
    pub batch: usize,
    /// A, heads.
    pub heads: usize,
    /// d, units of a head.
    pub units: usize,
}

// Sizes that no memory has stay so, and no slice passes for one of them.
impl Shape {
    /// T·B·A·d: values of q, k, v, h.
    pub fn sequence(self) -> usize {
        self.time.saturating_mul(self.batch).saturating_mul(self.heads).saturating_mul(self.units)
    }

    /// T·B·2·A: values of the gates.
    pub fn gates(self) -> usize {
        self.time.saturating_mul(self.batch).saturating_mul(self.heads).saturating_mul(2)
    }

    /// B·A·d·d, B·A·d, B·A: values of C, n and m.
    pub fn state(self) -> [usize; 3] {
        let heads = self.batch.saturating_mul(self.heads);
        let units = heads.saturating_mul(self.units);
        [units.saturating_mul(self.units), units, heads]
    }

    /// Values that [`forward`] keeps for [`backward`]: the state before each chunk.
    pub fn kept(self) -> usize {
        let state = self.state().into_iter().fold(0, usize::saturating_add);
        self.chunks().saturating_mul(state)
    }

    /// How many chunks a sequence has.
    fn chunks(self) -> usize {
        self.time.div_ceil(CHUNK)
    }

    /// Where C, n and m before `chunk` of a head of all streams begin among what is kept.
    fn kept_at(self, chunk: usize, head: usize) -> [usize; 3] {
        let [memory, norm, level] = self.state();
        let start = chunk * (memory + norm + level);
        let d = self.units;
        [start + head * d * d, start + memory + head * d, start + memory + norm + head]
    }

    #[track_caller]
    fn check(self, name: &str, len: usize, expected: usize) {
        assert!(len == expected, "`{name}` holds {len} values; {expected} expected for {self:?}");
    }
}

/// What goes in.
///
/// # Shapes
/// `q`, `k`, `v` (T, B, A, d); `gates` (T, B, 2, A): all ĩ of a position, then all f̃.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, E> {
    /// Queries.
    pub q: &'a [E],
    /// Keys, not yet divided by √d.
    pub k: &'a [E],
    /// Values.
    pub v: &'a [E],
    /// ĩ and f̃.
    pub gates: &'a [E],
}

/// The gradients of what goes in, of the same shapes; all are overwritten.
#[derive(Debug)]
pub struct Gradients<'a, E> {
    /// Of the queries.
    pub d_q: &'a mut [E],
    /// Of the keys.
    pub d_k: &'a mut [E],
    /// Of the values.
    pub d_v: &'a mut [E],
    /// Of ĩ and f̃.
    pub d_gates: &'a mut [E],
}

impl<'a, E: Element> Inputs<'a, E> {
    #[track_caller]
    fn check(&self, shape: Shape) {
        for (name, part) in [("q", self.q), ("k", self.k), ("v", self.v)] {
            shape.check(name, part.len(), shape.sequence());
        }
        shape.check("gates", self.gates.len(), shape.gates());
    }

    fn as_f32(self) -> Option<Inputs<'a, f32>> {
        Some(Inputs {
            q: E::as_f32(self.q)?,
            k: E::as_f32(self.k)?,
            v: E::as_f32(self.v)?,
            gates: E::as_f32(self.gates)?,
        })
    }
}

/// What an instruction set has.
struct Loops {
    forward: unsafe fn(&chunk::Forward<'_>, usize, &mut [f32]),
    backward: unsafe fn(&backward::Backward<'_>, usize, &mut [f32]),
}

/// h of all steps, and the state after them.
///
/// # Shapes
/// `state`: C (B, A, d, d), n (B, A, d), m (B, A), in: before the sequence; out: after it. `h` (T, B, A, d). `kept`, for the
/// way back if there is one, [`Shape::kept`] values.
///
/// # Panics
/// When a size disagrees.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    inputs: Inputs<'_, E>,
    state: [&mut [E]; 3],
    h: &mut [E],
    kept: Option<&mut [E]>,
) {
    inputs.check(shape);
    for ((name, part), expected) in ["C", "n", "m"].into_iter().zip(&state).zip(shape.state()) {
        shape.check(name, part.len(), expected);
    }
    shape.check("h", h.len(), shape.sequence());
    if let Some(kept) = &kept {
        shape.check("kept", kept.len(), shape.kept());
    }
    let Some(inputs) = inputs.as_f32() else {
        return reference::forward(shape, inputs, state, h, kept);
    };
    let job = chunk::Forward {
        shape,
        inputs,
        state: state.map(SharedSlice::of_f32),
        h: SharedSlice::of_f32(h),
        kept: kept.map(SharedSlice::of_f32),
    };
    let loops = loops(cpu.isa());
    each_head(cpu, shape, chunk::scratch_len(shape), |head, scratch| {
        // SAFETY: sizes are checked above; each head of each stream is one task; `Cpu` has found the instruction set.
        unsafe { (loops.forward)(&job, head, scratch) }
    });
}

/// The gradients of everything that went in.
///
/// # Shapes
/// `kept` and `h` as [`forward`] left them, `d_h` (T, B, A, d).
///
/// # Panics
/// When a size disagrees.
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    inputs: Inputs<'_, E>,
    kept: &[E],
    h: &[E],
    d_h: &[E],
    gradients: Gradients<'_, E>,
) {
    inputs.check(shape);
    shape.check("kept", kept.len(), shape.kept());
    shape.check("h", h.len(), shape.sequence());
    shape.check("d_h", d_h.len(), shape.sequence());
    let Gradients { d_q, d_k, d_v, d_gates } = gradients;
    for (name, part) in [("d_q", &d_q), ("d_k", &d_k), ("d_v", &d_v)] {
        shape.check(name, part.len(), shape.sequence());
    }
    shape.check("d_gates", d_gates.len(), shape.gates());
    let (Some(inputs), Some(kept), Some(h), Some(d_h)) =
        (inputs.as_f32(), E::as_f32(kept), E::as_f32(h), E::as_f32(d_h))
    else {
        let gradients = Gradients { d_q, d_k, d_v, d_gates };
        return reference::backward(shape, inputs, kept, h, d_h, gradients);
    };
    let gradients = [d_q, d_k, d_v].map(SharedSlice::of_f32);
    let d_gates = SharedSlice::of_f32(d_gates);
    let job = backward::Backward { shape, inputs, kept, h, d_h, gradients, d_gates };
    let loops = loops(cpu.isa());
    each_head(cpu, shape, backward::scratch_len(shape), |head, scratch| {
        // SAFETY: sizes are checked above; each head of each stream is one task; `Cpu` has found the instruction set.
        unsafe { (loops.backward)(&job, head, scratch) }
    });
}

/// Multiply-adds below which other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 16;

thread_local! {
    static SCRATCH: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
}

/// Runs `task` for each head of each stream, with so much scratch memory.
///
/// (The memory is lent out here and not in the loops: a closure inside of them has none of their instruction set where it is
/// not inlined, and every vector operation in it was a call. That made training of three blocks with H = 512 8 times as slow.)
fn each_head(cpu: &Cpu, shape: Shape, scratch_len: usize, task: impl Fn(usize, &mut [f32]) + Sync) {
    let task = |head: usize| {
        SCRATCH.with_borrow_mut(|scratch| task(head, scratch.take(scratch_len)));
    };
    let heads = shape.batch * shape.heads;
    cpu.pool().for_each_or_alone(shape.sequence() * shape.units < ALONE, heads, task);
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS)
}
