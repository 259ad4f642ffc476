//! A window of a stream's head: some queries at a time against all keys that they see.

use super::rotation::{Angle, Rotation};
use super::rounds::{Across, Down, Rounds};
use super::{Attention, Loops, Memory, Outcome, Positions, Shape};
use crate::SharedSlice;
use crate::matmul::alone::{self, Left, Right};
use crate::matmul::buffer::Buffer;
use crate::matmul::{Kernels, Matrix};
use std::cell::RefCell;
use std::ops::Range;

/// Queries at a time forward: two tiles.
const FORWARD: usize = 32;
/// Queries at a time backward: sums over them are taken up and laid down again for each.
const BACKWARD: usize = 64;
/// Columns of scores begin at whole lines.
pub(super) const LINE: usize = 16;

/// A stream's head.
pub(super) struct Head<'a> {
    pub kernels: &'static Kernels,
    pub loops: &'static Loops,
    pub attention: Attention,
    pub rotation: &'a Rotation,
    pub shape: Shape,
    pub qkv: &'a [f32],
    pub memory: Memory<'a, f32>,
    pub stream: usize,
    pub head: usize,
}

/// Queries next to each other, all of one round.
struct Queries {
    times: Range<usize>,
    round: usize,
    /// The slot of the first.
    slot: usize,
}

/// The keys of one round that some queries see.
#[derive(Clone)]
pub(super) struct Seen {
    pub round: usize,
    /// How many rounds ago that was.
    ago: usize,
    /// Slots, from the first of a panel on.
    pub slots: Range<usize>,
    /// Where their scores stand in a row.
    pub col: usize,
}

/// What a thread works in.
#[derive(Default)]
struct Room {
    /// Of all rounds, slot by slot.
    keys: Buffer<f32>,
    values: Buffer<f32>,
    /// Both as right operands, of which each round has its own.
    keys_down: Buffer<f32>,
    keys_across: Buffer<f32>,
    values_laid: Buffer<f32>,
    queries: Buffer<f32>,
    queries_left: Buffer<f32>,
    queries_right: Buffer<f32>,
    scores: Buffer<f32>,
    d_scores: Buffer<f32>,
    scores_laid: Buffer<f32>,
    out: Buffer<f32>,
    out_laid: Buffer<f32>,
    d_keys: Buffer<f32>,
    d_values: Buffer<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Head<'_> {
    /// D.
    pub fn size(&self) -> usize {
        self.attention.head_size(self.shape.width)
    }

    /// The place of the window's first position.
    pub fn start(&self) -> usize {
        self.attention.place(self.memory.lengths[self.stream])
    }

    /// q (0), k (1) or v (2) of a time.
    pub fn part(&self, time: usize, part: usize) -> &[f32] {
        let row = time * self.shape.batch + self.stream;
        &self.qkv[(row * 3 + part) * self.shape.width + self.head * self.size()..][..self.size()]
    }

    /// Where the gradient of such a part is.
    fn d_part(&self, time: usize, part: usize) -> Range<usize> {
        let row = time * self.shape.batch + self.stream;
        let at = (row * 3 + part) * self.shape.width + self.head * self.size();
        at..at + self.size()
    }

    /// Where o of a time is.
    pub fn out(&self, time: usize) -> Range<usize> {
        let row = time * self.shape.batch + self.stream;
        let at = row * self.shape.width + self.head * self.size();
        at..at + self.size()
    }

    /// Where logarithms of this head are.
    fn logs(&self, times: Range<usize>) -> Range<usize> {
        let at = (self.stream * self.attention.heads + self.head) * self.shape.time;
        at + times.start..at + times.end
    }

    /// 1 / √D.
    fn scale(&self) -> f32 {
        1.0 / (self.size() as f32).sqrt()
    }

