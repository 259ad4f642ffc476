//! The loss with AMX, for large vocabularies: a stretch of tokens at a time, on one thread each.
//!
//! The logits of a stretch for all positions stay in the second cache of the thread that computes them, tokens down and
//! positions across, until they are exponentials e = exp(l). Those are multiplied with W at once, which is d_hidden up to a
//! factor a position; and they are kept as `bf16`, at most [`MOST_KEPT`] bytes of them, until the sums over the vocabulary
//! are known and they can be multiplied with h, which is d_weight. With r_n = Σ_{v ≠ t_n} e_nv, e_n of the target, and
//! f_n = scale / (r_n + e_n):
//!
//! - nats_n = log(r_n + e_n) − log e_n;
//! - d_hidden_n = f_n·(Σ_{v ≠ t_n} e_nv·W_v − r_n·W_tₙ);
//! - d_weight_v = Σ_n (e_nv, or −r_n where v = t_n)·f_n·h_n, and d_bias_v the same without h.
//!
//! So nothing is subtracted from a number that is nearly the same. W is read once for the first pass and d_weight written once
//! by the second. To compute the logits a second time instead of keeping anything costs a third more arithmetic.

use super::blocks::Shape;
use super::exponentials::{
    self as loops, Kept, Logits, NEVER, PAIR, PAIR_UNITS, Rows, Turned, in_halves, rounded_to_bf16,
};
use super::tiles::{Product, steps};
use super::{Arguments, Gradients};
use crate::matmul::buffer::Buffer;
use crate::matmul::{AMX, Matrix, Strip};
use crate::{Cpu, SharedSlice};
use std::cell::RefCell;
use std::ops::Range;

/// Tokens whose exponentials are multiplied with W at a time: each time all of d_hidden is read and written.
const TASK: usize = 512;
/// Panels of tokens in a task of the second pass.
const SECOND_TASK: usize = 8;
/// Parts of the vocabulary whose sums are made apart, in whichever order, and then added: what threads share.
const MOST_GROUPS: usize = 12;
/// Bytes of exponentials that are kept.
const MOST_KEPT: usize = 64 << 20;
/// Values of h at a time: with the logits they stay in the second cache.
const MOST_HIDDEN: usize = 1 << 19;
/// Rows at a time.
const MOST_ROWS: usize = 2048;
/// Tokens from which a stretch for each task is enough to share.
const LEAST_TOKENS: usize = 2048;
/// Bytes from which what is written is gone from every cache before it is read again.
const FAR: usize = 32 << 20;
/// The largest logit of a position lies between ± this, or is taken off all of them.
const PLAIN: f32 = 40.0;
/// Values between two rows beyond their length: rows whose distance is a power of two would push each other out of the cache.
const GAP: usize = 16;

/// Whether this way is the better one.
pub(super) fn pays(Shape { h, v, .. }: Shape) -> bool {
    v >= LEAST_TOKENS && h > 0
}

thread_local! {
    static SHARED: RefCell<Shared> = RefCell::default();
    static PRIVATE: RefCell<Private> = RefCell::default();
}

/// What all threads read and write, of the one that called.
#[derive(Default)]
struct Shared {
    /// h laid out, first for the logits, then for d_weight.
    hidden: Buffer<f32>,
    kept: Buffer<f32>,
    d_hidden: Buffer<f32>,
    scaled: Vec<f32>,
    /// Of each group of tokens, for each position.
    sums: Vec<f64>,
    largest: Vec<f32>,
    logits_of_targets: Vec<f32>,
}

/// What a thread has for itself.
#[derive(Default)]
struct Private {
    weight: Buffer<f32>,
    logits: Buffer<f32>,
    /// W and e of a task, laid out for d_hidden.
    weight_across: Buffer<f32>,
    kept_down: Buffer<f32>,
}

/// Rows whose h and exponentials are not too many, and a multiple of whole tiles.
fn most_rows(h: usize, v: usize) -> usize {
    let rows = (MOST_HIDDEN / h).min(MOST_KEPT / (2 * v)).min(MOST_ROWS);
    (rows / PAIR * PAIR).max(PAIR)
}

