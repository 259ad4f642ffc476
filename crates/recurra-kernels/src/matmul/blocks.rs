//! The product cut into blocks for the caches and tasks for the threads, whatever the instruction set.
//!
//! After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and BLIS (Van Zee and
//! van de Geijn 2015): both operands are laid out in panels; a task multiplies a block of panels that stays in the second
//! cache, `DEPTH` steps of k at a time so that a panel of B stays in the first. A tile begins with what C holds, so each
//! value of C is one fused chain over k from the first to the last, and its bits depend on no block size, no tile edge,
//! no number of rows and no number of threads.

use super::buffer::Buffer;
use super::vector::{Strip, Tile, TileStart};
use super::{Matrix, Start};
use crate::{Cpu, SharedSlice};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The loops of one instruction set, and how it lays out panels: in units of the size of an `f32`, whatever they hold.
pub(crate) struct Kernels {
    /// Rows of a tile, the width of a panel of A.
    pub rows: usize,
    /// Columns of a tile, the width of a panel of B.
    pub cols: usize,
    /// Units of memory a k takes in a panel of A and of B.
    pub row_step: usize,
    pub col_step: usize,
    /// Panels hold whole multiples of so many k, zero past the last.
    pub depth_unit: usize,
    /// Steps of k that a panel of B is used for at a time, so that it stays in the first cache.
    pub block_depth: usize,
    /// Steps of k that are laid out at a time, so that a task has rows enough for its depth.
    pub most_depth: usize,
    /// How many rows and columns an entry of `tiles` stands for.
    pub tile_rows: usize,
    pub lanes: usize,
    /// `tiles[r][v]` multiplies up to `(r + 1) · tile_rows` rows by up to `(v + 1) · lanes` columns of a panel of B.
    pub tiles: &'static [&'static [TileLoop]],
    /// `wide[r]` multiplies so few rows by several panels of B at once: one panel alone has too few chains to hide the
    /// latency of an addition.
    pub wide: &'static [(usize, TileLoop)],
    pub pack_rows: PackLoop,
    pub pack_cols: PackLoop,
    /// What a thread does before and after its tiles.
    pub enter: unsafe fn(),
    pub leave: unsafe fn(),
}

impl Kernels {
    /// Steps of k that a panel of `depth` holds.
    pub fn padded(&self, depth: usize) -> usize {
        depth.next_multiple_of(self.depth_unit)
    }

    /// Units of memory in a panel of B.
    pub fn col_panel(&self, depth: usize) -> usize {
        self.col_step * self.padded(depth)
    }

    /// Units of memory in a panel of A.
    pub fn row_panel(&self, depth: usize) -> usize {
        self.row_step * self.padded(depth)
    }

    /// Units of memory in all panels of a matrix of `depth` rows and `cols` columns.
    pub fn all_panels(&self, depth: usize, cols: usize) -> usize {
        cols.div_ceil(self.cols) * self.col_panel(depth)
    }
}

/// `enter` and `leave` of instruction sets that keep nothing between tiles.
pub(super) unsafe fn nothing() {}

type TileLoop = unsafe fn(&Tile);
type PackLoop = unsafe fn(&Strip, *mut f32);

/// Values of A and columns of B and C in a task: a MiB and half a MiB of the second cache at a depth of 650. A stays there while tasks go along the columns.
const TASK_VALUES: usize = 1 << 18;
const TASK_COLS: usize = 192;
/// Rows, columns and values of an operand that are laid out at a time (8 MiB an operand).
const MOST_ACROSS: usize = 4096;
const MOST_VALUES: usize = 1 << 21;
/// Below this many multiplications other threads would still be waking up when the work is done.
const ALONE: usize = 1 << 16;
/// Below this many values of A its panels are laid out by the caller before the others wake.
const PACK_ALONE: usize = 1 << 13;

