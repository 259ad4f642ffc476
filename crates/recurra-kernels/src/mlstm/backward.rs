//! One head of one stream, backward, a chunk of steps at a time, the last first.

use super::chunk::{Decays, Places, decayed_sum, parts, room};
use super::product::{Depth, Left, Right, To, add_scaled, copy_scaled, dot, product, transpose};
use super::{CHUNK, Inputs, Shape};
use crate::SharedSlice;
use crate::recurrent::{load, store};
use crate::simd::Vector;

/// What [`super::backward`] is given.
pub(super) struct Backward<'a> {
    pub shape: Shape,
    pub inputs: Inputs<'a, f32>,
    pub kept: &'a [f32],
    pub h: &'a [f32],
    pub d_h: &'a [f32],
    /// d_q, d_k, d_v.
    pub gradients: [SharedSlice<'a, f32>; 3],
    pub d_gates: SharedSlice<'a, f32>,
}

/// Scratch values of a task.
pub(super) fn scratch_len(shape: Shape) -> usize {
    room(sizes(shape))
}

/// Those of the parts of [`Room`].
fn sizes(shape: Shape) -> [usize; 9] {
    let (d, square) = (shape.units, CHUNK * CHUNK);
    let carried = if shape.chunks() > 1 { d * d } else { 0 };
    [d * CHUNK, CHUNK * d, square, square, square, d * d, carried, carried, d]
}

/// All chunks of one head of one stream.
///
/// # Safety
/// As for [`Vector`]; sizes are as [`super::backward`] checks them, this head is nobody else's, and `scratch` has
/// [`scratch_len`] values.
#[inline(always)]
pub(super) unsafe fn backward<V: Vector, const R: usize>(
    job: &Backward<'_>,
    head: usize,
    scratch: &mut [f32],
) {
    let shape = job.shape;
    let d = shape.units;
    let places = Places::new(shape, head);
    let [turned, u, decay, p, d_s, c_turned, d_c, d_c_turned, d_n] = parts(scratch, sizes(shape));
    let mut d_forgets = 0.0; // Σ over all later steps
    // SAFETY: so many values.
    unsafe { std::slice::from_raw_parts_mut(d_n, d) }.fill(0.0);
    for chunk in (0..shape.chunks()).rev() {
        let is_last = chunk + 1 == shape.chunks();
        // SAFETY: everything is inside by this function's contract; scratch memory has the sizes above, that of d_c
        // holds what a later chunk left there, and is not read by the last one.
        unsafe {
            let part = Part::new(job, &places, head, chunk, is_last);
            let room = Room { turned, u, decay, p, d_s, c_turned, d_c, d_c_turned, d_n };
            let e = part.gradients::<V, R>(&room);
            part.gate_gradients::<V>(job, &places, &mut d_forgets);
            if chunk > 0 {
                part.carry::<V, R>(&room, &e);
            }
        }
    }
}

/// Scratch memory of a task.
struct Room {
    /// kᵀ or vᵀ (d, L).
    turned: *mut f32,
    /// (L, d)
    u: *mut f32,
    /// (L, L) each
    decay: *mut f32,
    p: *mut f32,
    d_s: *mut f32,
    /// (d, d) each; the gradient is of the state after the chunk.
    c_turned: *mut f32,
    d_c: *mut f32,
    d_c_turned: *mut f32,
    /// (d)
    d_n: *mut f32,
}

/// One chunk of one head of one stream.
struct Part {
    first: usize,
    len: usize,
    d: usize,
    is_last: bool,
    decays: Decays,
    q: Right,
    k: Right,
    v: Right,
    h: Right,
    d_h: Right,
    d_q: To,
    d_k: To,
    d_v: To,
    /// C₀ (d, d) and n₀ (d).
    memory: *const f32,
    norm: *const f32,
}

