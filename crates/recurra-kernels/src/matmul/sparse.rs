//! Products with a matrix that is half zeros, as dropout leaves it: what is zero is not multiplied.
//!
//! A block of 64 rows and a few vectors of columns of B lies in the first cache; a row of A goes over it with all its sums in
//! registers, from one value that is not zero to the next, which a word of 64 bits names. Each step of k costs a read of B
//! where a dense tile reads B once for all its rows: so this pays from about half zeros on, and more where a register is
//! shorter than what the first cache delivers. As x + 0·b is x for every finite b, the values are those of the dense product, bit for
//! bit but for the sign of a zero. (Zeros times what is not finite are left out too; such weights spoil the rows that do use them.)
//!
//! Where the zeros are in B (the gradient of a weight), Cᵀ = Bᵀ·Aᵀ is computed, and turned while it is in the second cache.

use super::ahead::Ahead;
use super::blocks::{Grid, Right};
use super::buffer::Buffer;
use super::kernels::{Kernels, strip};
use super::sparse_rows::{DEPTH, SparseLoops, SparseRows, WIDTH};
use super::vector::{Strip, TileStart};
use super::{Matrix, Start};
use crate::{Cpu, SharedSlice};
use std::cell::RefCell;
use std::ops::Range;

/// Fewer rows are not worth laying out blocks of B for.
const LEAST_ROWS: usize = 128;
/// Blocks of columns that are tasks enough; not a matter of how many threads there are, or bits might be.
const LEAST_BLOCKS: usize = 8;
/// Steps of k below which it is not worth looking for zeros.
const LEAST_DEPTH: usize = 32;
/// More sums than these are left to the dense product where they are written in pieces of rows: these lie in pages of their
/// own, and all of them wait for memory at the end of a block.
const MOST_SUMS: usize = 1 << 22;
/// Rows that are looked at to guess how much is zero, and values of each.
const SAMPLE_ROWS: usize = 32;
const SAMPLE_VALUES: usize = 64;
/// Rows whose bits are one task.
const TASK_ROWS: usize = 16;

thread_local! {
    /// A laid out row by row, and its bits: on behalf of the thread that called.
    static SHARED: RefCell<(Buffer<f32>, Vec<u64>)> = const { RefCell::new((Buffer::new(), Vec::new())) };
    /// A block of B, and some columns of Cᵀ, of one thread.
    static PRIVATE: RefCell<[Buffer<f32>; 2]> = const { RefCell::new([Buffer::new(), Buffer::new()]) };
}

/// C ← start + A·B if A or B has so many zeros that leaving them out pays; else nothing, and `false`.
pub(super) fn product(
    cpu: &Cpu,
    kernels: &'static Kernels,
    a: Matrix<f32>,
    b: Right,
    start: Start<f32>,
    c: &mut [f32],
) -> bool {
    let Some(loops) = kernels.sparse else { return false };
    let pays = |left: Matrix<f32>, others: usize| {
        left.rows() >= LEAST_ROWS
            && left.cols() >= LEAST_DEPTH
            && others.div_ceil(WIDTH * kernels.lanes) >= LEAST_BLOCKS
            && share_kept(left) <= loops.most_kept
    };
    let c = SharedSlice::new(c);
    let (a, b, is_turned) = match b {
        _ if a.col_stride() == 1 && c.len() <= MOST_SUMS && pays(a, b.cols()) => (a, b, false),
        Right::Matrix(b) if b.col_stride() == 1 && pays(b.transposed(), a.rows()) => {
            if matches!(start, Start::Bias(_)) {
                return false;
            }
            (b.transposed(), Right::Matrix(a.transposed()), true)
        }
        _ => return false,
    };
    let cols = b.cols();
    Job { kernels, loops, a, b, start, c: &c, cols, is_turned }.run(cpu);
    true
}

