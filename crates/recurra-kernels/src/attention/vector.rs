//! The loops over rows, once for every vector type, and a single position in a ring.

use super::blocks::Head;
use super::rotation::Angle;
use super::{Positions, round};
use crate::SharedSlice;
use crate::simd::{Vector, math};
use std::cell::RefCell;
use std::ops::Range;

/// Chains of a sum, which hide the latency of an addition.
const CHAINS: usize = 4;

/// to = scale · R·from, with R the rotation by an angle or back.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn rotate<V: Vector>(
    from: &[f32],
    to: &mut [f32],
    angle: Angle<'_, f32>,
    scale: f32,
) {
    let (n, half) = (from.len(), angle.cos.len());
    assert!(to.len() == n && angle.sin.len() == half && 2 * half <= n, "a row of {n} values");
    // SAFETY: places inside of the slices, by the check above.
    unsafe {
        let scales = V::splat(scale);
        let turn = V::splat(if angle.is_back { -scale } else { scale });
        for f in (0..half).step_by(V::LANES) {
            let lanes = (half - f).min(V::LANES);
            let cos = V::load_first(angle.cos.as_ptr().add(f), lanes).mul(scales);
            let sin = V::load_first(angle.sin.as_ptr().add(f), lanes).mul(turn);
            let a = V::load_first(from.as_ptr().add(f), lanes);
            let b = V::load_first(from.as_ptr().add(half + f), lanes);
            a.mul(cos).sub(b.mul(sin)).store_first(to.as_mut_ptr().add(f), lanes);
            b.mul(cos).add(a.mul(sin)).store_first(to.as_mut_ptr().add(half + f), lanes);
        }
        for f in (2 * half..n).step_by(V::LANES) {
            let lanes = (n - f).min(V::LANES);
            let row = V::load_first(from.as_ptr().add(f), lanes).mul(scales);
            row.store_first(to.as_mut_ptr().add(f), lanes);
        }
    }
}

/// What is seen of a row becomes exp(s − largest), the rest 0; the largest and the sum.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn softmax<V: Vector>(row: &mut [f32], seen: [Range<usize>; 2]) -> (f32, f32) {
    // SAFETY: places inside of the row: ranges are checked.
    unsafe {
        let mut most = f32::MIN;
        for range in seen.clone() {
            let part = &row[range];
            let (whole, rest) = part.split_at(part.len() / V::LANES * V::LANES);
            let mut largest = V::splat(f32::MIN);
            for lanes in whole.chunks_exact(V::LANES) {
                largest = largest.max(V::load(lanes.as_ptr()));
            }
            most = rest.iter().fold(most.max(largest.largest()), |most, &s| most.max(s));
        }
        let largest = V::splat(most);
        let mut total = 0.0;
        for range in seen.clone() {
            let part = &mut row[range];
            let n = part.len();
            let mut sum = [V::splat(0.0); 2];
            for (idx, at) in (0..n).step_by(V::LANES).enumerate() {
                let to = part.as_mut_ptr().add(at);
                if at + V::LANES <= n {
                    let e = math::exp(V::load(to).sub(largest));
                    e.store(to);
                    sum[idx % 2] = sum[idx % 2].add(e);
                } else {
                    let e = math::exp(V::load_first(to, n - at).sub(largest));
                    e.store_first(to, n - at);
                    sum[idx % 2] = sum[idx % 2].add(V::load_first(to, n - at));
                }
            }
            total += sum[0].add(sum[1]).sum();
        }
        clear_unseen(row, seen);
        (most, total)
    }
}

/// Sets to zero what is not seen.
#[inline(always)]
fn clear_unseen(row: &mut [f32], [first, second]: [Range<usize>; 2]) {
    row[..first.start].fill(0.0);
    row[first.end..second.start].fill(0.0);
    row[second.end..].fill(0.0);
}