impl Part {
    fn new(job: &Backward<'_>, places: &Places, head: usize, chunk: usize, is_last: bool) -> Self {
        let shape = job.shape;
        let first = chunk * CHUNK;
        let len = CHUNK.min(shape.time - first);
        let at = places.first + first * places.step;
        let row_stride = places.step;
        let [d_q, d_k, d_v] =
            job.gradients.each_ref().map(|to| To { values: to.ptr(at), row_stride });
        let [memory, norm, level] = shape.kept_at(chunk, head).map(|at| &job.kept[at..]);
        let rows = |of: &[f32]| Right { values: of[at..].as_ptr(), row_stride };
        Self {
            first,
            len,
            d: shape.units,
            is_last,
            decays: Decays::new(job.inputs.gates, places, first, len, level[0]),
            q: rows(job.inputs.q),
            k: rows(job.inputs.k),
            v: rows(job.inputs.v),
            h: rows(job.h),
            d_h: rows(job.d_h),
            d_q,
            d_k,
            d_v,
            memory: memory.as_ptr(),
            norm: norm.as_ptr(),
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// d_q, d_v, and d_k of k as it is after its division by √d; returns e.
    ///
    /// # Safety
    /// As [`backward`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // steps, counted alike for registers and memory
    unsafe fn gradients<V: Vector, const R: usize>(&self, room: &Room) -> [f32; CHUNK] {
        let &Self { len, d, ref decays, q, k, v, h, d_h, .. } = self;
        let scale = self.scale();
        let whole = Depth::Whole(d);
        let square = |values: *mut f32| To { values, row_stride: CHUNK };
        let row = |of: Right, t: usize| of.values.wrapping_add(t * of.row_stride);
        // SAFETY: by this function's contract.
        unsafe {
            // P again, and with it the divisors.
            transpose(k, len, d, scale, square(room.turned)); // (d, L)
            let turned = Right { values: room.turned, row_stride: CHUNK };
            decays.matrix::<V>(room.decay);
            product::<V, R>(left(q), turned, None, square(room.p), (len, whole, len));
            let mut e = [0.0; CHUNK];
            for t in 0..len {
                let sum = decayed_sum::<V>(room.p.add(t * CHUNK), room.decay.add(t * CHUNK), len);
                let read = sum + decays.carried[t] * dot::<V>(row(q, t), self.norm, d);
                let reciprocal = 1.0 / read.abs().max(decays.bound[t]);
                if read.abs() > decays.bound[t] {
                    let of_divisor = reciprocal * dot::<V>(row(d_h, t), row(h, t), d);
                    e[t] = -of_divisor.copysign(of_divisor * read);
                }
                copy_scaled::<V>(row(d_h, t), reciprocal, room.u.add(t * d), d);
            }
            let u = Right { values: room.u, row_stride: d };
            // d_S = (u·vᵀ + e) ⊙ D
            transpose(v, len, d, 1.0, square(room.turned)); // (d, L)
            product::<V, R>(left(u), turned, None, square(room.d_s), (len, whole, len));
            for (t, &e) in e.iter().enumerate().take(len) {
                let (d_s, decay) = (room.d_s.add(t * CHUNK), room.decay.add(t * CHUNK));
                for at in (0..len).step_by(V::LANES) {
                    let n = V::LANES.min(len - at);
                    let d_p = load::<V>(d_s.add(at), n).add(V::splat(e));
                    store(d_p.mul(load(decay.add(at), n)), d_s.add(at), n);
                }
            }
            let of_square = |values: *mut f32| Left { values, row_stride: CHUNK, col_stride: 1 };
            let square_turned =
                |values: *mut f32| Left { values, row_stride: 1, col_stride: CHUNK };
            // d_q = g ⊙ (u·C₀ᵀ + e·n₀ᵀ) + d_S·k
            let c = Right { values: self.memory, row_stride: d };
            transpose(c, d, d, 1.0, To { values: room.c_turned, row_stride: d });
            let c_turned = Right { values: room.c_turned, row_stride: d };
            product::<V, R>(left(u), c_turned, None, self.d_q, (len, whole, d));
            let mut keys_scale = [0.0; CHUNK];
            for t in 0..len {
                let d_q = self.d_q.values.add(t * self.d_q.row_stride);
                add_scaled::<V>(d_q, 1.0, self.norm, e[t], d);
                // The product below adds k, of which q sees only that after its division by √d.
                keys_scale[t] = decays.carried[t] / scale;
            }
            let d_s = of_square(room.d_s);
            let of_carried = Some(keys_scale.as_ptr());
            product::<V, R>(d_s, k, of_carried, self.d_q, (len, Depth::UpTo, d));
            for t in 0..len {
                let d_q = self.d_q.values.add(t * self.d_q.row_stride);
                copy_scaled::<V>(d_q, scale, d_q, d);
            }
            // d_v = w ⊙ (k·d_C) + Pᵀ·u and d_k = w ⊙ (v·d_Cᵀ + d_n) + d_Sᵀ·q
            let (mut of_keys, mut of_values) = (None, None);
            let weights = decays.weight.map(|weight| weight * scale);
            if !self.is_last {
                let d_c = Right { values: room.d_c, row_stride: d };
                let d_c_turned = To { values: room.d_c_turned, row_stride: d };
                product::<V, R>(left(k), d_c, None, self.d_v, (len, whole, d));
                transpose(d_c, d, d, 1.0, d_c_turned);
                let d_c_turned = Right { values: room.d_c_turned, row_stride: d };
                product::<V, R>(left(v), d_c_turned, None, self.d_k, (len, whole, d));
                for t in 0..len {
                    let d_k = self.d_k.values.add(t * self.d_k.row_stride);
                    add_scaled::<V>(d_k, 1.0, room.d_n, 1.0, d);
                }
                (of_keys, of_values) = (Some(decays.weight.as_ptr()), Some(weights.as_ptr()));
            }
            let (p, d_s) = (square_turned(room.p), square_turned(room.d_s));
            product::<V, R>(p, u, of_values, self.d_v, (len, Depth::From(len), d));
            product::<V, R>(d_s, q, of_keys, self.d_k, (len, Depth::From(len), d));
            e
        }
    }

    /// d_ĩ and d_f̃; then d_k becomes the gradient of k as it came in.
    ///
    /// # Safety
    /// As [`backward`].
    #[inline(always)]
    unsafe fn gate_gradients<V: Vector>(
        &self,
        job: &Backward<'_>,
        places: &Places,
        d_forgets: &mut f32,
    ) {
        let scale = self.scale();
        for t in (0..self.len).rev() {
            let gate = places.gate + (self.first + t) * places.gate_step;
            // SAFETY: by this function's contract.
            unsafe {
                let d_q = self.d_q.values.add(t * self.d_q.row_stride);
                let d_k = self.d_k.values.add(t * self.d_k.row_stride);
                copy_scaled::<V>(d_k, scale, d_k, self.d);
                let of_q = dot::<V>(self.q.values.add(t * self.q.row_stride), d_q, self.d);
                let of_k = dot::<V>(self.k.values.add(t * self.k.row_stride), d_k, self.d);
                *d_forgets += of_q - of_k;
                let f = job.inputs.gates[gate + places.to_forget];
                *job.d_gates.ptr(gate) = of_k;
                // 1 − σ(f̃) = σ(−f̃)
                *job.d_gates.ptr(gate + places.to_forget) = *d_forgets / (1.0 + f.exp());
            }
        }
    }

    /// Replaces d_C and d_n after the chunk by those before it.
    ///
    /// # Safety
    /// As [`backward`], after [`gradients`](Self::gradients).
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // steps, counted alike for registers and memory
    unsafe fn carry<V: Vector, const R: usize>(&self, room: &Room, e: &[f32; CHUNK]) {
        let &Self { len, d, ref decays, q, .. } = self;
        let scales = [decays.carried[len - 1]; CHUNK];
        // SAFETY: by this function's contract.
        unsafe {
            for t in 0..len {
                let u = room.u.add(t * d);
                copy_scaled::<V>(u, decays.carried[t], u, d);
                let before = if t == 0 { scales[0] } else { 1.0 };
                let row = q.values.add(t * q.row_stride);
                add_scaled::<V>(room.d_n, before, row, decays.carried[t] * e[t], d);
            }
            let u = Right { values: room.u, row_stride: d };
            for row in (0..d).step_by(CHUNK) {
                let n = CHUNK.min(d - row);
                let q = Left { values: q.values.add(row), row_stride: 1, col_stride: q.row_stride };
                let d_c = To { values: room.d_c.add(row * d), row_stride: d };
                let scales = (!self.is_last).then_some(scales.as_ptr());
                product::<V, R>(q, u, scales, d_c, (n, Depth::Whole(len), d));
            }
        }
    }
}

/// The same rows as the left operand.
fn left(of: Right) -> Left {
    Left { values: of.values, row_stride: of.row_stride, col_stride: 1 }
}