pub(super) fn run(
    cpu: &Cpu,
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
struct Sum {
    /// Σ e over all tokens but the target.
    others: f64,
    target: f64,
    /// log e of the target.
    log_target: f64,
    /// The largest logit of the others.
    largest: f32,
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
struct Pass<'a> {
    cpu: &'a Cpu,
    arguments: Arguments<'a, f32>,
    h: usize,
    v: usize,
    n_rows: usize,
    /// Rows in the order of their targets.
    by_target: Vec<usize>,
}

/// What the first pass leaves for the gradients.
struct Backward<'a> {
    kept: SharedSlice<'a, f32>,
    d_hidden: SharedSlice<'a, f32>,
}

impl<'a> Pass<'a> {
    fn new(cpu: &'a Cpu, arguments: Arguments<'a, f32>) -> Self {
        let (n_rows, v) = (arguments.targets.len(), arguments.bias.len());
        let mut by_target: Vec<usize> = (0..n_rows).collect();
        by_target.sort_by_key(|&row| arguments.targets[row]);
        Self { cpu, arguments, h: arguments.weight.len() / v, v, n_rows, by_target }
    }

    /// Rows, and what makes them up to whole tiles.
    fn n_positions(&self) -> usize {
        self.n_rows.next_multiple_of(PAIR)
    }

    /// From one row of logits, and of a part of d_hidden, to the next.
    fn stride(&self) -> usize {
        self.n_positions() + GAP
    }

    /// Values of a part of d_hidden.
    fn part_len(&self) -> usize {
        self.h.next_multiple_of(PAIR) * self.stride()
    }

    /// The tokens of each group.
    fn groups(&self) -> Vec<Range<usize>> {
        let n_panels = self.v.div_ceil(PAIR);
        let n_groups = MOST_GROUPS.min(self.v.div_ceil(TASK));
        (0..n_groups)
            .map(|idx| n_panels * idx / n_groups * PAIR..n_panels * (idx + 1) / n_groups * PAIR)
            .map(|tokens| tokens.start..tokens.end.min(self.v))
            .collect()
    }

    /// The first pass.
    fn sum_up(&self, shared: &mut Shared, keep: bool) -> Vec<Sum> {
        let (n, n_positions) = (self.n_rows, self.n_positions());
        let groups = self.groups();
        let hidden = shared.hidden.take(AMX.all_panels(self.h, n_positions));
        let matrix = Matrix::new(self.arguments.hidden, n, self.h);
        lay_out(self.cpu, matrix.transposed(), n_positions, hidden);
        let hidden = &*hidden;
        let kept_len = self.v.div_ceil(PAIR) * AMX.row_panel(n_positions);
        let backward = keep.then(|| Backward {
            kept: SharedSlice::new(shared.kept.take(kept_len)),
            d_hidden: SharedSlice::new(shared.d_hidden.take(groups.len() * self.part_len())),
        });
        // Where no row is, e shall be zero.
        let mut references = vec![0.0; n];
        references.resize(n_positions, -NEVER);
        shared.logits_of_targets.resize(n, 0.0);
        loop {
            shared.sums.clear();
            shared.sums.resize(groups.len() * n_positions, 0.0);
            shared.largest.clear();
            shared.largest.resize(groups.len() * n_positions, f32::NEG_INFINITY);
            let all_sums = SharedSlice::new(&mut shared.sums);
            let all_largest = SharedSlice::new(&mut shared.largest);
            let logits_of_targets = SharedSlice::new(&mut shared.logits_of_targets);
            self.cpu.pool().for_each(groups.len(), |idx| {
                let mine = idx * n_positions..(idx + 1) * n_positions;
                // SAFETY: each group has its own places.
                let (sums, largest) =
                    unsafe { (all_sums.slice(mine.clone()), all_largest.slice(mine)) };
                let group = Group {
                    pass: self,
                    hidden,
                    references: &references,
                    logits_of_targets: &logits_of_targets,
                    backward: backward.as_ref(),
                    idx,
                };
                group.run(groups[idx].clone(), sums, largest);
            });
            let sums: Vec<Sum> = (0..n)
                .map(|row| {
                    let at = (row..).step_by(n_positions).take(groups.len());
                    let largest =
                        at.clone().map(|at| shared.largest[at]).fold(f32::NEG_INFINITY, f32::max);
                    let others: f64 = at.map(|at| shared.sums[at]).sum();
                    let log_target = shared.logits_of_targets[row] - references[row];
                    Sum {
                        others: if largest == f32::INFINITY { f64::NAN } else { others },
                        target: f64::from(log_target).exp() + 0.0 * f64::from(log_target),
                        log_target: log_target.into(),
                        largest,
                    }
                })
                .collect();
            let mut again = false;
            for (reference, sum) in references.iter_mut().zip(&sums) {
                if *reference == 0.0 && sum.largest.abs() > PLAIN && sum.largest.is_finite() {
                    (*reference, again) = (sum.largest, true);
                }
            }
            if !again {
                return sums;
            }
        }
    }

