//! The loss with AMX, for large vocabularies: a stretch of the vocabulary at a time, on one thread each.
//!
//! The logits of a stretch for all rows stay in the second cache of the thread that computes them: first only to be summed
//! up in the statistics of each row, then again to become d_logits, which are multiplied while they are there. Computing
//! them twice costs less than carrying them through memory: at H = 650 a logit takes a third of a nanosecond, and
//! to write and read one as much. d_hidden sums over the vocabulary, in the order of the vocabulary: d_logits of a chunk
//! of it are kept as `bf16` for one large product.

use super::avx512::KERNEL;
use super::blocks::Shape;
use super::vector::Statistics;
use super::{Arguments, Gradients};
use crate::column_sum::column_sums;
use crate::matmul::buffer::Buffer;
use crate::matmul::{AMX, Block, Matrix, Panels, Start, Strip, each};
use crate::{Cpu, SharedSlice};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;

/// Tokens whose logits a thread holds: 360 KiB for 700 rows.
const STRETCH: usize = 128;
/// From one row of logits to the next: rows whose distance is a power of two would push each other out of the cache.
const STRIDE: usize = STRETCH + 16;
/// Tokens of a task of the first pass, whose statistics become one.
const TASK: usize = 8 * STRETCH;
/// Tokens whose d_logits are kept for a product.
const CHUNK: usize = 32 * STRETCH;
/// Rows at a time.
const MOST_ROWS: usize = 1024;
/// Tokens from which a stretch for each task is enough to share.
const LEAST_TOKENS: usize = 2048;

/// Whether this way is the better one.
pub(super) fn pays(Shape { h, v, .. }: Shape) -> bool {
    v >= LEAST_TOKENS && h > 0
}

thread_local! {
    static SHARED: RefCell<Shared> = const { RefCell::new(Shared::new()) };
    static PRIVATE: RefCell<Private> = const { RefCell::new(Private::new()) };
}

/// What all threads read, laid out by the one that called.
struct Shared {
    hidden_rows: Buffer<f32>,
    hidden_cols: Buffer<f32>,
    d_logits: Buffer<f32>,
    weight_cols: Buffer<f32>,
    statistics: Vec<Statistics>,
}

impl Shared {
    const fn new() -> Self {
        Self {
            hidden_rows: Buffer::new(),
            hidden_cols: Buffer::new(),
            d_logits: Buffer::new(),
            weight_cols: Buffer::new(),
            statistics: Vec::new(),
        }
    }
}

/// What a thread has for itself.
struct Private {
    weight: Buffer<f32>,
    logits: Buffer<f32>,
    d_logits: Buffer<f32>,
}

impl Private {
    const fn new() -> Self {
        Self { weight: Buffer::new(), logits: Buffer::new(), d_logits: Buffer::new() }
    }
}

pub(super) fn run(
    cpu: &Cpu,
    Shape { n, h, v }: Shape,
    arguments: Arguments<f32>,
    nats: &mut [f64],
    mut gradients: Option<Gradients<f32>>,
) {
    SHARED.with_borrow_mut(|shared| {
        let n_blocks = n.div_ceil(MOST_ROWS);
        for block in 0..n_blocks {
            let rows = n * block / n_blocks..n * (block + 1) / n_blocks;
            let n_rows = rows.len();
            let hidden = Matrix::new(&arguments.hidden[rows.start * h..rows.end * h], n_rows, h);
            let hidden_rows = shared.hidden_rows.take(n_rows.div_ceil(AMX.rows) * AMX.row_panel(h));
            let backward = gradients.is_some();
            let hidden_cols =
                shared.hidden_cols.take(if backward { AMX.all_panels(n_rows, h) } else { 0 });
            lay_out_hidden(cpu, hidden, hidden_rows, hidden_cols);
            let n_tasks = v.div_ceil(TASK);
            shared.statistics.clear();
            shared.statistics.resize(n_rows * n_tasks, Statistics::NONE);
            let nats = &mut nats[rows.clone()];
            let pass = Pass {
                arguments: Arguments { targets: &arguments.targets[rows.clone()], ..arguments },
                h,
                v,
                n_rows,
                hidden_rows: panels(hidden_rows, AMX.row_panel(h)),
                hidden_cols: panels(hidden_cols, AMX.col_panel(n_rows)),
            };
            pass.take_statistics(cpu, &mut shared.statistics, nats);
            // The statistics of all tasks become one, in their order.
            let (all, others) = shared.statistics.split_at_mut(n_rows);
            for part in others.chunks_exact(n_rows) {
                all.iter_mut().zip(part).for_each(|(all, part)| all.merge(*part));
            }
            for (nats, Statistics { max, sum }) in nats.iter_mut().zip(all.iter()) {
                *nats += f64::from(*max) + sum.ln();
            }
            if let Some(Gradients { scale, d_hidden, d_weight, d_bias }) = &mut gradients {
                let d_hidden = &mut d_hidden[rows.start * h..rows.end * h];
                let gradients = Gradients { scale: *scale, d_hidden, d_weight, d_bias };
                let buffers = [&mut shared.d_logits, &mut shared.weight_cols];
                pass.differentiate(cpu, all, gradients, buffers);
            }
        }
    });
}

