//! The first pass over the vocabulary: logits, exponentials, their sums, and d_hidden up to a factor a row.

use super::exponentials::{self as loops, Kept, Logits, NEVER, PAIR, PAIR_UNITS, in_square};
use super::stretches::{FAR, PRIVATE, Pass, Shared, Sum, lay_out};
use super::tiles::{Product, SQUARE, steps};
use crate::SharedSlice;
use crate::matmul::{Matrix, Strip, TILES};
use std::ops::Range;

/// Tokens whose exponentials are multiplied with W at a time: each time all of d_hidden is read and written.
const TASK: usize = 512;
/// Parts of the vocabulary whose sums are made apart, in whichever order, and then added: what threads share.
const MOST_GROUPS: usize = 12;
/// Bytes of h and of d_hidden of the positions that a group of tokens goes through at a time. More of them would be written to
/// the third cache by every task; fewer lay out W for d_hidden more often.
const MOST_NEAR: usize = 3 << 20;
/// The largest logit of a position lies between ± this, or is taken off all of them.
const PLAIN: f32 = 40.0;

/// Where what the gradients want goes.
struct Backward<'a> {
    kept: SharedSlice<'a, f32>,
    d_hidden: SharedSlice<'a, f32>,
}

impl Pass<'_> {
    /// The tokens of each group.
    fn groups(&self) -> Vec<Range<usize>> {
        let n_panels = self.v.div_ceil(PAIR);
        let n_groups = MOST_GROUPS.min(self.v.div_ceil(TASK));
        (0..n_groups)
            .map(|idx| n_panels * idx / n_groups * PAIR..n_panels * (idx + 1) / n_groups * PAIR)
            .map(|tokens| tokens.start..tokens.end.min(self.v))
            .collect()
    }

    /// Panels of positions that a group goes through at a time.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let n_panels = self.n_panels();
        let bytes = self.h * PAIR * (size_of::<u16>() + size_of::<f32>());
        let most = (MOST_NEAR / bytes).max(1);
        let n_blocks = n_panels.div_ceil(most);
        (0..n_blocks).map(move |idx| n_panels * idx / n_blocks..n_panels * (idx + 1) / n_blocks)
    }

    /// Values of the part of d_hidden of a group.
    pub(super) fn part_len(&self) -> usize {
        self.n_panels() * self.h.div_ceil(PAIR) * SQUARE
    }

    /// Values of all such parts.
    pub(super) fn parts_len(&self) -> usize {
        self.groups().len() * self.part_len()
    }

    /// The first pass.
    pub(super) fn sum_up(&self, shared: &mut Shared, keep: bool) -> Vec<Sum> {
        let (n, n_positions) = (self.n_rows, self.n_positions());
        let groups = self.groups();
        let hidden = shared.hidden.take(TILES.all_panels(self.h, n_positions));
        let matrix = Matrix::new(self.arguments.hidden, n, self.h);
        lay_out(self.cpu, matrix.transposed(), n_positions, hidden);
        let hidden = &*hidden;
        let backward = keep.then(|| Backward {
            kept: SharedSlice::new(shared.kept.take(self.kept_len())),
            d_hidden: SharedSlice::new(shared.d_hidden.take(self.parts_len())),
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
        let n_tasks = tokens.len().div_ceil(TASK);
        let n_panels = tokens.len().div_ceil(PAIR);
        PRIVATE.with_borrow_mut(|private| {
            let weight = private.weight.take(TILES.row_panel(h));
            let weight_across =
                private.weight_across.take(h.div_ceil(TILES.rows) * TILES.row_panel(TASK));
            for block in self.pass.blocks() {
                let positions = block.start * PAIR..block.end * PAIR;
                let logits = private.sums.take(block.len() * SQUARE);
                let kept_down = private.kept_down.take(block.len() * TILES.col_panel(TASK));
                for task in 0..n_tasks {
                    let place = |task: usize| tokens.start + n_panels * task / n_tasks * PAIR;
                    let task = place(task)..place(task + 1).min(tokens.end);
                    for first in task.clone().step_by(PAIR) {
                        let panel = first..task.end.min(first + PAIR);
                        self.compute_logits(&panel, &block, weight, logits);
                        let place = (first - task.start) * TILES.col_step;
                        let kept = self.backward.map(|backward| Kept {
                            left: backward.kept.ptr(
                                first / PAIR * self.pass.kept_panel() + block.start * PAIR_UNITS,
                            ),
                            is_far: size_of::<f32>() * backward.kept.len() >= FAR,
                            right: kept_down[place..].as_mut_ptr(),
                            right_panel: TILES.col_panel(TASK),
                        });
                        self.take_exponentials(
                            &panel,
                            &positions,
                            logits,
                            kept,
                            &mut sums[positions.clone()],
                            &mut largest[positions.clone()],
                        );
                        if kept.is_some() {
                            let to = weight_across[place..].as_mut_ptr();
                            let apart = TILES.row_panel(TASK);
                            // SAFETY: `Cpu` has found AVX-512; panels of a task have room for it.
                            unsafe { loops::turn(weight.as_ptr(), h.div_ceil(PAIR), to, apart) };
                        }
                    }
                    if let Some(backward) = self.backward {
                        let is_first = task.start == tokens.start;
                        self.d_hidden(task, &block, weight_across, kept_down, backward, is_first);
                    }
                }
            }
        });
    }

    /// The logits of a panel of tokens for a block of positions, without the bias; `weight` becomes W of these tokens as a left
    /// side.
    fn compute_logits(
        &self,
        tokens: &Range<usize>,
        block: &Range<usize>,
        weight: &mut [f32],
        logits: &mut [f32],
    ) {
        let Pass { h, ref arguments, .. } = *self.pass;
        let strip = Strip {
            first: arguments.weight[tokens.start * h..].as_ptr(),
            across: h,
            along: 1,
            n: tokens.len(),
            depth: h,
            width: PAIR,
        };
        // SAFETY: `Cpu` has found the unit; the panel has room for 32 tokens, there is a square for each 32 positions, and both are
        // this thread's.
        unsafe {
            (TILES.pack_rows)(&strip, weight.as_mut_ptr());
            let size = TILES.col_panel(h);
            let product = Product {
                a: weight.as_ptr(),
                a_apart: 0,
                rows: 1,
                b: self.hidden[block.start * size..].as_ptr(),
                b_apart: size,
                cols: block.len(),
                steps: steps(h),
                c: logits.as_mut_ptr(),
                adds: false,
                next: arguments.weight.as_ptr().wrapping_add(tokens.end * h),
            };
            product.run(self.pass.unit);
        }
    }

    /// Takes the logits of targets out, and turns the others into exponentials.
    fn take_exponentials(
        &self,
        tokens: &Range<usize>,
        positions: &Range<usize>,
        logits: &mut [f32],
        kept: Option<Kept>,
        sums: &mut [f64],
        largest: &mut [f32],
    ) {
        let Pass { ref by_target, ref arguments, .. } = *self.pass;
        let target = |row: usize| arguments.targets[row] as usize;
        let first = by_target.partition_point(|&row| target(row) < tokens.start);
        let rows = by_target[first..].iter().take_while(|&&row| target(row) < tokens.end);
        for &row in rows.filter(|row| positions.contains(row)) {
            let col = row - positions.start;
            let place = col / PAIR * SQUARE + in_square(target(row) - tokens.start, col % PAIR);
            let logit = &mut logits[place];
            // SAFETY: a row has one target, which is in one panel.
            let kept = unsafe { &mut self.logits_of_targets.slice(row..row + 1)[0] };
            *kept = *logit + arguments.bias[target(row)];
            *logit = NEVER;
        }
        let mut bias = [NEVER; PAIR];
        bias[..tokens.len()].copy_from_slice(&arguments.bias[tokens.clone()]);
        let references = &self.references[positions.clone()];
        let mut block = Logits { logits, bias: &bias, references, sums, largest, kept };
        // SAFETY: `Cpu` has found the unit; the panels have room for these tokens, which are this thread's.
        unsafe { loops::exponentials(&mut block) };
    }

    /// Adds Σ e·W over a task to the part of d_hidden of this group.
    fn d_hidden(
        &self,
        tokens: Range<usize>,
        block: &Range<usize>,
        weight: &[f32],
        kept: &[f32],
        backward: &Backward<'_>,
        is_first: bool,
    ) {
        let rows = self.pass.h.div_ceil(PAIR);
        let part = self.idx * self.pass.part_len();
        // One panel of positions at a time, for all tokens: so that its sums are fetched once.
        for (col, right) in kept.chunks_exact(TILES.col_panel(TASK)).enumerate() {
            let product = Product {
                a: weight.as_ptr(),
                a_apart: TILES.row_panel(TASK),
                rows,
                b: right.as_ptr(),
                b_apart: 0,
                cols: 1,
                steps: steps(tokens.len()),
                c: backward.d_hidden.ptr(part + (block.start + col) * rows * SQUARE),
                adds: !is_first,
                next: right.as_ptr().wrapping_add(right.len()),
            };
            // SAFETY: panels are laid out; this part is this thread's; `Cpu` has found the unit.
            unsafe { product.run(self.pass.unit) };
        }
    }
}
