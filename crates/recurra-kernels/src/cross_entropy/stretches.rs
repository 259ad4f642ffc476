//! The loss in tiles of `bf16`, for large vocabularies: a stretch of tokens at a time, on one thread each.
//!
//! The logits of a stretch for some positions stay in the second cache of the thread that computes them, tokens down and
//! positions across, until they are exponentials e = exp(l). Those are multiplied with W at once, which is d_hidden up to a
//! factor a position; and they are kept as `bf16`, at most [`MOST_KEPT`] bytes of them, until the sums over the vocabulary
//! are known and they can be multiplied with h, which is d_weight. With r_n = Σ_{v ≠ t_n} e_nv, e_n of the target, and
//! f_n = scale / (r_n + e_n):
//!
//! - nats_n = log(r_n + e_n) − log e_n;
//! - d_hidden_n = f_n·(Σ_{v ≠ t_n} e_nv·W_v − r_n·W_tₙ);
//! - d_weight_v = Σ_n (e_nv, or −r_n where v = t_n)·f_n·h_n, and d_bias_v the same without h: two more columns
//!   beside f·h, f and what of it `bf16` leaves out.
//!
//! So nothing is subtracted from a number that is nearly the same. W is read once for the first pass and d_weight written once
//! by the second. To compute the logits a second time instead of keeping anything costs a third more arithmetic.

use super::blocks::Shape;
use super::exponentials::PAIR;
use super::{Arguments, Gradients};
use crate::Cpu;
use crate::SharedSlice;
use crate::matmul::buffer::Buffer;
use crate::matmul::{Matrix, Strip, TILES};
use crate::tiles::Unit;
use std::cell::RefCell;

/// Bytes of exponentials that are kept.
const MOST_KEPT: usize = 64 << 20;
/// Values of h at a time, whose panels stay in the second cache.
const MOST_HIDDEN: usize = 3 << 18;
/// Rows at a time.
const MOST_ROWS: usize = 2048;
/// Tokens from which a stretch for each task is enough to share.
const LEAST_TOKENS: usize = 2048;
/// Bytes from which what is written is gone from every cache before it is read again.
pub(super) const FAR: usize = 32 << 20;

/// Whether this way is the better one; it has nothing to go over where there are no rows.
pub(super) fn pays(Shape { n, h, v }: Shape) -> bool {
    v >= LEAST_TOKENS && h > 0 && n > 0
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::default();
    pub(super) static PRIVATE: RefCell<Private> = RefCell::default();
}

/// What all threads read and write, of the one that called.
#[derive(Default)]
pub(super) struct Shared {
    /// h laid out, first for the logits, then for d_weight.
    pub hidden: Buffer<f32>,
    pub kept: Buffer<f32>,
    pub d_hidden: Buffer<f32>,
    pub scaled: Vec<f32>,
    /// Of each group of tokens, for each position.
    pub sums: Vec<f64>,
    pub largest: Vec<f32>,
    pub logits_of_targets: Vec<f32>,
}

/// What a thread has for itself.
#[derive(Default)]
pub(super) struct Private {
    /// W of 32 tokens as a left side.
    pub weight: Buffer<f32>,
    /// Squares of logits, and of d_weight.
    pub sums: Buffer<f32>,
    /// W and e of a task, laid out for d_hidden.
    pub weight_across: Buffer<f32>,
    pub kept_down: Buffer<f32>,
    /// A row of d_weight.
    pub line: Vec<f32>,
}

/// Rows whose h and exponentials are not too many, and a multiple of whole tiles.
fn most_rows(h: usize, v: usize) -> usize {
    let rows = (MOST_HIDDEN / h).min(MOST_KEPT / (2 * v)).min(MOST_ROWS);
    (rows / PAIR * PAIR).max(PAIR)
}

