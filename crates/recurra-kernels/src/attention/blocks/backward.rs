//! The gradients of a window.

use super::super::Outcome;
use super::super::rounds::{Across, Down, Rounds, Scores};
use super::{Desk, Head, Queries, ROOM, Room, Seen, cols_of, stride};
use crate::SharedSlice;
use crate::matmul::Matrix;
use crate::matmul::alone::{self, Left, Right};
use crate::matmul::buffer::Buffer;

/// Queries at a time: sums over them are taken up and laid down again for each.
const QUERIES: usize = 64;

/// The gradients of a window.
///
/// # Safety
/// Nobody else has the head's part of `d_qkv`; the machine has the instruction set of loops and kernels.
pub(in super::super) unsafe fn backward(
    head: &Head<'_>,
    outcome: Outcome<'_, f32>,
    d_qkv: &SharedSlice<'_, f32>,
) {
    let rounds = Rounds::of(head);
    let len = rounds.count * rounds.len();
    ROOM.with_borrow_mut(|room| {
        let Room { keys, values, keys_across, keys_down, values_laid, d_keys, d_values, desk } =
            room;
        let (keys, values) = (keys.take(len), values.take(len));
        let (d_keys, d_values) = (d_keys.take(len), d_values.take(len));
        d_keys.fill(0.0);
        d_values.fill(0.0);
        // SAFETY: by this function's contract.
        unsafe {
            rounds.gather(head, keys, values);
            let window = Window {
                head,
                outcome,
                rounds: &rounds,
                keys: rounds.lay_across(head, keys, keys_across),
                keys_down: rounds.lay_down(head, keys, keys_down),
                values: rounds.lay_across(head, values, values_laid),
                d_qkv,
            };
            for queries in head.queries(QUERIES) {
                window.add(&queries, desk, d_keys, d_values);
            }
            window.put_keys_and_values(d_keys, d_values);
        }
    });
}

/// What gradients come from, and where they go.
struct Window<'a> {
    head: &'a Head<'a>,
    outcome: Outcome<'a, f32>,
    rounds: &'a Rounds,
    keys: Across<'a>,
    keys_down: Down<'a>,
    values: Across<'a>,
    d_qkv: &'a SharedSlice<'a, f32>,
}