fn panels(values: &[f32], apart: usize) -> Panels {
    Panels { first: values.as_ptr(), apart, step: AMX.col_step }
}

/// h as the left side of the logits, and as the right side of d_weight if there is room for it.
fn lay_out_hidden(cpu: &Cpu, hidden: Matrix<f32>, rows: &mut [f32], cols: &mut [f32]) {
    let (n, h) = (hidden.rows(), hidden.cols());
    let n_row_panels = n.div_ceil(AMX.rows);
    let n_col_panels = if cols.is_empty() { 0 } else { h.div_ceil(AMX.cols) };
    let (rows, cols) = (SharedSlice::new(rows), SharedSlice::new(cols));
    cpu.pool().for_each(n_row_panels + n_col_panels, |idx| {
        // SAFETY: a panel each, inside of what was taken; `Cpu` has found AMX.
        unsafe {
            if let Some(idx) = idx.checked_sub(n_row_panels) {
                let first = idx * AMX.cols;
                let strip = Strip {
                    first: hidden.values().as_ptr().add(first),
                    across: 1,
                    along: h,
                    n: AMX.cols.min(h - first),
                    depth: n,
                    width: AMX.cols,
                };
                (AMX.pack_cols)(&strip, cols.ptr(idx * AMX.col_panel(n)));
            } else {
                let first = idx * AMX.rows;
                let strip = Strip {
                    first: hidden.values().as_ptr().add(first * h),
                    across: h,
                    along: 1,
                    n: AMX.rows.min(n - first),
                    depth: h,
                    width: AMX.rows,
                };
                (AMX.pack_rows)(&strip, rows.ptr(idx * AMX.row_panel(h)));
            }
        }
    });
}

/// Some rows on their way over the vocabulary.
struct Pass<'a> {
    arguments: Arguments<'a, f32>,
    h: usize,
    v: usize,
    n_rows: usize,
    hidden_rows: Panels,
    hidden_cols: Panels,
}

/// The stretches of some tokens.
fn stretches(tokens: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    tokens.clone().step_by(STRETCH).map(move |first| first..tokens.end.min(first + STRETCH))
}

