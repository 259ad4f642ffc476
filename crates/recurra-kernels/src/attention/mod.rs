//! Causal attention with several heads over a window and what is remembered before it (Vaswani et al. 2017).
//!
//! For each stream and head, with queries q, keys k and values v of D values, o_i = Σ_j p_ij·v_j with
//! p_i = softmax_j(q_i·k_j / √D) over the positions j that i sees: at most `context` of them, itself the last.
//!
//! **Places.** The positions of a stream are counted from the first. Place p lies in slot p mod `context` of round
//! p / `context`, and a memory is a ring: it holds of each slot what was there last. With rotary positions (Su et al. 2021) p
//! sees the `context` places up to its own, that is all slots: those up to its own of its round, those after it of the
//! round before. A key is rotated by its slot, once and for ever; a query is rotated twice, by its slot for keys of
//! its own round and by its slot + `context` for those of the round before, so that only distances matter and nothing
//! grows with the text. A memory's length goes up to 2·`context` and then back to `context`, which is the same place. With
//! learned positions p sees its own round only: a full memory is forgotten, and positions begin again at 0.
//!
//! **A head at a time** (`blocks.rs`): scores of some queries and all keys they see stand in a buffer in the second
//! cache, so nothing of size T × T is kept. Backward computes them again from the logarithms of their sums of exponentials
//! (Dao et al. 2022): with δ_i = d_o_i·o_i, d_v = pᵀ·d_o, d_s = p ⊙ (d_o·vᵀ − δ), d_q = d_s·k / √D, d_k = d_sᵀ·q / √D. One
//! thread has a stream's head, so bits depend on no number of threads. What is remembered is a constant (Dai et al. 2019).
//!
//! A single position needs no operand laid out: it reads the ring as it lies (`vector.rs`). Where products are of `bf16`, it
//! rounds what they round, and a memory holds rounded keys and values.

mod blocks;
mod reference;
mod rotation;
mod rounds;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::element::expect_f32;
use crate::isa::by_isa;
use crate::matmul::kernels_of;
use crate::simd::math::bf16;
use crate::{Cpu, Element, Isa, Precision, SharedSlice};
use blocks::Head;
use rotation::Rotation;
use vector::Step;

/// Below this many products other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 13;

/// How positions are told from each other, and what a position sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Positions {
    /// Queries and keys are rotated; a position sees the `context` positions up to itself.
    Rotary,
    /// Vectors that were added to the input; a position sees those since the last multiple of `context`.
    Learned,
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// A: how many heads share a row of C values.
    pub heads: usize,
    /// How many positions are seen at most.
    pub context: usize,
    /// How positions are told from each other.
    pub positions: Positions,
}

/// The sizes of a window: T time steps of B streams, rows of C values in the order (t, b).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T.
    pub time: usize,
    /// B.
    pub batch: usize,
    /// C.
    pub width: usize,
}

/// What streams remember.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a, E> {
    /// (B, context·C)
    pub keys: &'a [E],
    /// (B, context·C)
    pub values: &'a [E],
    /// (B): the place that comes next.
    pub lengths: &'a [E],
}

/// The keys that a row of scores has, from one up to another.
type Seen = [std::ops::Range<usize>; 2];