impl Window<'_> {
    /// d_q of some queries, and what they add to d_k and d_v.
    ///
    /// # Safety
    /// As [`backward`].
    unsafe fn add(
        &self,
        queries: &Queries,
        desk: &mut Desk,
        d_keys: &mut [f32],
        d_values: &mut [f32],
    ) {
        let (head, n) = (self.head, queries.times.len());
        let (kernels, size) = (head.kernels, head.size());
        let Desk {
            queries: turned,
            queries_laid,
            scores,
            d_scores,
            scores_laid,
            out,
            out_left,
            out_right,
        } = desk;
        let seen = head.seen(queries);
        let stride = stride(&seen);
        let (scores, d_scores) = (scores.take(n * stride), d_scores.take(n * stride));
        let d_out = out.take(n * size);
        for (to, time) in d_out.chunks_exact_mut(size).zip(queries.times.clone()) {
            to.copy_from_slice(&self.outcome.d_out[head.out(time)]);
        }
        let d_out = Matrix::new(d_out, n, size);
        // SAFETY: by this function's contract.
        unsafe {
            let d_left = Left::lay(kernels, d_out, out_left);
            let d_right = Right::lay(kernels, d_out, out_right);
            for seen in seen.iter().flatten() {
                let q = Left::lay(kernels, head.turned(queries, seen.ago, turned), queries_laid);
                self.keys.multiply(head, q, seen, scores, stride); // s = q·kᵀ / √D
                self.values.multiply(head, d_left, seen, d_scores, stride); // d_p = d_o·vᵀ
            }
            self.scores_back(queries, &seen, scores, d_scores, stride);
            let p = Scores { values: scores, stride, rows: n };
            let d_s = Scores { values: d_scores, stride, rows: n };
            self.put_queries(queries, &seen, d_s, turned, scores_laid);
            for seen in seen.iter().flatten() {
                let q = Right::lay(kernels, head.turned(queries, seen.ago, turned), queries_laid);
                self.add_product(d_s, q, seen, scores_laid, d_keys); // d_k += d_sᵀ·q / √D
                self.add_product(p, d_right, seen, scores_laid, d_values); // d_v += pᵀ·d_o
            }
        }
    }

    /// p = exp(s − log), d_s = p ⊙ (d_p − δ) with δ = d_o·o.
    ///
    /// # Safety
    /// As [`backward`].
    unsafe fn scores_back(
        &self,
        queries: &Queries,
        seen: &[Option<Seen>; 2],
        scores: &mut [f32],
        d_scores: &mut [f32],
        stride: usize,
    ) {
        let head = self.head;
        let logs = &self.outcome.logs[head.logs(queries.times.clone())];
        let both = scores.chunks_exact_mut(stride).zip(d_scores.chunks_exact_mut(stride));
        for (idx, (row, d_row)) in both.enumerate() {
            let at = head.out(queries.times.start + idx);
            let (out, d_out) = (&self.outcome.out[at.clone()], &self.outcome.d_out[at]);
            let delta = out.iter().zip(d_out).map(|(&o, &d)| o * d).sum();
            let cols = cols_of(seen, queries.slot + idx);
            // SAFETY: by this function's contract.
            unsafe { (head.loops.scores_back)(row, d_row, cols, logs[idx], delta) };
        }
    }

    /// d_q = d_s·k / √D, turned back from where it was for the keys of each round.
    ///
    /// # Safety
    /// As [`backward`].
    unsafe fn put_queries(
        &self,
        queries: &Queries,
        seen: &[Option<Seen>; 2],
        d_s: Scores<'_>,
        turned: &mut Buffer<f32>,
        scores_laid: &mut Buffer<f32>,
    ) {
        let (head, n) = (self.head, queries.times.len());
        let size = head.size();
        let (d_queries, turned_back) = turned.take((n + 1) * size).split_at_mut(n * size);
        for time in queries.times.clone() {
            // SAFETY: by this function's contract.
            unsafe { self.d_qkv.slice(head.d_part(time, 0)) }.fill(0.0);
        }
        for seen in seen.iter().flatten() {
            // SAFETY: by this function's contract.
            unsafe { self.keys_down.multiply(head, d_s, seen, scores_laid, false, d_queries) };
            for (idx, time) in queries.times.clone().enumerate() {
                let row = &d_queries[idx * size..(idx + 1) * size];
                let angle = head.angle(queries.slot + idx, seen.ago).back();
                // SAFETY: by this function's contract.
                let to = unsafe {
                    (head.loops.rotate)(row, turned_back, angle, head.scale());
                    self.d_qkv.slice(head.d_part(time, 0))
                };
                to.iter_mut().zip(&*turned_back).for_each(|(to, &part)| *to += part);
            }
        }
    }

    /// `sums` += (the scores of the window's own keys)ᵀ·`right`; what is remembered is a constant.
    ///
    /// # Safety
    /// As [`backward`].
    unsafe fn add_product(
        &self,
        scores: Scores<'_>,
        right: Right<'_>,
        seen: &Seen,
        scores_laid: &mut Buffer<f32>,
        sums: &mut [f32],
    ) {
        let (head, size) = (self.head, self.head.size());
        let own = head.start().saturating_sub(seen.round * head.attention.context);
        let first = own.max(seen.slots.start);
        if first >= seen.slots.end {
            return;
        }
        let columns = scores.columns(seen.col + first - seen.slots.start, seen.slots.end - first);
        let at = self.rounds.idx(seen.round) * self.rounds.len() + first * size;
        // SAFETY: by this function's contract.
        unsafe {
            let left = Left::lay(head.kernels, columns.transposed(), scores_laid);
            alone::multiply(head.kernels, left, right, true, sums[at..].as_mut_ptr(), size);
        }
    }

    /// d_k, turned back, and d_v of all positions.
    ///
    /// # Safety
    /// As [`backward`].
    unsafe fn put_keys_and_values(&self, d_keys: &[f32], d_values: &[f32]) {
        let (head, size) = (self.head, self.head.size());
        let context = head.attention.context;
        for time in 0..head.shape.time {
            let (round, slot) = ((head.start() + time) / context, (head.start() + time) % context);
            let at = self.rounds.idx(round) * self.rounds.len() + slot * size;
            let angle = head.rotation.by(slot).back();
            // SAFETY: by this function's contract.
            unsafe {
                let d_key = self.d_qkv.slice(head.d_part(time, 1));
                (head.loops.rotate)(&d_keys[at..at + size], d_key, angle, 1.0);
                let d_value = self.d_qkv.slice(head.d_part(time, 2));
                d_value.copy_from_slice(&d_values[at..at + size]);
            }
        }
    }
}