    /// The second pass, and the end of d_hidden.
    fn differentiate(&self, shared: &mut Shared, sums: &[Sum], gradients: Gradients<f32>) {
        let (n, n_positions, h) = (self.n_rows, self.n_positions(), self.h);
        let Arguments { hidden, weight, targets, .. } = self.arguments;
        let scale = f64::from(gradients.scale);
        let factors: Vec<f32> =
            sums.iter().map(|sum| (scale / (sum.others + sum.target)) as f32).collect();
        let target_factors: Vec<f32> = sums
            .iter()
            .map(|sum| (-scale * sum.others / (sum.others + sum.target)) as f32)
            .collect();

        let turned = Turned {
            parts: shared.d_hidden.first(self.groups().len() * self.part_len()),
            part_len: self.part_len(),
            stride: self.stride(),
            h,
            factors: &factors,
            target_factors: &target_factors,
            weight,
            targets,
        };
        let d_hidden = SharedSlice::new(gradients.d_hidden);
        self.cpu.pool().for_each(h.div_ceil(16), |idx| {
            PRIVATE.with_borrow_mut(|private| {
                let sums = private.logits.take(16 * self.stride());
                // SAFETY: `Cpu` has found AVX-512; each task has its own columns.
                unsafe { turned.put(16 * idx, sums, &d_hidden) };
            });
        });

        shared.scaled.clear();
        for (row, factor) in hidden.chunks_exact(h).zip(&factors) {
            shared.scaled.extend(row.iter().map(|x| x * factor));
        }
        let scaled = shared.hidden.take(AMX.all_panels(n_positions, h));
        lay_out(self.cpu, Matrix::new(&shared.scaled, n, h), h, scaled);
        let mut in_order = vec![0.0; n_positions];
        for (row, factor) in factors.iter().enumerate() {
            in_order[in_halves(row)] = *factor;
        }
        let kept_len = self.v.div_ceil(PAIR) * AMX.row_panel(n_positions);
        let kept = shared.kept.first_mut(kept_len);
        for (row, sum) in sums.iter().enumerate() {
            self.put_kept(kept, targets[row] as usize, row, -sum.others as f32);
        }
        let second = Second {
            pass: self,
            kept,
            scaled,
            factors: &in_order,
            adds: gradients.adds,
            is_far: !gradients.adds && size_of_val(gradients.d_weight) >= FAR,
            d_weight: SharedSlice::new(gradients.d_weight),
            d_bias: SharedSlice::new(gradients.d_bias),
            squares: SharedSlice::new(gradients.squares),
        };
        let n_panels = self.v.div_ceil(PAIR);
        self.cpu.pool().for_each(n_panels.div_ceil(SECOND_TASK), |idx| {
            let first = idx * SECOND_TASK;
            (first..n_panels.min(first + SECOND_TASK)).for_each(|panel| second.panel(panel));
        });
    }

    /// Replaces the exponential of a token at a position.
    fn put_kept(&self, kept: &mut [f32], token: usize, position: usize, value: f32) {
        let panel = token / PAIR * AMX.row_panel(self.n_positions());
        let tile = panel + position / PAIR * PAIR_UNITS;
        let unit = &mut kept[tile + token % PAIR * 16 + position % PAIR / 2];
        let (bits, half) = (unit.to_bits(), u32::from(rounded_to_bf16(value)));
        *unit = f32::from_bits(if position.is_multiple_of(2) {
            bits & 0xffff_0000 | half
        } else {
            bits & 0xffff | half << 16
        });
    }
}

/// All panels of the right side `b`, and as many more of zeros as make up `cols` columns.
fn lay_out(cpu: &Cpu, b: Matrix<f32>, cols: usize, to: &mut [f32]) {
    let size = AMX.col_panel(b.rows());
    let to = SharedSlice::new(to);
    cpu.pool().for_each(cols.div_ceil(AMX.cols), |idx| {
        let first = idx * AMX.cols;
        let block = b.block(0..b.rows(), first..b.cols().min(first + AMX.cols));
        let strip = Strip {
            first: block.values().as_ptr(),
            across: block.col_stride(),
            along: block.row_stride(),
            n: block.cols(),
            depth: block.rows(),
            width: AMX.cols,
        };
        // SAFETY: a panel each, inside of what was taken; `Cpu` has found AMX.
        unsafe { (AMX.pack_cols)(&strip, to.ptr(idx * size)) };
    });
}

