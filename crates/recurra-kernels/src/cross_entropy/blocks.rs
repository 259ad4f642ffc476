//! The loss in blocks of rows and of vocabulary, with bounded scratch memory.
//!
//! d_logits needs the sum over the whole vocabulary, so either all logits of a block of rows are held at once (one pass,
//! three products), or they are computed twice, a block of the vocabulary at a time (two passes, four products).
//!
//! One pass over blocks of R rows reads W twice and reads and writes d_W for every block: 16·H·V bytes for 6·R·H·V
//! operations. The second pass costs 2·N·H·V operations more, and the 16·H·V bytes only once or a few times. With F
//! operations and G bytes a second, one pass is quicker when 16/(R·G) < 2/F, that is for R > 8·F/G: about 160 rows where
//! F is 300 G and G is 15 G. Such a block of logits fits the scratch memory up to a vocabulary of 78,000. (Measured with
//! AVX-512 on two threads, steps of 700 rows, in place of scratch memory for a sixth as many logits, which computed those
//! of 33,278 tokens twice: 22 % more tokens a second at H 650 and V 10,000, 7 % at H 650 and V 33,278, 17 % at H 200.) The
//! loss alone computes no logit twice, so it always takes as many rows at a time as it can and reads W least often.

use super::vector::{Kernel, Statistics};
use super::{Arguments, Gradients};
use crate::column_sum::column_sums;
use crate::isa::by_isa;
use crate::matmul::buffer::Buffer;
use crate::matmul::{Matrix, Start, matmul};
use crate::{Cpu, Isa, SharedSlice};
use std::cell::RefCell;
use std::ops::Range;

/// Logits held at a time: 48 MiB.
const MOST_LOGITS: usize = 3 << 22;
/// Rows from which one pass is worth its traffic (see above).
const ONE_PASS_ROWS: usize = 160;
/// Rows at a time in two passes.
const TWO_PASS_ROWS: usize = 1024;
/// Logits whose statistics are taken together. Blocks of the vocabulary are multiples of it, so that a row's loss has the
/// same bits however the blocks are chosen.
const STRETCH: usize = 1024;
/// Logits of a task that goes along rows.
const TASK_LOGITS: usize = 1 << 14;

thread_local! {
    static SCRATCH: RefCell<(Buffer<f32>, Vec<Statistics>)> = const { RefCell::new((Buffer::new(), Vec::new())) };
}

/// N rows, H hidden units, V tokens.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub n: usize,
    pub h: usize,
    pub v: usize,
}

/// How many rows and tokens make a block.
fn block(Shape { n, v, .. }: Shape, backward: bool) -> (usize, usize) {
    let rows_at_once = MOST_LOGITS / v.max(1);
    let worth = if backward { ONE_PASS_ROWS } else { TWO_PASS_ROWS };
    if rows_at_once >= n.min(worth) {
        return (n.div_ceil(n.div_ceil(rows_at_once.max(1)).max(1)), v);
    }
    let rows = n.div_ceil(n.div_ceil(TWO_PASS_ROWS));
    let stretches = v.div_ceil(STRETCH);
    let blocks = stretches.div_ceil((MOST_LOGITS / rows / STRETCH).max(1));
    (rows, stretches.div_ceil(blocks) * STRETCH)
}

pub(super) fn run(
    cpu: &Cpu,
    shape: Shape,
    arguments: Arguments<f32>,
    nats: &mut [f64],
    mut gradients: Option<Gradients<f32>>,
) {
    let Shape { n, h, v } = shape;
    let (n_rows, n_tokens) = block(shape, gradients.is_some());
    let one_pass = n_tokens >= v;
    let kernel = kernel(cpu.isa());
    SCRATCH.with_borrow_mut(|(buffer, statistics)| {
        for first in (0..n).step_by(n_rows.max(1)) {
            let rows = first..n.min(first + n_rows);
            statistics.clear();
            statistics.resize(rows.len(), Statistics::NONE);
            let mut pass = Pass {
                cpu,
                kernel,
                arguments,
                h,
                hidden: Matrix::new(arguments.hidden, n, h).block(rows.clone(), 0..h),
                rows: rows.clone(),
                statistics,
                logits: buffer.take(rows.len() * n_tokens.min(v)),
            };
            let tokens = (0..v).step_by(n_tokens.max(1)).map(|t| t..v.min(t + n_tokens));
            for tokens in tokens.clone() {
                pass.compute_logits(&tokens);
                pass.take_statistics(&tokens, &mut nats[rows.clone()]);
            }
            pass.finish_losses(&mut nats[rows.clone()]);
            let Some(gradients) = &mut gradients else { continue };
            for tokens in tokens {
                if !one_pass {
                    pass.compute_logits(&tokens);
                }
                pass.differentiate(&tokens, gradients);
            }
        }
    });
}

/// A block of rows on its way over the vocabulary.
struct Pass<'a> {
    cpu: &'a Cpu,
    kernel: &'static Kernel,
    arguments: Arguments<'a, f32>,
    h: usize,
    /// (R, H)
    hidden: Matrix<'a, f32>,
    rows: Range<usize>,
    statistics: &'a mut [Statistics],
    logits: &'a mut [f32],
}