/// What an instruction set has.
struct Loops {
    rotate: unsafe fn(&[f32], &mut [f32], rotation::Angle<'_, f32>, f32),
    softmax: unsafe fn(&mut [f32], Seen) -> (f32, f32),
    scores_back: unsafe fn(&mut [f32], &mut [f32], Seen, f32, f32),
    step: unsafe fn(&Step<'_>, &mut [f32], &mut [f32]),
}

impl Attention {
    /// A length as a place: what streams remember is a number that anybody may have written.
    pub fn place<E: Element>(&self, length: E) -> usize {
        let most = match self.positions {
            Positions::Rotary => 2 * self.context,
            Positions::Learned => self.context,
        };
        (length.to_f64().round() as usize).min(most - 1)
    }

    /// The length after `time` more positions.
    fn length_after<E: Element>(&self, length: E, time: usize) -> E {
        let place = self.place(length) + time;
        let place = match self.positions {
            Positions::Rotary if place >= 2 * self.context => self.context + place % self.context,
            Positions::Rotary => place,
            Positions::Learned => place % self.context,
        };
        E::from_f64(place as f64)
    }

    /// The first place that `place` sees.
    fn first_seen(&self, place: usize) -> usize {
        match self.positions {
            Positions::Rotary => (place + 1).saturating_sub(self.context),
            Positions::Learned => place / self.context * self.context,
        }
    }

    /// D.
    fn head_size(&self, width: usize) -> usize {
        width / self.heads
    }
}

/// o of every position and head; `logs` receives log Σ_j exp(s_ij), which [`backward`] wants.
///
/// # Shapes
/// `qkv` (T·B, 3·C): queries, keys, values, each (A, D); `out` (T·B, C), `logs` (B, A, T).
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    attention: Attention,
    shape: Shape,
    qkv: &[E],
    memory: Memory<'_, E>,
    out: &mut [E],
    logs: Option<&mut [E]>,
) {
    check(attention, shape, qkv.len(), memory);
    let Shape { time, batch, width } = shape;
    let n_heads = batch * attention.heads;
    let n_logs = logs.as_ref().map_or(n_heads * time, |logs| logs.len());
    assert!(out.len() == time * batch * width && n_logs == n_heads * time, "{} outputs", out.len());
    let (Some(qkv_f32), Some(memory_f32)) = (E::as_f32(qkv), memory.as_f32()) else {
        return reference::forward(attention, shape, qkv, memory, out, logs);
    };
    let size = attention.head_size(width);
    let rotation = Rotation::of(attention, size);
    let out = SharedSlice::of_f32(out);
    let logs = logs.map(SharedSlice::of_f32);
    let task = |idx: usize| {
        let head = head(cpu, attention, &rotation, shape, qkv_f32, memory_f32, idx);
        // SAFETY: a stream's head has rows and logarithms of its own; `Cpu` has found the instruction set.
        unsafe {
            if time == 1 && logs.is_none() {
                vector::one_position(&head, cpu.isa().precision() == Precision::Bf16, &out);
            } else {
                blocks::forward(&head, &out, logs.as_ref());
            }
        }
    };
    cpu.pool().for_each_or_alone(
        n_heads * size * time * attention.context.min(64 + time) <= ALONE,
        n_heads,
        task,
    );
}

/// What [`forward`] left, and the gradient that came back to it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a, E> {
    /// (T·B, C)
    pub out: &'a [E],
    /// (B, A, T)
    pub logs: &'a [E],
    /// (T·B, C)
    pub d_out: &'a [E],
}

/// The gradients of [`forward`], for the memory as it was then; `d_qkv` is overwritten.
///
/// # Shapes
/// `d_qkv` (T·B, 3·C).
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    attention: Attention,
    shape: Shape,
    qkv: &[E],
    memory: Memory<'_, E>,
    outcome: Outcome<'_, E>,
    d_qkv: &mut [E],
) {
    check(attention, shape, qkv.len(), memory);
    let n_heads = shape.batch * attention.heads;
    assert!(
        3 * outcome.out.len() == qkv.len()
            && outcome.d_out.len() == outcome.out.len()
            && d_qkv.len() == qkv.len()
            && outcome.logs.len() == n_heads * shape.time,
        "gradients of {} outputs",
        outcome.out.len()
    );
    let (Some(qkv_f32), Some(memory_f32), Some(outcome_f32)) =
        (E::as_f32(qkv), memory.as_f32(), outcome.as_f32())
    else {
        return reference::backward(attention, shape, qkv, memory, outcome, d_qkv);
    };
    let rotation = Rotation::of(attention, attention.head_size(shape.width));
    let d_qkv = SharedSlice::of_f32(d_qkv);
    cpu.pool().for_each(n_heads, |idx| {
        let head = head(cpu, attention, &rotation, shape, qkv_f32, memory_f32, idx);
        // SAFETY: a stream's head has columns of its rows for itself; `Cpu` has found the instruction set.
        unsafe { blocks::backward(&head, outcome_f32, &d_qkv) };
    });
}