/// A group of tokens in the first pass.
struct Group<'a> {
    pass: &'a Pass<'a>,
    /// h as the right side.
    hidden: &'a [f32],
    references: &'a [f32],
    logits_of_targets: &'a SharedSlice<'a, f32>,
    backward: Option<&'a Backward<'a>>,
    idx: usize,
}

impl Group<'_> {
    fn run(&self, tokens: Range<usize>, sums: &mut [f64], largest: &mut [f32]) {
        let Pass { h, .. } = *self.pass;
        let n_positions = self.pass.n_positions();
        let n_tasks = tokens.len().div_ceil(TASK);
        let n_panels = tokens.len().div_ceil(PAIR);
        PRIVATE.with_borrow_mut(|private| {
            let weight_across =
                private.weight_across.take(h.div_ceil(AMX.rows) * AMX.row_panel(TASK + PAIR));
            let kept_down = private.kept_down.take(n_positions / PAIR * AMX.col_panel(TASK + PAIR));
            let weight = private.weight.take(AMX.row_panel(h));
            let logits = private.logits.take(PAIR * self.pass.stride());
            for task in 0..n_tasks {
                let place = |task: usize| tokens.start + n_panels * task / n_tasks * PAIR;
                let task = place(task)..place(task + 1).min(tokens.end);
                for first in task.clone().step_by(PAIR) {
                    let panel = first..task.end.min(first + PAIR);
                    let place = (first - task.start) * AMX.col_step;
                    self.compute_logits(&panel, weight, logits);
                    let kept = self.backward.map(|backward| Kept {
                        left: backward.kept.ptr(first / PAIR * AMX.row_panel(n_positions)),
                        is_far: size_of::<f32>() * backward.kept.len() >= FAR,
                        right: kept_down[place..].as_mut_ptr(),
                        right_panel: AMX.col_panel(TASK + PAIR),
                    });
                    self.take_exponentials(&panel, logits, kept, sums, largest);
                    if kept.is_some() {
                        let to = weight_across[place..].as_mut_ptr();
                        let apart = AMX.row_panel(TASK + PAIR);
                        // SAFETY: `Cpu` has found AVX-512; panels of a task have room for it.
                        unsafe { loops::turn(weight.as_ptr(), h.div_ceil(PAIR), to, apart) };
                    }
                }
                if let Some(backward) = self.backward {
                    let is_first = task.start == tokens.start;
                    self.d_hidden(task, weight_across, kept_down, backward, is_first);
                }
            }
        });
    }

    /// The logits of a panel of tokens for all positions, without the bias; `weight` becomes W of these tokens as a left side.
    fn compute_logits(&self, tokens: &Range<usize>, weight: &mut [f32], logits: &mut [f32]) {
        let Pass { h, ref arguments, .. } = *self.pass;
        let strip = Strip {
            first: arguments.weight[tokens.start * h..].as_ptr(),
            across: h,
            along: 1,
            n: tokens.len(),
            depth: h,
            width: PAIR,
        };
        // SAFETY: `Cpu` has found AMX; panel and logits have room for 32 tokens, and are this thread's.
        unsafe {
            (AMX.pack_rows)(&strip, weight.as_mut_ptr());
            let product = Product {
                a: weight.as_ptr(),
                a_apart: 0,
                rows: 1,
                b: self.hidden.as_ptr(),
                b_apart: AMX.col_panel(h),
                cols: self.pass.n_positions() / PAIR,
                steps: steps(h),
                c: logits.as_mut_ptr(),
                c_stride: self.pass.stride(),
                adds: false,
            };
            product.run();
        }
    }

    /// Takes the logits of targets out, and turns the others into exponentials.
    fn take_exponentials(
        &self,
        tokens: &Range<usize>,
        logits: &mut [f32],
        kept: Option<Kept>,
        sums: &mut [f64],
        largest: &mut [f32],
    ) {
        let Pass { ref by_target, ref arguments, .. } = *self.pass;
        let stride = self.pass.stride();
        let target = |row: usize| arguments.targets[row] as usize;
        let first = by_target.partition_point(|&row| target(row) < tokens.start);
        for &row in by_target[first..].iter().take_while(|&&row| target(row) < tokens.end) {
            let logit = &mut logits[(target(row) - tokens.start) * stride + row];
            // SAFETY: a row has one target, which is in one panel.
            let kept = unsafe { &mut self.logits_of_targets.slice(row..row + 1)[0] };
            *kept = *logit + arguments.bias[target(row)];
            *logit = NEVER;
        }
        let mut bias = [NEVER; PAIR];
        bias[..tokens.len()].copy_from_slice(&arguments.bias[tokens.clone()]);
        let mut block = Logits {
            logits,
            stride,
            n_positions: self.pass.n_positions(),
            bias: &bias,
            references: self.references,
            sums,
            largest,
            kept,
        };
        // SAFETY: `Cpu` has found AMX; the panels have room for these tokens, which are this thread's.
        unsafe { loops::exponentials(&mut block) };
    }

    /// Adds Σ e·W over a task to the part of d_hidden of this group.
    fn d_hidden(
        &self,
        tokens: Range<usize>,
        weight: &[f32],
        kept: &[f32],
        backward: &Backward<'_>,
        is_first: bool,
    ) {
        let stride = self.pass.stride();
        let c = backward.d_hidden.ptr(self.idx * self.pass.part_len());
        let b_apart = AMX.col_panel(TASK + PAIR);
        // One panel of positions at a time, for all tokens: so that its sums are fetched once.
        for (idx, right) in kept.chunks_exact(b_apart).enumerate() {
            let product = Product {
                a: weight.as_ptr(),
                a_apart: AMX.row_panel(TASK + PAIR),
                rows: self.pass.h.div_ceil(PAIR),
                b: right.as_ptr(),
                b_apart,
                cols: 1,
                steps: steps(tokens.len()),
                c: c.wrapping_add(idx * PAIR),
                c_stride: stride,
                adds: !is_first,
            };
            // SAFETY: panels are laid out; this part is this thread's; `Cpu` has found AMX.
            unsafe { product.run() };
        }
    }
}