thread_local! {
    /// Panels that all threads read: laid out on behalf of the thread that called.
    static SHARED: RefCell<[Buffer<f32>; 2]> = const { RefCell::new([Buffer::new(), Buffer::new()]) };
    /// Panels that one thread lays out and reads.
    static PRIVATE: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
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

/// Lays out all of `b` in panels.
pub(super) fn pack_all(cpu: &Cpu, kernels: &Kernels, b: Matrix<f32>, panels: &mut [f32]) {
    let size = kernels.col_panel(b.rows());
    let n_panels = b.cols().div_ceil(kernels.cols);
    assert_eq!(panels.len(), n_panels * size, "room for the panels");
    let shared = SharedSlice::new(panels);
    cpu.pool().for_each(n_panels, |idx| {
        // SAFETY: one panel a task, inside `panels`.
        unsafe { (kernels.pack_cols)(&columns(kernels, b, idx), shared.ptr(idx * size)) };
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
    let cols = match b {
        Right::Matrix(b) => b.cols(),
        Right::Panels { cols, .. } => cols,
    };
    if rows == 0 || cols == 0 {
        return;
    }
    let c = SharedSlice::new(c);
    // Whole panels of B at a time, and equal pieces.
    let across = MOST_ACROSS.min(rows.max(cols));
    let row_pieces = pieces(rows, kernels.rows, MOST_ACROSS);
    let most_depth = (MOST_VALUES / across).clamp(kernels.block_depth, kernels.most_depth);
    let depth_pieces = pieces(depth, kernels.depth_unit, most_depth);
    for col_piece in pieces(cols, kernels.cols, MOST_ACROSS) {
        for row_piece in row_pieces.clone() {
            for depth_piece in depth_pieces.clone() {
                let first = depth_piece.start == 0;
                let job = Job {
                    kernels,
                    a: a.block(row_piece.clone(), depth_piece.clone()),
                    b: match b {
                        Right::Matrix(b) => {
                            Right::Matrix(b.block(depth_piece.clone(), col_piece.clone()))
                        }
                        panels @ Right::Panels { .. } => panels,
                    },
                    first_k: depth_piece.start,
                    start: if first { start } else { Start::Sum },
                    c: &c,
                    first_row: row_piece.start,
                    cols: col_piece.clone(),
                    c_stride: cols,
                };
                job.run(cpu);
            }
        }
    }
}

/// 0..n in equal pieces of whole `unit`s, none longer than `most` (rounded to units).
fn pieces(n: usize, unit: usize, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let units = n.div_ceil(unit);
    // One empty piece where there is nothing to sum: C still has to be set to its start.
    let count = units.div_ceil((most / unit).max(1)).max(1);
    (0..count)
        .map(move |idx| (units * idx / count * unit)..(units * (idx + 1) / count * unit).min(n))
}

/// The strip of columns of `b` that makes panel `idx`.
fn columns(kernels: &Kernels, b: Matrix<f32>, idx: usize) -> Strip {
    let first = idx * kernels.cols;
    let n = (b.cols() - first).min(kernels.cols);
    let block = b.block(0..b.rows(), first..first + n);
    Strip {
        first: block.values().as_ptr(),
        across: block.col_stride(),
        along: block.row_stride(),
        n,
        depth: block.rows(),
        width: kernels.cols,
    }
}

/// The strip of rows of `a` that makes panel `idx`.
fn rows(kernels: &Kernels, a: Matrix<f32>, idx: usize) -> Strip {
    let first = idx * kernels.rows;
    let n = (a.rows() - first).min(kernels.rows);
    let block = a.block(first..first + n, 0..a.cols());
    Strip {
        first: block.values().as_ptr(),
        across: block.row_stride(),
        along: block.col_stride(),
        n,
        depth: block.cols(),
        width: kernels.rows,
    }
}

/// A part of the product whose operands are laid out at once.
struct Job<'a> {
    kernels: &'static Kernels,
    a: Matrix<'a, f32>,
    /// The columns of this part, or all panels.
    b: Right<'a>,
    first_k: usize,
    start: Start<'a, f32>,
    c: &'a SharedSlice<'a, f32>,
    first_row: usize,
    cols: Range<usize>,
    c_stride: usize,
}

/// Panels that are ready: where the first begins, how far apart they are.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub first: *const f32,
    pub apart: usize,
    /// From one k to the next.
    pub step: usize,
}

// SAFETY: a block is used by the threads of one call, each at its own panels, while its matrices live.
unsafe impl Sync for Block<'_> {}

// SAFETY: the pointer stands for a slice that outlives the threads' work and that is written only before it is read, with a
// barrier between, or at disjoint places.
unsafe impl Sync for Panels {}

impl Panels {
    /// Those from number `idx` on.
    fn from(&self, idx: usize) -> Self {
        Self { first: self.first.wrapping_add(idx * self.apart), ..*self }
    }

    /// Step `k` of panel `idx`.
    fn at(&self, idx: usize, k: usize) -> *const f32 {
        self.first.wrapping_add(idx * self.apart + k * self.step)
    }
}

impl Job<'_> {
    /// The part of C that is computed.
    fn block(&self) -> Block<'_> {
        let (rows, cols) = (self.a.rows(), self.cols.len());
        let first = self.first_row * self.c_stride + self.cols.start;
        // Inside, because the last of `rows` rows begins there and `cols` values follow.
        assert!(first + (rows - 1) * self.c_stride + cols <= self.c.len(), "a block outside of C");
        Block {
            kernels: self.kernels,
            rows,
            depth: self.a.cols(),
            cols,
            start: match self.start {
                Start::Bias(bias) => Start::Bias(&bias[self.cols.clone()]),
                start => start,
            },
            c: self.c.ptr(first),
            c_stride: self.c_stride,
        }
    }

    fn run(&self, cpu: &Cpu) {
        let Kernels { rows: height, cols: width, row_step, col_step, .. } = *self.kernels;
        let (depth, n_rows, n_cols) = (self.a.cols(), self.a.rows(), self.cols.len());
        let (a_panels, b_panels) = (n_rows.div_ceil(height), n_cols.div_ceil(width));
        let alone = n_rows * n_cols * depth <= ALONE || cpu.threads() == 1;
        // For few rows each task lays out its own columns: they are used once or twice, best while still in the cache.
        let fresh = matches!(self.b, Right::Matrix(_)) && a_panels <= 2;
        SHARED.with_borrow_mut(|[a_buffer, b_buffer]| {
            // A single row of `f32` is a panel as it stands.
            let a_ready = n_rows == 1 && self.kernels.depth_unit == 1;
            let a_size = self.kernels.row_panel(depth);
            let a_buffer = a_buffer.take(if a_ready { 0 } else { a_panels * a_size });
            let b_size = self.kernels.col_panel(depth);
            let pack_b = matches!(self.b, Right::Matrix(_)) && !fresh;
            let b_buffer = b_buffer.take(if pack_b { b_panels * b_size } else { 0 });
            let (a_shared, b_shared) = (SharedSlice::new(a_buffer), SharedSlice::new(b_buffer));
            let a = if a_ready {
                Panels { first: self.a.values().as_ptr(), apart: 0, step: self.a.col_stride() }
            } else {
                Panels { first: a_shared.ptr(0), apart: a_size, step: row_step }
            };
            let b = match self.b {
                Right::Matrix(_) => {
                    Panels { first: b_shared.ptr(0), apart: b_size, step: col_step }
                }
                Right::Panels { panels, depth, .. } => {
                    let apart = self.kernels.col_panel(depth);
                    let start = self.cols.start / width * apart + self.first_k * col_step;
                    Panels {
                        first: panels[start.min(panels.len())..].as_ptr(),
                        apart,
                        step: col_step,
                    }
                }
            };
            let a_count = if a_ready { 0 } else { a_panels };
            let pack_one = |idx: usize| {
                // SAFETY: one panel a call, inside its buffer; nobody reads before all are done.
                unsafe {
                    if idx < a_count {
                        (self.kernels.pack_rows)(
                            &rows(self.kernels, self.a, idx),
                            a_shared.ptr(idx * a_size),
                        );
                    } else if let Right::Matrix(b) = self.b {
                        let idx = idx - a_count;
                        (self.kernels.pack_cols)(
                            &columns(self.kernels, b, idx),
                            b_shared.ptr(idx * b_size),
                        );
                    }
                }
            };
            let n_packs = a_count + if pack_b { b_panels } else { 0 };
            let block = self.block();
            let grid = Grid::new(self, a_panels, b_panels, fresh, cpu.threads());
            let task = |idx: usize| {
                let (i, j) = grid.task(idx);
                if let (true, Right::Matrix(matrix)) = (fresh, self.b) {
                    PRIVATE.with_borrow_mut(|buffer| {
                        let panels = buffer.take(j.len() * b_size).as_mut_ptr();
                        for (place, panel) in j.clone().enumerate() {
                            // SAFETY: inside the buffer just taken.
                            unsafe {
                                (self.kernels.pack_cols)(
                                    &columns(self.kernels, matrix, panel),
                                    panels.add(place * b_size),
                                );
                            }
                        }
                        let b = Panels { first: panels, apart: b_size, step: col_step };
                        // SAFETY: panels are laid out, and each task has its own part of C.
                        unsafe { block.multiply(a, b, i, j) };
                    });
                } else {
                    // SAFETY: panels are laid out, and each task has its own part of C.
                    unsafe { block.multiply(a, b.from(j.start), i, j) };
                }
            };
            let pack_first = alone || !pack_b && n_rows * depth <= PACK_ALONE;
            if pack_first {
                (0..n_packs).for_each(pack_one);
            }
            if alone {
                return (0..grid.len()).for_each(task);
            }
            let (packed, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            cpu.pool().run(|worker| {
                if !pack_first {
                    each(&packed, n_packs, &pack_one);
                    worker.barrier();
                }
                each(&done, grid.len(), &task);
            });
        });
    }
}