pub(super) fn run(
    cpu: &Cpu,
    unit: Unit,
    Shape { n, h, v }: Shape,
    arguments: Arguments<f32>,
    nats: &mut [f64],
    mut gradients: Option<Gradients<f32>>,
) {
    SHARED.with_borrow_mut(|shared| {
        let n_blocks = n.div_ceil(most_rows(h, v));
        for block in 0..n_blocks {
            let rows = n * block / n_blocks..n * (block + 1) / n_blocks;
            let of_rows = rows.start * h..rows.end * h;
            let pass = Pass::new(
                cpu,
                unit,
                Arguments {
                    hidden: &arguments.hidden[of_rows.clone()],
                    targets: &arguments.targets[rows.clone()],
                    ..arguments
                },
            );
            let gradients = gradients.as_mut().map(|all| Gradients {
                scale: all.scale,
                d_hidden: &mut all.d_hidden[of_rows],
                d_weight: all.d_weight,
                d_bias: all.d_bias,
                squares: all.squares,
                adds: all.adds || block > 0,
            });
            let sums = pass.sum_up(shared, gradients.is_some());
            for (nats, sum) in nats[rows].iter_mut().zip(&sums) {
                *nats = sum.nats();
            }
            if let Some(gradients) = gradients {
                pass.differentiate(shared, &sums, gradients);
            }
        }
    });
}

/// What is known of a position, in units of exp(reference); not a number when a logit is not finite.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    /// Σ e over all tokens but the target.
    pub others: f64,
    pub target: f64,
    /// log e of the target.
    pub log_target: f64,
    /// The largest logit of the others.
    pub largest: f32,
}

impl Sum {
    /// log(r + e) − log e.
    fn nats(&self) -> f64 {
        let &Self { others, target, log_target, .. } = self;
        if others < target {
            (others / target).ln_1p()
        } else {
            (others + target).ln() - log_target
        }
    }
}

/// Some rows on their way over the vocabulary.
pub(super) struct Pass<'a> {
    pub cpu: &'a Cpu,
    pub unit: Unit,
    pub arguments: Arguments<'a, f32>,
    pub h: usize,
    pub v: usize,
    pub n_rows: usize,
    /// Rows in the order of their targets.
    pub by_target: Vec<usize>,
}

impl<'a> Pass<'a> {
    fn new(cpu: &'a Cpu, unit: Unit, arguments: Arguments<'a, f32>) -> Self {
        let (n_rows, v) = (arguments.targets.len(), arguments.bias.len());
        let mut by_target: Vec<usize> = (0..n_rows).collect();
        by_target.sort_by_key(|&row| arguments.targets[row]);
        Self { cpu, unit, arguments, h: arguments.weight.len() / v, v, n_rows, by_target }
    }

    /// Panels of 32 rows.
    pub(super) fn n_panels(&self) -> usize {
        self.n_rows.div_ceil(PAIR)
    }

    /// Rows, and what makes them up to whole tiles.
    pub(super) fn n_positions(&self) -> usize {
        self.n_panels() * PAIR
    }

    /// Units of the exponentials that are kept of 32 tokens.
    pub(super) fn kept_panel(&self) -> usize {
        TILES.row_panel(self.n_positions())
    }

    /// Units of all of them.
    pub(super) fn kept_len(&self) -> usize {
        self.v.div_ceil(PAIR) * self.kept_panel()
    }
}

/// All panels of the right side `b`, and as many more of zeros as make up `cols` columns.
pub(super) fn lay_out(cpu: &Cpu, b: Matrix<f32>, cols: usize, to: &mut [f32]) {
    let size = TILES.col_panel(b.rows());
    let to = SharedSlice::new(to);
    cpu.pool().for_each(cols.div_ceil(TILES.cols), |idx| {
        let first = idx * TILES.cols;
        let block = b.block(0..b.rows(), first..b.cols().min(first + TILES.cols));
        let strip = Strip {
            first: block.values().as_ptr(),
            across: block.col_stride(),
            along: block.row_stride(),
            n: block.cols(),
            depth: block.rows(),
            width: TILES.cols,
        };
        // SAFETY: a panel each, inside of what was taken; `Cpu` has found the unit.
        unsafe { (TILES.pack_cols)(&strip, to.ptr(idx * size)) };
    });
}
