//! The second pass: d_weight and d_bias from the exponentials that were kept, and the end of d_hidden.

use super::exponentials::{self as loops, PAIR, PAIR_UNITS, Rows, Turned, in_square};
use super::stretches::{FAR, PRIVATE, Pass, Private, Shared, Sum, lay_out};
use super::tiles::{Product, SQUARE};
use super::{Arguments, Gradients};
use crate::SharedSlice;
use crate::matmul::{Matrix, TILES};
use crate::simd::math::bf16;

/// Panels of tokens in a task.
const TASK: usize = 8;

impl Pass<'_> {
    /// The second pass, and the end of d_hidden.
    pub(super) fn differentiate(
        &self,
        shared: &mut Shared,
        sums: &[Sum],
        gradients: Gradients<f32>,
    ) {
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
            parts: shared.d_hidden.first(self.parts_len()),
            part_len: self.part_len(),
            h,
            factors: &factors,
            target_factors: &target_factors,
            weight,
            targets,
        };
        let d_hidden = SharedSlice::new(gradients.d_hidden);
        // f·h, and beside it f in two parts that are `bf16`.
        let cols = h + 2;
        shared.scaled.resize(n * cols, 0.0);
        let scaled = SharedSlice::new(&mut shared.scaled);
        self.cpu.pool().for_each(self.n_panels(), |panel| {
            let rows = panel * PAIR..n.min((panel + 1) * PAIR);
            // SAFETY: each task has its own rows.
            let (d_hidden, scaled) = unsafe {
                (
                    d_hidden.slice(rows.start * h..rows.end * h),
                    scaled.slice(rows.start * cols..rows.end * cols),
                )
            };
            // SAFETY: `Cpu` has found AVX-512.
            unsafe { turned.put(panel, d_hidden) };
            for (row, to) in rows.zip(scaled.chunks_exact_mut(cols)) {
                let factor = factors[row];
                to.iter_mut().zip(&hidden[row * h..][..h]).for_each(|(to, x)| *to = x * factor);
                let high = f32::from_bits(u32::from(bf16(factor)) << 16);
                to[h..].copy_from_slice(&[high, factor - high]);
            }
        });
        let scaled = shared.hidden.take(TILES.all_panels(n_positions, cols));
        lay_out(self.cpu, Matrix::new(&shared.scaled, n, cols), cols, scaled);
        let kept = shared.kept.first_mut(self.kept_len());
        for (row, sum) in sums.iter().enumerate() {
            self.put_kept(kept, targets[row] as usize, row, -sum.others as f32);
        }
        let second = Second {
            pass: self,
            kept,
            scaled,
            adds: gradients.adds,
            is_far: !gradients.adds && size_of_val(gradients.d_weight) >= FAR,
            d_weight: SharedSlice::new(gradients.d_weight),
            d_bias: SharedSlice::new(gradients.d_bias),
            squares: SharedSlice::new(gradients.squares),
        };
        let n_panels = self.v.div_ceil(PAIR);
        self.cpu.pool().for_each(n_panels.div_ceil(TASK), |idx| {
            (idx * TASK..n_panels.min((idx + 1) * TASK)).for_each(|panel| second.panel(panel));
        });
    }

    /// Replaces the exponential of a token at a position.
    fn put_kept(&self, kept: &mut [f32], token: usize, position: usize, value: f32) {
        let panel = token / PAIR * self.kept_panel();
        let tile = panel + position / PAIR * PAIR_UNITS;
        let unit = &mut kept[tile + token % PAIR * 16 + position % PAIR / 2];
        let (bits, half) = (unit.to_bits(), u32::from(bf16(value)));
        *unit = f32::from_bits(if position.is_multiple_of(2) {
            bits & 0xffff_0000 | half
        } else {
            bits & 0xffff | half << 16
        });
    }
}

/// What its tasks share.
struct Second<'a> {
    pass: &'a Pass<'a>,
    /// e as the left side, a panel after the other, and f·h as the right side.
    kept: &'a [f32],
    scaled: &'a [f32],
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
        let size = self.pass.kept_panel();
        let panel = &self.kept[idx * size..][..size];
        // SAFETY: these tokens are this task's.
        let (d_weight, d_bias, squares) = unsafe {
            (
                self.d_weight.slice(tokens.start * h..tokens.end * h),
                self.d_bias.slice(tokens.clone()),
                self.squares.slice(tokens.clone()),
            )
        };
        PRIVATE.with_borrow_mut(|Private { sums, line, .. }| {
            let cols = (h + 2).div_ceil(PAIR);
            let sums = sums.take(cols * SQUARE);
            line.resize(h.next_multiple_of(PAIR), 0.0);
            let product = Product {
                a: panel.as_ptr(),
                a_apart: 0,
                rows: 1,
                b: self.scaled.as_ptr(),
                b_apart: size,
                cols,
                steps: self.pass.n_panels(),
                c: sums.as_mut_ptr(),
                adds: false,
                next: panel.as_ptr().wrapping_add(size),
            };
            // SAFETY: panels are laid out; the sums are this thread's; `Cpu` has found the unit.
            unsafe { product.run(self.pass.unit) };
            for (row, d_bias) in d_bias.iter_mut().enumerate() {
                let [high, low] =
                    [h, h + 1].map(|col| sums[col / PAIR * SQUARE + in_square(row, col % PAIR)]);
                *d_bias = if self.adds { *d_bias + (high + low) } else { high + low };
            }
            let (adds, is_far) = (self.adds, self.is_far);
            // SAFETY: `Cpu` has found AVX-512.
            unsafe {
                loops::put_rows(Rows { from: sums, to: d_weight, h, adds, is_far, squares, line })
            };
        });
    }
}