/// A matrix C whose operands are laid out.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub kernels: &'static Kernels,
    pub rows: usize,
    pub depth: usize,
    pub cols: usize,
    /// A bias has one value for each of `cols`.
    pub start: Start<'a, f32>,
    pub c: *mut f32,
    /// Values from one row of C to the next.
    pub c_stride: usize,
}

impl Block<'_> {
    /// C ← start + A·B for row panels `i` and column panels `j`; `b` begins with the first of `j`.
    ///
    /// # Safety
    /// The panels hold what they should, C is writable there and nobody else has it, and the machine has the instruction
    /// set of the kernels.
    pub unsafe fn multiply(&self, a: Panels, b: Panels, i: Range<usize>, j: Range<usize>) {
        let Kernels { rows: height, cols: width, tile_rows, lanes, tiles, wide, .. } =
            *self.kernels;
        let depth = self.kernels.padded(self.depth);
        // Few rows use a panel of B once: nothing to keep, and one long run is easiest to fetch ahead.
        let n_steps =
            if i.len() == 1 { 1 } else { depth.div_ceil(self.kernels.block_depth).max(1) };
        let step = self.kernels.padded(depth.div_ceil(n_steps).max(1));
        // SAFETY: by this function's contract.
        unsafe { (self.kernels.enter)() };
        let mut k = 0;
        loop {
            let mut panel = j.start;
            while panel < j.end {
                let height_of = |i: usize| (self.rows - i * height).min(height);
                let col = panel * width;
                let left = self.cols - col;
                let (n_panels, wide_loop) = match wide.get((height_of(i.start) - 1) / tile_rows) {
                    Some(&(n, wide)) if i.len() == 1 && panel + n <= j.end && left >= n * width => {
                        (n, Some(wide))
                    }
                    _ => (1, None),
                };
                let cols = left.min(n_panels * width);
                for i in i.clone() {
                    let rows = height_of(i);
                    let c = self.c.wrapping_add(i * height * self.c_stride + col);
                    let tile = Tile {
                        rows,
                        depth: (depth - k).min(step),
                        a: a.at(i, k),
                        a_step: a.step,
                        b: b.at(panel - j.start, k),
                        b_panel: b.apart,
                        start: match self.start {
                            _ if k > 0 => TileStart::Sum,
                            Start::Zero => TileStart::Zero,
                            Start::Bias(bias) => TileStart::Bias(bias[col..][..cols].as_ptr()),
                            Start::Sum => TileStart::Sum,
                        },
                        c,
                        c_stride: self.c_stride,
                        cols,
                        next_a: a.at(i + 1, k),
                        next_c: c.wrapping_add(height * self.c_stride),
                    };
                    // SAFETY: by this function's contract.
                    unsafe {
                        wide_loop
                            .unwrap_or_else(|| tiles[(rows - 1) / tile_rows][(cols - 1) / lanes])(
                            &tile,
                        );
                    }
                }
                panel += n_panels;
            }
            k += step;
            if k >= depth {
                break;
            }
        }
        // SAFETY: as above.
        unsafe { (self.kernels.leave)() };
    }
}