/// The second pass.
struct Second<'a> {
    pass: &'a Pass<'a>,
    /// e as the left side, a panel after the other, and f·h as the right side.
    kept: &'a [f32],
    scaled: &'a [f32],
    factors: &'a [f32],
    adds: bool,
    is_far: bool,
    d_weight: SharedSlice<'a, f32>,
    d_bias: SharedSlice<'a, f32>,
    squares: SharedSlice<'a, f64>,
}

impl Second<'_> {
    /// d_weight and d_bias of a panel of tokens.
    fn panel(&self, idx: usize) {
        let Pass { h, v, .. } = *self.pass;
        let tokens = idx * PAIR..v.min((idx + 1) * PAIR);
        let size = AMX.row_panel(self.pass.n_positions());
        let panel = &self.kept[idx * size..][..size];
        // SAFETY: these tokens are this task's.
        let (d_weight, d_bias, squares) = unsafe {
            (
                self.d_weight.slice(tokens.start * h..tokens.end * h),
                self.d_bias.slice(tokens.clone()),
                self.squares.slice(tokens.clone()),
            )
        };
        // SAFETY: `Cpu` has found AVX-512; the panel was laid out for all factors.
        let sums = unsafe { loops::weighted_sums(panel.as_ptr(), self.factors) };
        for (d_bias, sum) in d_bias.iter_mut().zip(sums) {
            *d_bias = if self.adds { *d_bias + sum } else { sum };
        }
        PRIVATE.with_borrow_mut(|private| {
            let stride = h.next_multiple_of(PAIR) + GAP;
            let sums = private.logits.take(PAIR * stride);
            let product = Product {
                a: panel.as_ptr(),
                a_apart: 0,
                rows: 1,
                b: self.scaled.as_ptr(),
                b_apart: size,
                cols: h.div_ceil(PAIR),
                steps: self.pass.n_positions() / PAIR,
                c: sums.as_mut_ptr(),
                c_stride: stride,
                adds: false,
            };
            // SAFETY: panels are laid out; the sums are this thread's; `Cpu` has found AMX.
            unsafe {
                product.run();
                loops::put_rows(Rows {
                    from: sums,
                    stride,
                    to: d_weight,
                    h,
                    adds: self.adds,
                    is_far: self.is_far,
                    squares,
                });
            }
        });
    }
}
