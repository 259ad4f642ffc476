//! The product cut into blocks for the caches and tasks for the threads, whatever the instruction set.
//!
//! After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and BLIS (Van Zee and
//! van de Geijn 2015), with the parts of the operands exchanged: A is laid out in panels by all threads together; a task
//! lays out a block of columns of B that stays in its second cache, and the panels of A go past it one after the other. So
//! nothing of B is ever written further away than that cache, and a tile of C is touched once for a thousand steps of k. A
//! tile begins with what C holds, so each value of C is one fused chain over k from the first to the last, and its bits
//! depend on no block size, no tile edge, no number of rows and no number of threads.

use super::block::Block;
use super::buffer::Buffer;
use super::kernels::{Kernels, Panels, columns, rows};
use super::{Matrix, Start};
use crate::{Cpu, SharedSlice, Worker};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Units of memory (`f32`, or two `bf16`) of B in a task: a MiB of the second cache.
const TASK_UNITS: usize = 1 << 18;
/// Most rows of a task, so that members finish at nearly the same time.
const TASK_ROWS: usize = 512;
/// Values of A that are laid out at a time: 8 MiB.
const MOST_VALUES: usize = 1 << 21;
/// Panels of A that a task lays out for itself at a time: a third of a MiB.
const PRIVATE_PANELS: usize = 8;
/// Below this many multiplications other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 16;
/// Below this many values of A its panels are laid out by the caller before the others wake.
const PACK_ALONE: usize = 1 << 13;

thread_local! {
    /// Panels of A, which all threads read: laid out on behalf of the thread that called.
    static SHARED: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
    /// Panels of A and of B that one thread lays out and reads.
    static PRIVATE: RefCell<[Buffer<f32>; 2]> = const { RefCell::new([Buffer::new(), Buffer::new()]) };
}

/// The right operand.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    Matrix(Matrix<'a, f32>),
    /// All panels of the whole matrix, one after the other.
    Panels {
        panels: &'a [f32],
        depth: usize,
        cols: usize,
    },
}

impl Right<'_> {
    pub(super) fn cols(&self) -> usize {
        match self {
            Right::Matrix(b) => b.cols(),
            Right::Panels { cols, .. } => *cols,
        }
    }
}

/// Lays out all of `b` in panels.
pub(super) fn pack_all(cpu: &Cpu, kernels: &Kernels, b: Matrix<f32>, panels: &mut [f32]) {
    let size = kernels.col_panel(b.rows());
    let n_panels = b.cols().div_ceil(kernels.cols);
    assert_eq!(panels.len(), n_panels * size, "room for the panels");
    let shared = SharedSlice::new(panels);
    let count = kernels.packed_at_once;
    cpu.pool().for_each(n_panels.div_ceil(count), |group| {
        let idx = group * count;
        // SAFETY: some panels a task, inside `panels`.
        unsafe { (kernels.pack_cols)(&columns(kernels, b, idx, count), shared.ptr(idx * size)) };
    });
}

/// C ← start + A·B.
pub(super) fn product(
    cpu: &Cpu,
    kernels: &'static Kernels,
    a: Matrix<f32>,
    b: Right,
    start: Start<f32>,
    c: &mut [f32],
) {
    let (rows, depth) = (a.rows(), a.cols());
    let cols = b.cols();
    if rows == 0 || cols == 0 {
        return;
    }
    let c = SharedSlice::new(c);
    for depth_piece in pieces(depth, kernels.depth_unit, kernels.most_depth) {
        let first_k = depth_piece.start;
        let most_rows = MOST_VALUES / depth_piece.len().max(1);
        for row_piece in pieces(rows, kernels.rows, most_rows) {
            let job = Job {
                kernels,
                a: a.block(row_piece.clone(), depth_piece.clone()),
                b: match b {
                    Right::Matrix(b) => Right::Matrix(b.block(depth_piece.clone(), 0..cols)),
                    panels @ Right::Panels { .. } => panels,
                },
                first_k,
                start: if first_k == 0 { start } else { Start::Sum },
                c: &c,
                first_row: row_piece.start,
                cols,
            };
            job.run(cpu);
        }
    }
}

/// 0..n in equal pieces of whole `unit`s, none longer than `most` (rounded to units).
fn pieces(n: usize, unit: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let units = n.div_ceil(unit);
    // One empty piece where there is nothing to sum: C still has to be set to its start.
    let count = units.div_ceil((most / unit).max(1)).max(1);
    (0..count)
        .map(move |idx| (units * idx / count * unit)..(units * (idx + 1) / count * unit).min(n))
}