/// Runs what is left of 0..n, each once, as long as there is any.
fn each(next: &AtomicUsize, n: usize, run: &impl Fn(usize)) {
    loop {
        let idx = next.fetch_add(1, Ordering::Relaxed);
        if idx >= n {
            return;
        }
        run(idx);
    }
}

/// Which panels make a task: equal shares of rows and columns.
struct Grid {
    a_panels: usize,
    b_panels: usize,
    n_i: usize,
    n_j: usize,
}

impl Grid {
    fn new(job: &Job, a_panels: usize, b_panels: usize, all_rows: bool, threads: usize) -> Self {
        let Kernels { rows: height, cols: width, .. } = *job.kernels;
        let mut rows = (TASK_VALUES / (job.a.cols().max(1) * height)).max(1);
        let mut cols = (TASK_COLS / width).max(1);
        if all_rows {
            rows = a_panels;
        }
        let count = |rows: usize, cols: usize| a_panels.div_ceil(rows) * b_panels.div_ceil(cols);
        while threads > 1 && count(rows, cols) < 4 * threads {
            if cols > 1 && (all_rows || cols * width >= rows * height || rows == 1) {
                cols = cols.div_ceil(2);
            } else if rows > 1 && !all_rows {
                rows = rows.div_ceil(2);
            } else {
                break;
            }
        }
        Self { a_panels, b_panels, n_i: a_panels.div_ceil(rows), n_j: b_panels.div_ceil(cols) }
    }

    fn len(&self) -> usize {
        self.n_i * self.n_j
    }

    /// Columns change fastest, so that a thread's next task finds its panels of A in its cache.
    fn task(&self, idx: usize) -> (Range<usize>, Range<usize>) {
        let share = |n: usize, count: usize, idx: usize| n * idx / count..n * (idx + 1) / count;
        (
            share(self.a_panels, self.n_i, idx / self.n_j),
            share(self.b_panels, self.n_j, idx % self.n_j),
        )
    }
}