/// p = exp(s − log) in place of s, and d_s = p·(d_p − δ) in place of d_p; zero where nothing is seen.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn scores_back<V: Vector>(
    scores: &mut [f32],
    d_scores: &mut [f32],
    seen: [Range<usize>; 2],
    log: f32,
    delta: f32,
) {
    // SAFETY: places inside of the rows: ranges are checked.
    unsafe {
        let (logs, deltas) = (V::splat(log), V::splat(delta));
        for range in seen.clone() {
            let n = range.len();
            let (s, d) = (scores[range.clone()].as_mut_ptr(), d_scores[range].as_mut_ptr());
            for at in (0..n).step_by(V::LANES) {
                let (s, d) = (s.add(at), d.add(at));
                if at + V::LANES <= n {
                    let p = math::exp(V::load(s).sub(logs));
                    p.store(s);
                    p.mul(V::load(d).sub(deltas)).store(d);
                } else {
                    let p = math::exp(V::load_first(s, n - at).sub(logs));
                    p.store_first(s, n - at);
                    p.mul(V::load_first(d, n - at).sub(deltas)).store_first(d, n - at);
                }
            }
        }
        clear_unseen(scores, seen.clone());
        clear_unseen(d_scores, seen);
    }
}

/// A single position of a stream's head and the slots that it sees.
pub(super) struct Step<'a> {
    /// The query for slots up to its own, and for those after it.
    pub queries: [&'a [f32]; 2],
    /// The ring from the head's first value on, `stride` from slot to slot.
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub stride: usize,
    /// The slot of the position, whose key and value are not in the ring yet.
    pub slot: usize,
    pub key: &'a [f32],
    pub value: &'a [f32],
    /// Slots that are seen.
    pub n_slots: usize,
    /// Whether the weights of values are rounded to `bf16`.
    pub rounds: bool,
}

/// o of a single position; `scores` has room for all slots.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn step<V: Vector>(step: &Step<'_>, scores: &mut [f32], out: &mut [f32]) {
    let size = out.len();
    let row = |ring: &'_ [f32], own: &'_ [f32], slot: usize| {
        if slot == step.slot { own.as_ptr() } else { ring[slot * step.stride..][..size].as_ptr() }
    };
    let scores = &mut scores[..step.n_slots];
    // SAFETY: rows of `size` values, by the slices above.
    unsafe {
        for (slot, score) in scores.iter_mut().enumerate() {
            let query = step.queries[usize::from(slot > step.slot)][..size].as_ptr();
            let key = row(step.keys, step.key, slot);
            let mut totals = [V::splat(0.0); CHAINS];
            for (idx, at) in (0..size).step_by(V::LANES).enumerate() {
                let lanes = (size - at).min(V::LANES);
                let total = &mut totals[idx % CHAINS];
                let (q, k) = (query.add(at), key.add(at));
                *total = if lanes == V::LANES {
                    V::load(q).mul_add(V::load(k), *total)
                } else {
                    V::load_first(q, lanes).mul_add(V::load_first(k, lanes), *total)
                };
            }
            *score = totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum();
        }
        let n_slots = scores.len();
        let (_, sum) = softmax::<V>(scores, [0..n_slots, n_slots..n_slots]);
        if step.rounds {
            round(scores);
        }
        let share = V::splat(1.0 / sum);
        for first in (0..size).step_by(CHAINS * V::LANES) {
            let width = |v: usize| (size - first).saturating_sub(v * V::LANES).min(V::LANES);
            let mut totals = [V::splat(0.0); CHAINS];
            for (slot, &p) in scores.iter().enumerate() {
                let (p, value) = (V::splat(p), row(step.values, step.value, slot).add(first));
                for (v, total) in totals.iter_mut().enumerate() {
                    if width(v) == V::LANES {
                        *total = p.mul_add(V::load(value.add(v * V::LANES)), *total);
                    } else if width(v) > 0 {
                        let rest = V::load_first(value.add(v * V::LANES), width(v));
                        *total = p.mul_add(rest, *total);
                    }
                }
            }
            for (v, total) in totals.iter().enumerate() {
                if width(v) > 0 {
                    let to = out.as_mut_ptr().add(first + v * V::LANES);
                    total.mul(share).store_first(to, width(v));
                }
            }
        }
    }
}