    /// The window's queries, at most `most` at a time.
    fn queries(&self, most: usize) -> impl Iterator<Item = Queries> {
        let (start, context, time) = (self.start(), self.attention.context, self.shape.time);
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            let (round, slot) = ((start + first) / context, (start + first) % context);
            next = time.min(first + most).min(first + context - slot);
            (first < next).then_some(Queries { times: first..next, round, slot })
        })
    }

    /// The keys that some queries see: of the round before, and of their own.
    fn seen(&self, queries: &Queries) -> [Option<Seen>; 2] {
        let n = queries.times.len();
        let context = self.attention.context;
        let looks_back = self.attention.positions == Positions::Rotary && queries.round > 0;
        let first = (queries.slot + 1) / self.kernels.cols * self.kernels.cols;
        let before = (looks_back && queries.slot + 1 < context).then(|| {
            let round = queries.round - 1;
            Seen { round, ago: 1, slots: first..context, col: 0 }
        });
        let col = before.as_ref().map_or(0, |seen| seen.slots.len().next_multiple_of(LINE));
        let slots = 0..queries.slot + n;
        [before, Some(Seen { round: queries.round, ago: 0, slots, col })]
    }
}

impl Seen {
    /// The columns of a row of scores.
    fn cols(&self) -> Range<usize> {
        self.col..self.col + self.slots.len()
    }

    /// Those of them that the query of `slot` sees.
    fn of(&self, slot: usize) -> Range<usize> {
        let slots = if self.ago == 0 { 0..slot + 1 } else { slot + 1..self.slots.end };
        self.col + slots.start - self.slots.start..self.col + slots.end - self.slots.start
    }
}

/// The columns that the query of `slot` sees, of both parts.
fn cols_of(seen: &[Option<Seen>; 2], slot: usize) -> [Range<usize>; 2] {
    seen.each_ref().map(|seen| seen.as_ref().map_or(0..0, |seen| seen.of(slot)))
}

/// Some rows of queries, or of what has their shape, as they are wanted.
struct Turned<'a> {
    head: &'a Head<'a>,
    times: Range<usize>,
}

impl Turned<'_> {
    /// Rotates the queries by their slots and so many rounds.
    ///
    /// # Safety
    /// The machine has the instruction set of the loops.
    unsafe fn queries(&self, slot: usize, ago: usize, to: &mut [f32]) {
        let head = self.head;
        let size = head.size();
        for (idx, time) in self.times.clone().enumerate() {
            let angle = head.angle(slot + idx, ago);
            let to = &mut to[idx * size..(idx + 1) * size];
            // SAFETY: by this function's contract.
            unsafe { (head.loops.rotate)(head.part(time, 0), to, angle, head.scale()) };
        }
    }
}

impl Head<'_> {
    /// The angle of a query in `slot` for keys of so many rounds ago.
    fn angle(&self, slot: usize, ago: usize) -> Angle<'_, f32> {
        self.rotation.by(slot + ago * self.attention.context)
    }
}

/// o of a window.
///
/// # Safety
/// Nobody else has the head's part of `out` and of `logs`; the machine has the instruction set of loops and kernels.
pub(super) unsafe fn forward(
    head: &Head<'_>,
    out: &SharedSlice<'_, f32>,
    logs: Option<&SharedSlice<'_, f32>>,
) {
    let (kernels, size) = (head.kernels, head.size());
    let rounds = Rounds::of(head);
    ROOM.with_borrow_mut(|room| {
        let keys = room.keys.take(rounds.count * rounds.len());
        let values = room.values.take(rounds.count * rounds.len());
        // SAFETY: by this function's contract.
        let (keys_len, values_len) = unsafe {
            rounds.gather(head, keys, values);
            let keys_len = rounds.lay(head, keys, true, &mut room.keys_across);
            (keys_len, rounds.lay(head, values, false, &mut room.values_laid))
        };
        let keys = Across {
            right: room.keys_across.first(keys_len * rounds.count),
            round_len: keys_len,
            rounds: &rounds,
        };
        let values = Down {
            right: room.values_laid.first(values_len * rounds.count),
            round_len: values_len,
            rounds: &rounds,
        };
        for queries in head.queries(FORWARD) {
            let n = queries.times.len();
            let seen = head.seen(&queries);
            let stride = stride(&seen);
            let scores = room.scores.take(n * stride);
            let turned = Turned { head, times: queries.times.clone() };
            for seen in seen.iter().flatten() {
                let rows = room.queries.take(n * size);
                let panels = room.queries_left.take(alone::left_len(kernels, n, size));
                // SAFETY: by this function's contract.
                unsafe {
                    turned.queries(queries.slot, seen.ago, rows);
                    alone::lay_left(kernels, Matrix::new(rows, n, size), panels);
                    let left = Left { panels, rows: n, depth: size };
                    keys.multiply(head, left, seen, scores, stride);
                }
            }
            let mut sums = [0.0_f32; FORWARD];
            for (idx, row) in scores.chunks_exact_mut(stride).enumerate() {
                let cols = cols_of(&seen, queries.slot + idx);
                // SAFETY: by this function's contract.
                let (largest, sum) = unsafe { (head.loops.softmax)(row, cols) };
                sums[idx] = sum;
                if let Some(logs) = logs {
                    let at = head.logs(queries.times.clone()).start + idx;
                    // SAFETY: by this function's contract.
                    let log = unsafe { logs.slice(at..at + 1) };
                    log[0] = largest + sum.ln();
                }
            }
            let sum_out = room.out.take(n * size);
            for (idx, seen) in seen.iter().flatten().enumerate() {
                // SAFETY: by this function's contract.
                unsafe {
                    let laid = &mut room.scores_laid;
                    values.multiply(head, scores, stride, n, seen, laid, idx > 0, sum_out);
                }
            }
            for (idx, time) in queries.times.clone().enumerate() {
                let share = 1.0 / sums[idx];
                // SAFETY: by this function's contract.
                let out = unsafe { out.slice(head.out(time)) };
                let row = &sum_out[idx * size..(idx + 1) * size];
                out.iter_mut().zip(row).for_each(|(out, &sum)| *out = sum * share);
            }
        }
    });
}