/// A part of the product for which A is laid out at once.
struct Job<'a> {
    kernels: &'static Kernels,
    a: Matrix<'a, f32>,
    /// Some rows of B, or all panels.
    b: Right<'a>,
    first_k: usize,
    start: Start<'a, f32>,
    c: &'a SharedSlice<'a, f32>,
    first_row: usize,
    cols: usize,
}

impl Job<'_> {
    fn run(&self, cpu: &Cpu) {
        let (depth, n_rows) = (self.a.cols(), self.a.rows());
        let alone = n_rows * self.cols * depth <= ALONE || cpu.threads() == 1;
        let grid = Grid::new(self, if alone { 1 } else { cpu.threads() });
        // A single row of `f32` is a panel as it stands.
        if n_rows == 1 && self.kernels.depth_unit == 1 {
            let a = Panels { first: self.a.values().as_ptr(), apart: 0, step: self.a.col_stride() };
            return self.on_team(cpu, alone, |worker| self.multiply(worker, &grid, Some(a)));
        }
        if grid.lays_out_rows {
            return self.on_team(cpu, alone, |worker| self.multiply(worker, &grid, None));
        }
        SHARED.with_borrow_mut(|buffer| {
            let size = self.kernels.row_panel(depth);
            let shared = SharedSlice::new(buffer.take(grid.a_panels * size));
            let a = Panels { first: shared.ptr(0), apart: size, step: self.kernels.row_step };
            let at_once = self.kernels.packed_at_once;
            let pack = |group: usize| {
                let idx = group * at_once;
                let strip = rows(self.kernels, self.a, idx, at_once);
                // SAFETY: some panels a call, inside the buffer; nobody reads before all are done.
                unsafe { (self.kernels.pack_rows)(&strip, shared.ptr(idx * size)) };
            };
            let n_packs = grid.a_panels.div_ceil(at_once);
            let packs_alone = alone || n_rows * depth <= PACK_ALONE;
            cpu.pool().for_each_or_alone(packs_alone, n_packs, pack);
            self.on_team(cpu, alone, |worker| self.multiply(worker, &grid, Some(a)));
        });
    }

    fn on_team(&self, cpu: &Cpu, alone: bool, work: impl Fn(&Worker<'_>) + Sync) {
        if alone { cpu.pool().alone(work) } else { cpu.pool().offer(work) }
    }

    /// One member's tasks: its own share, and then whatever the others have not begun. Where A has not been laid out, a
    /// task does it for some panels at a time.
    fn multiply(&self, worker: &Worker<'_>, grid: &Grid, a: Option<Panels>) {
        let block = self.block();
        PRIVATE.with_borrow_mut(|[a_buffer, b_buffer]| {
            let mut held = None;
            grid.each(worker, |i, j| {
                let b = match self.b {
                    Right::Panels { panels, depth, .. } => {
                        let (apart, step) = (self.kernels.col_panel(depth), self.kernels.col_step);
                        let start = (j.start * apart + self.first_k * step).min(panels.len());
                        Panels { first: panels[start..].as_ptr(), apart, step }
                    }
                    Right::Matrix(matrix) => {
                        if held != Some(j.start) {
                            held = Some(j.start);
                            self.lay_out_columns(matrix, j.clone(), b_buffer);
                        }
                        let apart = self.kernels.col_panel(matrix.rows());
                        let first = b_buffer.first(0).as_ptr();
                        Panels { first, apart, step: self.kernels.col_step }
                    }
                };
                if let Some(a) = a {
                    // SAFETY: panels are laid out, and each task has its own part of C.
                    return unsafe { block.multiply(a, b, i, j) };
                }
                for first in i.clone().step_by(PRIVATE_PANELS) {
                    let i = first..i.end.min(first + PRIVATE_PANELS);
                    let a = self.lay_out_rows(i.clone(), a_buffer);
                    // SAFETY: as above.
                    unsafe { block.multiply(a, b, i, j.clone()) };
                }
            });
        });
    }

    /// The panels `j` of B.
    fn lay_out_columns(&self, matrix: Matrix<f32>, j: Range<usize>, buffer: &mut Buffer<f32>) {
        let size = self.kernels.col_panel(matrix.rows());
        let panels = buffer.take(j.len() * size);
        for idx in j.clone().step_by(self.kernels.packed_at_once) {
            let count = self.kernels.packed_at_once.min(j.end - idx);
            let to = panels[(idx - j.start) * size..][..count * size].as_mut_ptr();
            // SAFETY: room for `count` panels, by the line before.
            unsafe { (self.kernels.pack_cols)(&columns(self.kernels, matrix, idx, count), to) };
        }
    }

    /// The panels `i` of A, counted from the first of all.
    fn lay_out_rows(&self, i: Range<usize>, buffer: &mut Buffer<f32>) -> Panels {
        let size = self.kernels.row_panel(self.a.cols());
        let panels = buffer.take(i.len() * size);
        for idx in i.clone().step_by(self.kernels.packed_at_once) {
            let count = self.kernels.packed_at_once.min(i.end - idx);
            let to = panels[(idx - i.start) * size..][..count * size].as_mut_ptr();
            // SAFETY: room for `count` panels, by the line before.
            unsafe { (self.kernels.pack_rows)(&rows(self.kernels, self.a, idx, count), to) };
        }
        let first = panels.as_ptr().wrapping_sub(i.start * size);
        Panels { first, apart: size, step: self.kernels.row_step }
    }

    /// The part of C that is computed.
    fn block(&self) -> Block<'_> {
        let rows = self.a.rows();
        let first = self.first_row * self.cols;
        assert!(first + rows * self.cols <= self.c.len(), "a block outside of C");
        Block {
            kernels: self.kernels,
            rows,
            depth: self.a.cols(),
            cols: self.cols,
            start: self.start,
            c: self.c.ptr(first),
            c_stride: self.cols,
        }
    }
}

