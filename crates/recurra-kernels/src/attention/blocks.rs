//! A window of a stream's head: some queries at a time against all keys that they see.

mod backward;
mod forward;

use super::rotation::{Angle, Rotation};
use super::{Attention, Loops, Memory, Positions, Shape};
use crate::matmul::buffer::Buffer;
use crate::matmul::{Kernels, Matrix};
use std::cell::RefCell;
use std::ops::Range;

pub(super) use backward::backward;
pub(super) use forward::forward;

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
    keys_across: Buffer<f32>,
    keys_down: Buffer<f32>,
    values_laid: Buffer<f32>,
    d_keys: Buffer<f32>,
    d_values: Buffer<f32>,
    desk: Desk,
}

/// What some queries need.
#[derive(Default)]
struct Desk {
    queries: Buffer<f32>,
    queries_laid: Buffer<f32>,
    scores: Buffer<f32>,
    d_scores: Buffer<f32>,
    scores_laid: Buffer<f32>,
    out: Buffer<f32>,
    out_left: Buffer<f32>,
    out_right: Buffer<f32>,
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

impl Head<'_> {
    /// The angle of a query in `slot` for keys of so many rounds ago.
    fn angle(&self, slot: usize, ago: usize) -> Angle<'_, f32> {
        self.rotation.by(slot + ago * self.attention.context)
    }

    /// Some queries, turned for keys of so many rounds ago: (queries, D).
    ///
    /// # Safety
    /// The machine has the instruction set of the loops.
    unsafe fn turned<'a>(
        &self,
        queries: &Queries,
        ago: usize,
        to: &'a mut Buffer<f32>,
    ) -> Matrix<'a, f32> {
        let (n, size) = (queries.times.len(), self.size());
        let rows = to.take(n * size);
        for (idx, (row, time)) in rows.chunks_exact_mut(size).zip(queries.times.clone()).enumerate()
        {
            let angle = self.angle(queries.slot + idx, ago);
            // SAFETY: by this function's contract.
            unsafe { (self.loops.rotate)(self.part(time, 0), row, angle, self.scale()) };
        }
        Matrix::new(rows, n, size)
    }
}

/// Values from one row of scores to the next.
fn stride(seen: &[Option<Seen>; 2]) -> usize {
    let end = seen.iter().flatten().map(|seen| seen.cols().end).max().unwrap_or(0);
    end.next_multiple_of(LINE)
}