/// About which share of the values is not zero.
fn share_kept(a: Matrix<f32>) -> f64 {
    let (rows, depth) = (a.rows(), a.cols());
    let (n_rows, n) = (rows.min(SAMPLE_ROWS), depth.min(SAMPLE_VALUES));
    let places = (0..n_rows * n).map(|idx| {
        let (i, k) = (idx / n, idx % n);
        (rows * i / n_rows, (depth - n) * i / n_rows + k)
    });
    let kept = places.filter(|&(row, k)| a.at(row, k) != 0.0).count();
    kept as f64 / (n_rows * n) as f64
}

/// A product whose left operand has the zeros.
struct Job<'a> {
    kernels: &'static Kernels,
    loops: &'static SparseLoops,
    a: Matrix<'a, f32>,
    b: Right<'a>,
    start: Start<'a, f32>,
    c: &'a SharedSlice<'a, f32>,
    cols: usize,
    /// Whether C is to be written with rows and columns exchanged.
    is_turned: bool,
}

/// A as the loop over rows reads it.
#[derive(Clone, Copy)]
struct Left<'a> {
    values: *const f32,
    stride: usize,
    kept: &'a SharedSlice<'a, u64>,
}

// SAFETY: the pointer stands for values that outlive the threads' work, and that are written before a barrier and read after.
unsafe impl Sync for Left<'_> {}