/// Runs what is left of `range`, each once, as long as there is any.
fn each(done: &AtomicUsize, range: Range<usize>, mut run: impl FnMut(usize)) {
    loop {
        let idx = range.start + done.fetch_add(1, Ordering::Relaxed);
        if idx >= range.end {
            return;
        }
        run(idx);
    }
}

/// Members with tasks of their own; others help.
const MOST_SHARES: usize = 64;

/// Which panels make a task: equal shares of rows and columns.
pub(super) struct Grid {
    a_panels: usize,
    b_panels: usize,
    n_i: usize,
    n_j: usize,
    /// Whether tasks lay out their panels of A themselves.
    lays_out_rows: bool,
    /// How many tasks of each member's share have been begun.
    begun: [AtomicUsize; MOST_SHARES],
}

impl Grid {
    /// A task for each of so many columns.
    pub(super) fn of_columns(n: usize) -> Self {
        let begun = [const { AtomicUsize::new(0) }; _];
        Self { a_panels: 1, b_panels: n, n_i: 1, n_j: n, lays_out_rows: false, begun }
    }

    fn new(job: &Job, threads: usize) -> Self {
        let Kernels { rows: height, cols: width, .. } = *job.kernels;
        let (n_rows, depth) = (job.a.rows(), job.a.cols().max(1));
        let (a_panels, b_panels) = (n_rows.div_ceil(height), job.cols.div_ceil(width));
        let most_panels = (TASK_UNITS / job.kernels.col_panel(depth)).max(1);
        let fewest = b_panels.div_ceil(most_panels);
        // Rows that are used by one task go from memory to the cache of its thread; laid out with all others they would be
        // written to memory and read again. (With two tasks for the same rows that was no faster.)
        let lays_out_rows = fewest == 1 && (threads == 1 || n_rows > job.cols);
        let n_j = if lays_out_rows { fewest } else { fewest.max(threads.min(b_panels)) };
        // Several tasks each, unless there are so few rows that laying out B would not be worth it.
        let enough = if threads == 1 || a_panels <= 4 { 1 } else { 8 * threads };
        let n_i = enough.div_ceil(n_j).max(a_panels.div_ceil(TASK_ROWS.div_ceil(height)));
        let begun = [const { AtomicUsize::new(0) }; _];
        Self { a_panels, b_panels, n_i: n_i.min(a_panels), n_j, lays_out_rows, begun }
    }

    /// Runs `task` on row and column panels. A member's tasks follow each other down a block of columns.
    pub(super) fn each(
        &self,
        worker: &Worker<'_>,
        mut task: impl FnMut(Range<usize>, Range<usize>),
    ) {
        let part = |n: usize, count: usize, idx: usize| n * idx / count..n * (idx + 1) / count;
        let shares = worker.count().min(MOST_SHARES);
        for share in (0..shares).map(|idx| (worker.index + idx) % shares) {
            each(&self.begun[share], part(self.n_i * self.n_j, shares, share), |idx| {
                task(
                    part(self.a_panels, self.n_i, idx % self.n_i),
                    part(self.b_panels, self.n_j, idx / self.n_i),
                );
            });
        }
    }
}