impl Pass<'_> {
    /// The logits of some tokens. (R, tokens)
    fn compute_logits(&mut self, tokens: &Range<usize>) {
        let bias = Start::Bias(&self.arguments.bias[tokens.clone()]);
        let logits = &mut self.logits[..self.rows.len() * tokens.len()];
        let weight = weight(&self.arguments, self.h, tokens);
        matmul(self.cpu, self.hidden, weight.transposed(), bias, logits);
    }

    /// Adds some tokens to the statistics of their rows, and −l of the target to its loss.
    fn take_statistics(&mut self, tokens: &Range<usize>, nats: &mut [f64]) {
        let logits = &*self.logits;
        let (statistics, nats) = (SharedSlice::new(self.statistics), SharedSlice::new(nats));
        let targets = &self.arguments.targets[self.rows.clone()];
        each_row(self.cpu, self.rows.len(), tokens.len(), |row| {
            // SAFETY: each row has its own places.
            let (all, nats) = unsafe {
                (&mut statistics.slice(row..row + 1)[0], &mut nats.slice(row..row + 1)[0])
            };
            let logits = &logits[row * tokens.len()..][..tokens.len()];
            for stretch in logits.chunks(STRETCH) {
                // SAFETY: `Cpu` has found the instruction set.
                let new = unsafe { (self.kernel.statistics)(stretch) };
                all.merge(new);
            }
            let target = targets[row] as usize;
            if tokens.contains(&target) {
                *nats = -f64::from(logits[target - tokens.start]);
            }
        });
    }

    /// nats ← log Σ exp(l) − l of the target.
    fn finish_losses(&self, nats: &mut [f64]) {
        for (nats, Statistics { max, sum }) in nats.iter_mut().zip(self.statistics.iter()) {
            *nats += f64::from(*max) + sum.ln();
        }
    }

    /// Turns the logits of some tokens into d_logits, and adds what they bring to the gradients.
    fn differentiate(&mut self, tokens: &Range<usize>, gradients: &mut Gradients<f32>) {
        let (n_rows, h) = (self.rows.len(), self.h);
        let scale = gradients.scale;
        let targets = &self.arguments.targets[self.rows.clone()];
        let shared = SharedSlice::new(&mut self.logits[..n_rows * tokens.len()]);
        each_row(self.cpu, n_rows, tokens.len(), |row| {
            // SAFETY: each row has its own places.
            let logits = unsafe { shared.slice(row * tokens.len()..(row + 1) * tokens.len()) };
            let Statistics { max, sum } = self.statistics[row];
            // A sum that is not a number makes all of the row so.
            let factor = (f64::from(scale) / sum) as f32;
            // SAFETY: `Cpu` has found the instruction set.
            unsafe { (self.kernel.gradient)(logits, max, factor) };
            let target = targets[row] as usize;
            if tokens.contains(&target) {
                logits[target - tokens.start] -= scale;
            }
        });
        let d_logits = Matrix::new(&self.logits[..n_rows * tokens.len()], n_rows, tokens.len());
        let start = if tokens.start == 0 { Start::Zero } else { Start::Sum };
        let d_hidden = &mut gradients.d_hidden[self.rows.start * h..self.rows.end * h];
        matmul(self.cpu, d_logits, weight(&self.arguments, h, tokens), start, d_hidden);
        let d_weight = &mut gradients.d_weight[tokens.start * h..tokens.end * h];
        let start = if gradients.adds || self.rows.start > 0 { Start::Sum } else { Start::Zero };
        matmul(self.cpu, d_logits.transposed(), self.hidden, start, d_weight);
        column_sums(self.cpu, d_logits, &mut gradients.d_bias[tokens.clone()]);
    }
}

/// W of some tokens. (tokens, H)
fn weight<'a>(arguments: &Arguments<'a, f32>, h: usize, tokens: &Range<usize>) -> Matrix<'a, f32> {
    Matrix::new(&arguments.weight[tokens.start * h..tokens.end * h], tokens.len(), h)
}

/// Runs `work` for each row of `len` logits, several rows a task.
fn each_row(cpu: &Cpu, n_rows: usize, len: usize, work: impl Fn(usize) + Sync) {
    let rows = (TASK_LOGITS / len.max(1)).max(1);
    cpu.pool().for_each(n_rows.div_ceil(rows), |task| {
        (task * rows..n_rows.min((task + 1) * rows)).for_each(&work);
    });
}

fn kernel(isa: Isa) -> &'static Kernel {
    by_isa!(isa, super::file => &file::KERNEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_bounded_and_cover_the_recipes_as_meant() {
        for n in [0, 1, 3, 20, 159, 700, 8192, 100_000] {
            for v in [1, 2, 65, 257, 10_000, 33_278, 78_643, 78_644, 1 << 21, 5_000_000] {
                for backward in [false, true] {
                    let (rows, tokens) = block(Shape { n, h: 1, v }, backward);
                    assert!(rows <= n && (rows > 0 || n == 0), "{n} × {v}: {rows} rows");
                    assert!(rows * tokens.min(v) <= MOST_LOGITS, "{n} × {v}: {rows} × {tokens}");
                    assert!(tokens >= v || tokens % STRETCH == 0, "{n} × {v}: {tokens} tokens");
                }
            }
        }
        assert_eq!(block(Shape { n: 8192, h: 512, v: 96 }, true), (8192, 96));
        assert_eq!(block(Shape { n: 700, h: 650, v: 10_000 }, true), (700, 10_000));
        assert_eq!(block(Shape { n: 700, h: 650, v: 33_278 }, true), (350, 33_278));
        assert_eq!(block(Shape { n: 700, h: 650, v: 33_278 }, false), (700, 17 * 1024));
        assert_eq!(block(Shape { n: 700, h: 650, v: 100_000 }, true), (700, 17 * 1024));
    }
}