impl Job<'_> {
    fn run(&self, cpu: &Cpu) {
        let (rows, depth) = (self.a.rows(), self.a.cols());
        SHARED.with_borrow_mut(|(buffer, kept)| {
            kept.clear();
            kept.resize(rows * self.words(), 0);
            let laid_out =
                SharedSlice::new(buffer.take(if self.is_turned { rows * depth } else { 0 }));
            let kept = SharedSlice::new(kept);
            let (values, stride) = if self.is_turned {
                (laid_out.ptr(0).cast_const(), depth)
            } else {
                (self.a.values().as_ptr(), self.a.row_stride())
            };
            let left = Left { values, stride, kept: &kept };
            let grid = Grid::of_columns(self.cols.div_ceil(self.width()));
            let prepare = |rows| self.prepare(rows, &laid_out, &left);
            cpu.pool().for_each_block(rows, TASK_ROWS, prepare);
            cpu.pool().offer(|worker| {
                PRIVATE.with_borrow_mut(|room| {
                    grid.each(worker, |_, columns| {
                        columns.for_each(|idx| self.multiply(idx, &left, room));
                    });
                });
            });
        });
    }

    /// Columns of a block of B.
    fn width(&self) -> usize {
        WIDTH * self.kernels.lanes
    }

    /// Words of bits a row has.
    fn words(&self) -> usize {
        self.a.cols().div_ceil(DEPTH)
    }

    /// Lays out some rows of A where they are columns in memory, and finds their bits.
    fn prepare(&self, rows: Range<usize>, laid_out: &SharedSlice<f32>, left: &Left) {
        let depth = self.a.cols();
        // SAFETY: each task has rows of its own, which lie inside; `Cpu` has found the instruction set.
        unsafe {
            if self.is_turned {
                let strip = strip(self.a.block(rows.clone(), 0..depth), depth, 0, 1);
                (self.kernels.pack_cols)(&strip, laid_out.ptr(rows.start * depth));
            }
            for row in rows {
                let values = left.values.add(row * left.stride);
                for (word, k) in (0..depth).step_by(DEPTH).enumerate() {
                    let place = word * self.a.rows() + row;
                    left.kept.slice(place..place + 1)[0] =
                        (self.loops.kept)(values.add(k), DEPTH.min(depth - k));
                }
            }
        }
    }

    /// One block of columns of C.
    fn multiply(&self, idx: usize, left: &Left, [b_room, c_room]: &mut [Buffer<f32>; 2]) {
        let (rows, depth, width) = (self.a.rows(), self.a.cols(), self.width());
        let first = idx * width;
        let cols = width.min(self.cols - first);
        let b_room = b_room.take(DEPTH * width);
        // Between the first step and the last, sums lie close together in the second cache.
        let room = c_room.take(rows * width).as_mut_ptr();
        let [c_first, c_last] = match (self.is_turned, cols == width) {
            (true, _) => [(room, width); 2],
            (false, true) => [(self.c.ptr(first), self.cols), (room, width)],
            (false, false) => [(self.c.ptr(first), self.cols); 2],
        };
        if self.is_turned && matches!(self.start, Start::Sum) {
            let before = self.c.ptr(first * rows).cast_const();
            let strip =
                Strip { first: before, across: rows, along: 1, n: cols, depth: rows, width };
            // SAFETY: these rows of C are this task's; there is room for `rows` × `width`.
            unsafe { (self.kernels.pack_cols)(&strip, room) };
        }
        for k in (0..depth).step_by(DEPTH) {
            self.lay_out(idx, k, b_room);
            let is_last = k + DEPTH >= depth;
            let (next, next_k) = if is_last { (idx + 1, 0) } else { (idx, k + DEPTH) };
            let from = if k == 0 { c_first } else { c_last };
            let rows_of_a = SparseRows {
                n: rows,
                a: left.values.wrapping_add(k),
                a_stride: left.stride,
                kept: left.kept.ptr(k / DEPTH * rows),
                b: b_room.as_ptr(),
                start: match self.start {
                    _ if k > 0 => TileStart::Sum,
                    Start::Zero => TileStart::Zero,
                    Start::Bias(bias) => TileStart::Bias(bias[first..].as_ptr()),
                    Start::Sum => TileStart::Sum,
                },
                from: (from.0.cast_const(), from.1),
                to: if is_last { c_first } else { c_last },
                cols: if self.is_turned { width } else { cols },
                ahead: Ahead::over(self.source(next, next_k), rows),
            };
            // SAFETY: A and B are laid out, the columns of C are this task's, `Cpu` has found the instruction set.
            unsafe { (self.loops.multiply)(rows_of_a) };
        }
        if self.is_turned {
            let to = self.c.ptr(first * rows);
            let strip =
                Strip { first: room, across: width, along: 1, n: rows, depth: cols, width: rows };
            // SAFETY: `cols` rows of C, which are this task's.
            unsafe { (self.kernels.pack_cols)(&strip, to) };
        }
    }

    /// Where block `idx` of the columns of B lies, from step `k` on; for panels, a panel a row.
    fn source(&self, idx: usize, k: usize) -> Matrix<'_, f32> {
        let width = self.width();
        let depth = k..(k + DEPTH).min(self.a.cols());
        let columns = (idx * width).min(self.cols)..((idx + 1) * width).min(self.cols);
        match self.b {
            Right::Matrix(b) => b.block(depth, columns),
            Right::Panels { panels, depth: all, .. } => {
                let Kernels { cols, col_step, .. } = *self.kernels;
                let apart = self.kernels.col_panel(all);
                let n = columns.len().div_ceil(cols);
                let first = (columns.start / cols * apart + k * col_step).min(panels.len());
                let panels = if n == 0 { &[] } else { &panels[first..] };
                Matrix::with_strides(panels, n, depth.len() * col_step, apart)
            }
        }
    }

    /// Lays out the block of B: `WIDTH` vectors for each step of k.
    fn lay_out(&self, idx: usize, k: usize, room: &mut [f32]) {
        let (width, source) = (self.width(), self.source(idx, k));
        match self.b {
            Right::Matrix(_) => {
                let strip = strip(source, width, 0, 1);
                // SAFETY: room for `DEPTH` steps; `Cpu` has found the instruction set.
                unsafe { (self.kernels.pack_cols)(&strip, room.as_mut_ptr()) };
            }
            Right::Panels { .. } => {
                let step = self.kernels.col_step;
                for panel in 0..source.rows() {
                    let from = &source.values()[panel * source.row_stride()..][..source.cols()];
                    for (from, to) in from.chunks_exact(step).zip(room.chunks_exact_mut(width)) {
                        to[panel * step..][..step].copy_from_slice(from);
                    }
                }
            }
        }
    }
}