/// Puts the keys and values of a window into what streams remember, and moves their lengths on.
///
/// # Shapes
/// As [`forward`] and [`Memory`].
///
/// # Panics
/// When the shapes do not fit.
#[track_caller]
pub fn remember<E: Element>(
    cpu: &Cpu,
    attention: Attention,
    shape: Shape,
    qkv: &[E],
    [keys, values, lengths]: [&mut [E]; 3],
) {
    check(attention, shape, qkv.len(), Memory { keys, values, lengths });
    let Shape { time, batch, width } = shape;
    let size = attention.head_size(width);
    let rotation = Rotation::of(attention, size);
    let is_rounded = cpu.isa().precision() == Precision::Bf16;
    let loops = loops(cpu.isa());
    let (keys, values) = (SharedSlice::new(keys), SharedSlice::new(values));
    let stream = |b: usize| {
        let first = attention.place(lengths[b]);
        for t in time.saturating_sub(attention.context)..time {
            let slot = (first + t) % attention.context;
            let row = &qkv[(t * batch + b) * 3 * width..][width..3 * width];
            let at = (b * attention.context + slot) * width;
            // SAFETY: every stream has a memory of its own.
            let (to_keys, to_values) =
                unsafe { (keys.slice(at..at + width), values.slice(at..at + width)) };
            let (from_keys, from_values) = row.split_at(width);
            for (from, to) in from_keys.chunks_exact(size).zip(to_keys.chunks_exact_mut(size)) {
                if let Some(from) = E::as_f32(from) {
                    let to = expect_f32(to);
                    // SAFETY: `Cpu` has found the instruction set.
                    unsafe { (loops.rotate)(from, to, rotation.by(slot), 1.0) };
                } else {
                    reference::rotate(attention, from, to, slot, false);
                }
            }
            to_values.copy_from_slice(from_values);
            if is_rounded && let Some(to_keys) = E::as_f32_mut(to_keys) {
                round(to_keys);
                round(expect_f32(to_values));
            }
        }
    };
    cpu.pool().for_each_or_alone(batch * time * width <= ALONE, batch, stream);
    for length in lengths {
        *length = attention.length_after(*length, time);
    }
}

/// The nearest values of `bf16`.
fn round(values: &mut [f32]) {
    for value in values {
        *value = f32::from_bits(u32::from(bf16(*value)) << 16);
    }
}

impl<'a, E: Element> Memory<'a, E> {
    fn as_f32(self) -> Option<Memory<'a, f32>> {
        Some(Memory {
            keys: E::as_f32(self.keys)?,
            values: E::as_f32(self.values)?,
            lengths: E::as_f32(self.lengths)?,
        })
    }
}

impl<'a, E: Element> Outcome<'a, E> {
    fn as_f32(self) -> Option<Outcome<'a, f32>> {
        Some(Outcome {
            out: E::as_f32(self.out)?,
            logs: E::as_f32(self.logs)?,
            d_out: E::as_f32(self.d_out)?,
        })
    }
}

/// Head number `idx` of all streams'.
fn head<'a>(
    cpu: &Cpu,
    attention: Attention,
    rotation: &'a Rotation,
    shape: Shape,
    qkv: &'a [f32],
    memory: Memory<'a, f32>,
    idx: usize,
) -> Head<'a> {
    let Attention { heads, .. } = attention;
    Head {
        kernels: kernels_of(cpu.isa()),
        loops: loops(cpu.isa()),
        attention,
        rotation,
        shape,
        qkv,
        memory,
        stream: idx / heads,
        head: idx % heads,
    }
}

#[track_caller]
fn check<E>(attention: Attention, shape: Shape, n_qkv: usize, memory: Memory<'_, E>) {
    let Attention { heads, context, .. } = attention;
    let Shape { time, batch, width } = shape;
    assert!(
        heads > 0 && context > 0 && width.is_multiple_of(heads),
        "{heads} heads of {width} values that see {context} positions"
    );
    let remembered = batch * context * width;
    assert!(
        n_qkv == time * batch * 3 * width
            && memory.keys.len() == remembered
            && memory.values.len() == remembered
            && memory.lengths.len() == batch,
        "{n_qkv} values of queries, keys and values for {time} steps of {batch} streams, {width} wide; a memory of {} and {}",
        memory.keys.len(),
        memory.values.len()
    );
}

fn loops(isa: Isa) -> &'static Loops {
    by_isa!(isa, self::file => &file::LOOPS)
}

#[cfg(test)]
mod tests;