/// Values from one row of scores to the next.
fn stride(seen: &[Option<Seen>; 2]) -> usize {
    let end = seen.iter().flatten().map(|seen| seen.cols().end).max().unwrap_or(0);
    end.next_multiple_of(LINE)
}

/// The gradients of a window.
///
/// # Safety
/// Nobody else has the head's part of `d_qkv`; the machine has the instruction set of loops and kernels.
pub(super) unsafe fn backward(
    head: &Head<'_>,
    outcome: Outcome<'_, f32>,
    d_qkv: &SharedSlice<'_, f32>,
) {
    let (kernels, size) = (head.kernels, head.size());
    let rounds = Rounds::of(head);
    let len = rounds.count * rounds.len();
    ROOM.with_borrow_mut(|room| {
        let keys = room.keys.take(len);
        let values = room.values.take(len);
        // SAFETY: by this function's contract.
        let [keys_len, down_len, values_len] = unsafe {
            rounds.gather(head, keys, values);
            [
                rounds.lay(head, keys, true, &mut room.keys_across),
                rounds.lay(head, keys, false, &mut room.keys_down),
                rounds.lay(head, values, true, &mut room.values_laid),
            ]
        };
        let keys = Across {
            right: room.keys_across.first(keys_len * rounds.count),
            round_len: keys_len,
            rounds: &rounds,
        };
        let keys_down = Down {
            right: room.keys_down.first(down_len * rounds.count),
            round_len: down_len,
            rounds: &rounds,
        };
        let values = Across {
            right: room.values_laid.first(values_len * rounds.count),
            round_len: values_len,
            rounds: &rounds,
        };
        let d_keys = room.d_keys.take(len);
        let d_values = room.d_values.take(len);
        d_keys.fill(0.0);
        d_values.fill(0.0);
        for queries in head.queries(BACKWARD) {
            let n = queries.times.len();
            let seen = head.seen(&queries);
            let stride = stride(&seen);
            let scores = room.scores.take(n * stride);
            let d_scores = room.d_scores.take(n * stride);
            let turned = Turned { head, times: queries.times.clone() };
            let d_out = room.out.take(n * size);
            for (idx, time) in queries.times.clone().enumerate() {
                d_out[idx * size..(idx + 1) * size].copy_from_slice(&outcome.d_out[head.out(time)]);
            }
            let d_out = Matrix::new(d_out, n, size);
            let left_len = alone::left_len(kernels, n, size);
            let d_left = room.out_laid.take(left_len + LINE + alone::right_len(kernels, n, size));
            let (d_left, d_right) = d_left.split_at_mut(left_len.next_multiple_of(LINE));
            // SAFETY: by this function's contract.
            unsafe {
                alone::lay_left(kernels, d_out, d_left);
                alone::lay_right(kernels, d_out, d_right);
            }
            for seen in seen.iter().flatten() {
                let rows = room.queries.take(n * size);
                let panels = room.queries_left.take(left_len);
                // SAFETY: by this function's contract.
                unsafe {
                    turned.queries(queries.slot, seen.ago, rows);
                    alone::lay_left(kernels, Matrix::new(rows, n, size), panels);
                    let left = Left { panels, rows: n, depth: size };
                    keys.multiply(head, left, seen, scores, stride);
                    let left = Left { panels: d_left, rows: n, depth: size };
                    values.multiply(head, left, seen, d_scores, stride);
                }
            }
            let logs = &outcome.logs[head.logs(queries.times.clone())];
            let both = scores.chunks_exact_mut(stride).zip(d_scores.chunks_exact_mut(stride));
            for (idx, (row, d_row)) in both.enumerate() {
                let out = &outcome.out[head.out(queries.times.start + idx)];
                let d_out = &outcome.d_out[head.out(queries.times.start + idx)];
                let delta = out.iter().zip(d_out).map(|(&o, &d)| o * d).sum();
                let cols = cols_of(&seen, queries.slot + idx);
                // SAFETY: by this function's contract.
                unsafe { (head.loops.scores_back)(row, d_row, cols, logs[idx], delta) };
            }
            for time in queries.times.clone() {
                // SAFETY: by this function's contract.
                unsafe { d_qkv.slice(head.d_part(time, 0)) }.fill(0.0);
            }
            for seen in seen.iter().flatten() {
                // d_q, turned back from where it was for these keys.
                let d_queries = room.queries.take(2 * n * size);
                let (d_queries, turned_back) = d_queries.split_at_mut(n * size);
                // SAFETY: by this function's contract.
                unsafe {
                    let laid = &mut room.scores_laid;
                    keys_down.multiply(head, d_scores, stride, n, seen, laid, false, d_queries);
                    for (idx, time) in queries.times.clone().enumerate() {
                        let row = &d_queries[idx * size..(idx + 1) * size];
                        let back = &mut turned_back[..size];
                        let angle = head.angle(queries.slot + idx, seen.ago).back();
                        (head.loops.rotate)(row, back, angle, head.scale());
                        let to = d_qkv.slice(head.d_part(time, 0));
                        to.iter_mut().zip(back).for_each(|(to, &mut part)| *to += part);
                    }
                }
                // d_k and d_v, of the window's own keys only.
                let own = head.start().saturating_sub(seen.round * head.attention.context);
                let first = own.max(seen.slots.start);
                if first >= seen.slots.end {
                    continue;
                }
                let (n_keys, col) = (seen.slots.end - first, seen.col + first - seen.slots.start);
                let at = rounds.idx(seen.round) * rounds.len() + first * size;
                let rows = room.queries.take(n * size);
                let q_right = room.queries_right.take(alone::right_len(kernels, n, size));
                let laid = room.scores_laid.take(alone::left_len(kernels, n_keys, n));
                // SAFETY: by this function's contract.
                unsafe {
                    turned.queries(queries.slot, seen.ago, rows);
                    alone::lay_right(kernels, Matrix::new(rows, n, size), q_right);
                    for (scores, right, d) in [
                        (&*d_scores, &*q_right, &mut d_keys[at..]),
                        (&*scores, &*d_right, &mut d_values[at..]),
                    ] {
                        let p = Matrix::with_strides(&scores[col..], n, n_keys, stride);
                        alone::lay_left(kernels, p.transposed(), laid);
                        let left = Left { panels: laid, rows: n_keys, depth: n };
                        let right = Right {
                            panels: right,
                            depth: n,
                            first_row: 0,
                            first_col: 0,
                            cols: size,
                        };
                        alone::multiply(kernels, left, right, true, d.as_mut_ptr(), size);
                    }
                }
            }
        }
        let context = head.attention.context;
        for time in 0..head.shape.time {
            let (round, slot) = ((head.start() + time) / context, (head.start() + time) % context);
            let at = rounds.idx(round) * rounds.len() + slot * size;
            // SAFETY: by this function's contract.
            unsafe {
                let to = d_qkv.slice(head.d_part(time, 1));
                let angle = head.rotation.by(slot).back();
                (head.loops.rotate)(&d_keys[at..at + size], to, angle, 1.0);
                let to = d_qkv.slice(head.d_part(time, 2));
                to.copy_from_slice(&d_values[at..at + size]);
            }
        }
    });
}
