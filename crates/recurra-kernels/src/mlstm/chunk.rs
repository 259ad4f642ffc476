//! One head of one stream, forward, a chunk of steps at a time.

use super::product::{Depth, Left, Right, To, copy_scaled, dot, product, transpose};
use super::{CHUNK, Inputs, Shape};
use crate::SharedSlice;
use crate::recurrent::{load, store};
use crate::simd::Vector;
use crate::simd::math::exp;

/// What [`super::forward`] is given.
pub(super) struct Forward<'a> {
    pub shape: Shape,
    pub inputs: Inputs<'a, f32>,
    /// C, n, m.
    pub state: [SharedSlice<'a, f32>; 3],
    pub h: SharedSlice<'a, f32>,
    pub kept: Option<SharedSlice<'a, f32>>,
}

/// What exp(-m) stays above, for nothing may be divided by 0: where the gates stand open this far, no |n·q| that counts is smaller.
const SMALLEST_BOUND: f32 = 1e-12;

/// Values from one part of scratch memory to the next: whole lines.
const LINE: usize = 16;

/// Scratch values of a task.
pub(super) fn scratch_len(shape: Shape) -> usize {
    room(sizes(shape))
}

/// Those of kᵀ, w ⊙ v, the decays and P.
fn sizes(shape: Shape) -> [usize; 4] {
    let keys = shape.units * CHUNK;
    [keys, keys, CHUNK * CHUNK, CHUNK * CHUNK]
}

/// Values that [`parts`] of so many take.
pub(super) fn room<const N: usize>(sizes: [usize; N]) -> usize {
    sizes.iter().map(|size| size.next_multiple_of(LINE)).sum()
}

/// Scratch memory in parts of so many values, each beginning with a line.
pub(super) fn parts<const N: usize>(scratch: &mut [f32], sizes: [usize; N]) -> [*mut f32; N] {
    let mut rest = scratch;
    sizes.map(|size| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(size.next_multiple_of(LINE));
        rest = after;
        part.as_mut_ptr()
    })
}

/// Where one head of one stream has its values.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// First value of the first step, and from one step to the next: of q, k, v and h.
    pub first: usize,
    pub step: usize,
    /// ĩ of the first step, from there to f̃, and from one step to the next.
    pub gate: usize,
    pub to_forget: usize,
    pub gate_step: usize,
}

impl Places {
    /// `head` counts the heads of all streams.
    pub(super) fn new(shape: Shape, head: usize) -> Self {
        let Shape { batch, heads, units, .. } = shape;
        let (stream, in_stream) = (head / heads, head % heads);
        Self {
            first: head * units,
            step: batch * heads * units,
            gate: stream * 2 * heads + in_stream,
            to_forget: heads,
            gate_step: batch * 2 * heads,
        }
    }
}

/// What the gates of a chunk make of its exponents, named as in this folder's documentation.
pub(super) struct Decays {
    pub len: usize,
    /// a_s.
    pub a: [f32; CHUNK],
    /// M_t.
    pub top: [f32; CHUNK],
    /// g_t.
    pub carried: [f32; CHUNK],
    /// exp(−m_t).
    pub bound: [f32; CHUNK],
    /// w_s.
    pub weight: [f32; CHUNK],
    /// m_L.
    pub level: f32,
}

impl Decays {
    /// Of the steps `first..first + len`, after a state of level m₀.
    pub(super) fn new(
        gates: &[f32],
        places: &Places,
        first: usize,
        len: usize,
        before: f32,
    ) -> Self {
        let zeros = [0.0; CHUNK];
        let mut this = Self {
            len,
            a: zeros,
            top: zeros,
            carried: zeros,
            bound: zeros,
            weight: zeros,
            level: before,
        };
        let (mut sum, mut top) = (0.0, before);
        for t in 0..len {
            let at = places.gate + (first + t) * places.gate_step;
            sum += log_sigmoid(gates[at + places.to_forget]);
            this.a[t] = gates[at] - sum;
            top = this.a[t].max(top);
            this.top[t] = top;
            this.carried[t] = (before - top).exp();
            this.level = sum + top;
            this.bound[t] = (-this.level).exp().max(SMALLEST_BOUND);
        }
        for t in 0..len {
            this.weight[t] = (this.a[t] - top).exp();
        }
        this
    }

    /// D_ts = exp(a_s − M_t) for s ≤ t, else 0, into rows of `CHUNK` values.
    ///
    /// # Safety
    /// As for [`Vector`]; there is room for as many rows as the chunk has steps.
    #[inline(always)]
    pub(super) unsafe fn matrix<V: Vector>(&self, to: *mut f32) {
        for t in 0..self.len {
            // SAFETY: by this function's contract; a row has `CHUNK` values, a multiple of all lanes.
            unsafe {
                let row = to.add(t * CHUNK);
                for s in (0..self.len).step_by(V::LANES) {
                    let a = V::load(self.a.as_ptr().add(s));
                    exp(a.sub(V::splat(self.top[t]))).store(row.add(s));
                }
                for s in t + 1..self.len.next_multiple_of(V::LANES) {
                    *row.add(s) = 0.0;
                }
            }
        }
    }
}