thread_local! {
    /// Queries, key, value and scores of a position.
    static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// o of a window of one position.
///
/// # Safety
/// Nobody else has the head's part of `out`; the machine has the instruction set of the loops.
pub(super) unsafe fn one_position(head: &Head<'_>, rounds: bool, out: &SharedSlice<'_, f32>) {
    let size = head.size();
    let context = head.attention.context;
    let place = head.start();
    let slot = place % context;
    let is_full = head.attention.positions == Positions::Rotary && place >= context;
    let n_slots = if is_full { context } else { slot + 1 };
    ROOM.with_borrow_mut(|room| {
        room.resize(room.len().max(4 * size + context), 0.0);
        let (rows, scores) = room.split_at_mut(4 * size);
        let [now, before, key, value] = rows_of(rows, size);
        let scale = 1.0 / (size as f32).sqrt();
        let rotate = head.loops.rotate;
        // SAFETY: by this function's contract.
        unsafe {
            rotate(head.part(0, 0), now, head.rotation.by(slot), scale);
            rotate(head.part(0, 0), before, head.rotation.by(slot + context), scale);
            rotate(head.part(0, 1), key, head.rotation.by(slot), 1.0);
        }
        value.copy_from_slice(head.part(0, 2));
        if rounds {
            [&mut *now, before, key, value].into_iter().for_each(round);
        }
        let at = head.stream * context * head.shape.width + head.head * size;
        let step = Step {
            queries: [now, before],
            keys: &head.memory.keys[at..],
            values: &head.memory.values[at..],
            stride: head.shape.width,
            slot,
            key,
            value,
            n_slots,
            rounds,
        };
        // SAFETY: by this function's contract.
        unsafe { (head.loops.step)(&step, scores, out.slice(head.out(0))) };
    });
}

/// Four rows of one buffer.
fn rows_of(rows: &mut [f32], size: usize) -> [&mut [f32]; 4] {
    let (first, rest) = rows.split_at_mut(size);
    let (second, rest) = rest.split_at_mut(size);
    let (third, fourth) = rest.split_at_mut(size);
    [first, second, third, fourth]
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops { rotate, softmax, scores_back, step };

        $(#[$feature])?
        unsafe fn rotate(
            from: &[f32],
            to: &mut [f32],
            angle: super::rotation::Angle<'_, f32>,
            scale: f32,
        ) {
            // SAFETY: by this function's contract, which is that of `vector::rotate`.
            unsafe { super::vector::rotate::<$vector>(from, to, angle, scale) }
        }

        $(#[$feature])?
        unsafe fn softmax(row: &mut [f32], seen: super::Seen) -> (f32, f32) {
            // SAFETY: by this function's contract, which is that of `vector::softmax`.
            unsafe { super::vector::softmax::<$vector>(row, seen) }
        }

        $(#[$feature])?
        unsafe fn scores_back(
            scores: &mut [f32],
            d_scores: &mut [f32],
            seen: super::Seen,
            log: f32,
            delta: f32,
        ) {
            // SAFETY: by this function's contract, which is that of `vector::scores_back`.
            unsafe { super::vector::scores_back::<$vector>(scores, d_scores, seen, log, delta) }
        }

        $(#[$feature])?
        unsafe fn step(of: &super::Step<'_>, scores: &mut [f32], out: &mut [f32]) {
            // SAFETY: by this function's contract, which is that of `vector::step`.
            unsafe { super::vector::step::<$vector>(of, scores, out) }
        }
    };
}

pub(super) use loops;