impl Pass<'_> {
    fn n_row_panels(&self) -> usize {
        self.n_rows.div_ceil(AMX.rows)
    }

    /// The logits of a stretch for all rows, `STRIDE` apart.
    fn compute_logits(&self, tokens: &Range<usize>, weight: &mut Buffer<f32>, logits: &mut [f32]) {
        let n_panels = tokens.len().div_ceil(AMX.cols);
        let size = AMX.col_panel(self.h);
        let weight = weight.take(n_panels * size);
        // SAFETY: `Cpu` has found AMX; panels and logits have room for the stretch, and are this thread's.
        unsafe {
            for (idx, to) in weight.chunks_exact_mut(size).enumerate() {
                let first = tokens.start + idx * AMX.cols;
                let strip = Strip {
                    first: self.arguments.weight[first * self.h..].as_ptr(),
                    across: self.h,
                    along: 1,
                    n: AMX.cols.min(tokens.end - first),
                    depth: self.h,
                    width: AMX.cols,
                };
                (AMX.pack_cols)(&strip, to.as_mut_ptr());
            }
            let block = Block {
                kernels: &AMX,
                rows: self.n_rows,
                depth: self.h,
                cols: tokens.len(),
                start: Start::Bias(&self.arguments.bias[tokens.clone()]),
                c: logits.as_mut_ptr(),
                c_stride: STRIDE,
            };
            block.multiply(
                self.hidden_rows,
                panels(weight, size),
                0..self.n_row_panels(),
                0..n_panels,
            );
        }
    }

    /// The statistics of each row for every task (tasks, R), and −l of its target as its loss.
    fn take_statistics(&self, cpu: &Cpu, statistics: &mut [Statistics], nats: &mut [f64]) {
        let (n_rows, n_tasks) = (self.n_rows, self.v.div_ceil(TASK));
        let (statistics, nats) = (SharedSlice::new(statistics), SharedSlice::new(nats));
        cpu.pool().for_each(n_tasks, |task| {
            // SAFETY: each task has its own statistics.
            let all = unsafe { statistics.slice(task * n_rows..(task + 1) * n_rows) };
            PRIVATE.with_borrow_mut(|Private { weight, logits, .. }| {
                let logits = logits.take(n_rows * STRIDE);
                for tokens in stretches(task * TASK..self.v.min((task + 1) * TASK)) {
                    self.compute_logits(&tokens, weight, logits);
                    for (row, all) in all.iter_mut().enumerate() {
                        let logits = &logits[row * STRIDE..][..tokens.len()];
                        // SAFETY: `Cpu` has found the instruction set.
                        all.merge(unsafe { (KERNEL.statistics)(logits) });
                        let target = self.arguments.targets[row] as usize;
                        if tokens.contains(&target) {
                            // SAFETY: one stretch holds the target of a row.
                            let nats = unsafe { nats.slice(row..row + 1) };
                            nats[0] = -f64::from(logits[target - tokens.start]);
                        }
                    }
                }
            });
        });
    }

    /// Adds to the gradients what these rows bring; d_hidden is theirs alone.
    fn differentiate(
        &self,
        cpu: &Cpu,
        statistics: &[Statistics],
        gradients: Gradients<f32>,
        [d_logits, weight_cols]: [&mut Buffer<f32>; 2],
    ) {
        let chunk = CHUNK.min(self.v.next_multiple_of(STRETCH));
        let d_logits = d_logits.take(self.n_row_panels() * AMX.row_panel(chunk));
        let weight_cols = weight_cols.take(AMX.all_panels(chunk, self.h));
        let shared = Backward {
            pass: self,
            scale: gradients.scale,
            statistics,
            chunk,
            d_logits: SharedSlice::new(d_logits),
            weight_cols: SharedSlice::new(weight_cols),
            d_hidden: SharedSlice::new(gradients.d_hidden),
            d_weight: SharedSlice::new(gradients.d_weight),
            d_bias: SharedSlice::new(gradients.d_bias),
        };
        let n_chunks = self.v.div_ceil(chunk);
        let counters: Vec<_> = (0..n_chunks).map(|_| [const { AtomicUsize::new(0) }; 2]).collect();
        cpu.pool().run(|worker| {
            for (idx, [stretches_done, parts_done]) in counters.iter().enumerate() {
                let tokens = idx * chunk..self.v.min((idx + 1) * chunk);
                let n_stretches = tokens.len().div_ceil(STRETCH);
                each(stretches_done, n_stretches, &|idx| {
                    let first = tokens.start + idx * STRETCH;
                    shared.stretch(cpu, &tokens, first..tokens.end.min(first + STRETCH));
                });
                worker.barrier();
                let n_parts = worker.count();
                each(parts_done, n_parts, &|part| shared.d_hidden(&tokens, part, n_parts));
                if idx + 1 < n_chunks {
                    worker.barrier();
                }
            }
        });
    }
}

/// What the second pass reads and writes.
struct Backward<'a> {
    pass: &'a Pass<'a>,
    scale: f32,
    statistics: &'a [Statistics],
    /// Tokens that the panels below have room for.
    chunk: usize,
    /// d_logits of a chunk (R, chunk) as the left side, and its weights (chunk, H) as the right side of d_hidden.
    d_logits: SharedSlice<'a, f32>,
    weight_cols: SharedSlice<'a, f32>,
    d_hidden: SharedSlice<'a, f32>,
    d_weight: SharedSlice<'a, f32>,
    d_bias: SharedSlice<'a, f32>,
}