/// log σ(x).
fn log_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// All chunks of one head of one stream.
///
/// # Safety
/// As for [`Vector`]; sizes are as [`super::forward`] checks them, this head is nobody else's, and `scratch` has
/// [`scratch_len`] values.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // steps, counted alike for registers and memory
pub(super) unsafe fn forward<V: Vector, const R: usize>(
    job: &Forward<'_>,
    head: usize,
    scratch: &mut [f32],
) {
    let shape = job.shape;
    let d = shape.units;
    let places = Places::new(shape, head);
    let scale = 1.0 / (d as f32).sqrt();
    let [keys, values, decay, p] = parts(scratch, sizes(shape));
    let memory = job.state[0].ptr(head * d * d);
    let norm = job.state[1].ptr(head * d);
    let level = job.state[2].ptr(head);
    for chunk in 0..shape.chunks() {
        let first = chunk * CHUNK;
        let len = CHUNK.min(shape.time - first);
        let at = places.first + first * places.step;
        // SAFETY: everything is inside by this function's contract, and scratch memory has the sizes above.
        unsafe {
            if let Some(kept) = &job.kept {
                let [c, n, m] = shape.kept_at(chunk, head);
                copy_scaled::<V>(memory, 1.0, kept.ptr(c), d * d);
                copy_scaled::<V>(norm, 1.0, kept.ptr(n), d);
                *kept.ptr(m) = *level;
            }
            let decays = Decays::new(job.inputs.gates, &places, first, len, *level);
            let rows = |of: &[f32]| Right { values: of.as_ptr().add(at), row_stride: places.step };
            let (q, k, v) = (rows(job.inputs.q), rows(job.inputs.k), rows(job.inputs.v));
            let h = To { values: job.h.ptr(at), row_stride: places.step };
            let left =
                |of: Right| Left { values: of.values, row_stride: of.row_stride, col_stride: 1 };
            transpose(k, len, d, scale, To { values: keys, row_stride: CHUNK }); // (d, L)
            let keys = Right { values: keys, row_stride: CHUNK };
            decays.matrix::<V>(decay);
            let rows_of_p = To { values: p, row_stride: CHUNK };
            product::<V, R>(left(q), keys, None, rows_of_p, (len, Depth::Whole(d), len));
            let c = Right { values: memory, row_stride: d };
            product::<V, R>(left(q), c, None, h, (len, Depth::Whole(d), d));
            let mut divisor = [0.0; CHUNK];
            for t in 0..len {
                let row = p.add(t * CHUNK);
                let sum = decayed_sum::<V>(row, decay.add(t * CHUNK), len);
                let read = dot::<V>(q.values.add(t * q.row_stride), norm, d);
                divisor[t] = (sum + decays.carried[t] * read).abs().max(decays.bound[t]);
            }
            let carried = Some(decays.carried.as_ptr());
            let p = Left { values: p, row_stride: CHUNK, col_stride: 1 };
            product::<V, R>(p, v, carried, h, (len, Depth::UpTo, d));
            for t in 0..len {
                let row = h.values.add(t * h.row_stride);
                copy_scaled::<V>(row, 1.0 / divisor[t], row, d);
                let value = v.values.add(t * v.row_stride);
                copy_scaled::<V>(value, decays.weight[t], values.add(t * d), d);
            }
            // C ← g_L·C + Σ_s k_s·(w_s·v_s)ᵀ, some rows at a time.
            let weighted = Right { values, row_stride: d };
            let scales = [decays.carried[len - 1]; CHUNK];
            for row in (0..d).step_by(CHUNK) {
                let n = CHUNK.min(d - row);
                let keys =
                    Left { values: keys.values.add(row * CHUNK), row_stride: CHUNK, col_stride: 1 };
                let c = To { values: memory.add(row * d), row_stride: d };
                let scales = Some(scales.as_ptr());
                product::<V, R>(keys, weighted, scales, c, (n, Depth::Whole(len), d));
            }
            for unit in 0..d {
                let key = keys.values.add(unit * CHUNK);
                let sum = dot::<V>(key, decays.weight.as_ptr(), len);
                *norm.add(unit) = scales[0] * *norm.add(unit) + sum;
            }
            *level = decays.level;
        }
    }
}

/// Multiplies `n` values of `row` with those of `decay`, and returns their sum.
///
/// # Safety
/// As for [`Vector`]; rows of `CHUNK` values.
#[inline(always)]
pub(super) unsafe fn decayed_sum<V: Vector>(row: *mut f32, decay: *const f32, n: usize) -> f32 {
    // SAFETY: by this function's contract.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..n).step_by(V::LANES) {
            let lanes = V::LANES.min(n - at);
            let value = load::<V>(row.add(at), lanes).mul(load(decay.add(at), lanes));
            sum = sum.add(value);
            store(value, row.add(at), lanes);
        }
        sum.sum()
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, $rows:literal, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops { forward, backward };

        $(#[$feature])?
        unsafe fn forward(job: &super::chunk::Forward<'_>, head: usize, scratch: &mut [f32]) {
            // SAFETY: the caller's contract is the same.
            unsafe { super::chunk::forward::<$vector, $rows>(job, head, scratch) }
        }

        $(#[$feature])?
        unsafe fn backward(job: &super::backward::Backward<'_>, head: usize, scratch: &mut [f32]) {
            // SAFETY: the caller's contract is the same.
            unsafe { super::backward::backward::<$vector, $rows>(job, head, scratch) }
        }
    };
}

pub(super) use loops;