impl Backward<'_> {
    /// d_logits of a stretch of the tokens of `chunk`: into d_weight and d_bias, and laid out for d_hidden.
    fn stretch(&self, cpu: &Cpu, chunk: &Range<usize>, tokens: Range<usize>) {
        let Pass { h, n_rows, ref arguments, .. } = *self.pass;
        PRIVATE.with_borrow_mut(|Private { weight, logits, d_logits }| {
            let logits = logits.take(n_rows * STRIDE);
            self.pass.compute_logits(&tokens, weight, logits);
            for (row, logits) in logits.chunks_exact_mut(STRIDE).enumerate() {
                let logits = &mut logits[..tokens.len()];
                let Statistics { max, sum } = self.statistics[row];
                // A sum that is not a number makes all of the row so.
                let factor = (f64::from(self.scale) / sum) as f32;
                // SAFETY: `Cpu` has found the instruction set.
                unsafe { (KERNEL.gradient)(logits, max, factor) };
                let target = arguments.targets[row] as usize;
                if tokens.contains(&target) {
                    logits[target - tokens.start] -= self.scale;
                }
            }
            for first in (0..tokens.len()).step_by(AMX.cols) {
                let n = AMX.cols.min(tokens.len() - first);
                let part = Matrix::with_strides(&logits[first..], n_rows, n, STRIDE);
                let place = tokens.start + first;
                // SAFETY: these tokens are this task's. So few values are summed on this thread.
                column_sums(cpu, part, unsafe { self.d_bias.slice(place..place + n) });
            }
            let n_panels = tokens.len().div_ceil(AMX.rows);
            let size = AMX.row_panel(n_rows);
            let d_logits = d_logits.take(n_panels * size);
            // SAFETY: `Cpu` has found AMX; all panels have room for the tokens, which are this task's.
            unsafe {
                for (idx, to) in d_logits.chunks_exact_mut(size).enumerate() {
                    let first = idx * AMX.rows;
                    let strip = Strip {
                        first: logits.as_ptr().add(first),
                        across: 1,
                        along: STRIDE,
                        n: AMX.rows.min(tokens.len() - first),
                        depth: n_rows,
                        width: AMX.rows,
                    };
                    (AMX.pack_rows)(&strip, to.as_mut_ptr());
                }
                let block = Block {
                    kernels: &AMX,
                    rows: tokens.len(),
                    depth: n_rows,
                    cols: h,
                    start: Start::Sum,
                    c: self.d_weight.ptr(tokens.start * h),
                    c_stride: h,
                };
                let cols = 0..h.div_ceil(AMX.cols);
                block.multiply(panels(d_logits, size), self.pass.hidden_cols, 0..n_panels, cols);
                self.lay_out(chunk, &tokens, logits);
            }
        });
    }

    /// d_logits and weights of a stretch at their place among the panels of the chunk.
    ///
    /// # Safety
    /// The stretch is the calling thread's.
    unsafe fn lay_out(&self, chunk: &Range<usize>, tokens: &Range<usize>, logits: &[f32]) {
        let Pass { h, n_rows, ref arguments, .. } = *self.pass;
        let place = tokens.start - chunk.start;
        // SAFETY: inside the panels, by the sizes they were taken with.
        unsafe {
            for idx in 0..self.pass.n_row_panels() {
                let first = idx * AMX.rows;
                let strip = Strip {
                    first: logits.as_ptr().add(first * STRIDE),
                    across: STRIDE,
                    along: 1,
                    n: AMX.rows.min(n_rows - first),
                    depth: tokens.len(),
                    width: AMX.rows,
                };
                let to = self.d_logits.ptr(idx * AMX.row_panel(self.chunk) + place * AMX.row_step);
                (AMX.pack_rows)(&strip, to);
            }
            for idx in 0..h.div_ceil(AMX.cols) {
                let first = idx * AMX.cols;
                let strip = Strip {
                    first: arguments.weight.as_ptr().add(tokens.start * h + first),
                    across: 1,
                    along: h,
                    n: AMX.cols.min(h - first),
                    depth: tokens.len(),
                    width: AMX.cols,
                };
                let to =
                    self.weight_cols.ptr(idx * AMX.col_panel(self.chunk) + place * AMX.col_step);
                (AMX.pack_cols)(&strip, to);
            }
        }
    }

    /// Adds the product of a chunk to some columns of d_hidden.
    fn d_hidden(&self, chunk: &Range<usize>, part: usize, n_parts: usize) {
        let Pass { h, n_rows, .. } = *self.pass;
        let n_panels = h.div_ceil(AMX.cols);
        let cols = n_panels * part / n_parts..n_panels * (part + 1) / n_parts;
        if cols.is_empty() {
            return;
        }
        let block = Block {
            kernels: &AMX,
            rows: n_rows,
            depth: chunk.len(),
            cols: h,
            start: if chunk.start == 0 { Start::Zero } else { Start::Sum },
            c: self.d_hidden.ptr(0),
            c_stride: h,
        };
        let at = |shared: &SharedSlice<f32>, idx: usize, apart: usize| Panels {
            first: shared.ptr(idx * apart),
            apart,
            step: AMX.col_step,
        };
        let a = at(&self.d_logits, 0, AMX.row_panel(self.chunk));
        let b = at(&self.weight_cols, cols.start, AMX.col_panel(self.chunk));
        // SAFETY: panels of all stretches were laid out before the barrier; these columns are this part's.
        unsafe { block.multiply(a, b, 0..self.pass.n_row_panels(), cols) };
    }
}
