//! A part of C whose operands are laid out, tile by tile.

use super::Start;
use super::kernels::{Kernels, Panels};
use super::vector::{Tile, TileStart};
use std::ops::Range;

/// A matrix C whose operands are laid out.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
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

// SAFETY: a block is used by the threads of one call, each at its own panels, while its matrices live.
unsafe impl Sync for Block<'_> {}

impl Block<'_> {
    /// C ← start + A·B for row panels `i` and column panels `j`; `b` begins with the first of `j`.
    ///
    /// # Safety
    /// The panels hold what they should, C is writable there and nobody else has it, and the machine has the instruction
    /// set of the kernels.
    pub unsafe fn multiply(&self, a: Panels, b: Panels, i: Range<usize>, j: Range<usize>) {
        let depth = self.kernels.padded(self.depth);
        // Few rows use a panel of B once: one long run is easiest to fetch ahead.
        let n_steps =
            if i.len() == 1 { 1 } else { depth.div_ceil(self.kernels.block_depth).max(1) };
        let step = self.kernels.padded(depth.div_ceil(n_steps).max(1));
        // SAFETY: by this function's contract.
        unsafe {
            (self.kernels.enter)();
            for idx in 0..n_steps {
                let k = (idx * step).min(depth)..((idx + 1) * step).min(depth);
                self.multiply_steps(a, b, i.clone(), j.clone(), k);
            }
            (self.kernels.leave)();
        }
    }

    /// The same for some steps of k.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply), inside of what the kernels do before and after their tiles.
    unsafe fn multiply_steps(
        &self,
        a: Panels,
        b: Panels,
        i: Range<usize>,
        j: Range<usize>,
        k: Range<usize>,
    ) {
        let Kernels { rows: height, cols: width, tile_rows, lanes, tiles, wide, .. } =
            *self.kernels;
        let c_at = |i: usize, j: usize| self.c.wrapping_add(i * height * self.c_stride + j * width);
        for row in i.clone() {
            let rows = (self.rows - row * height).min(height);
            let wide = wide.get((rows - 1) / tile_rows).filter(|_| i.len() == 1);
            let mut panel = j.start;
            while panel < j.end {
                let col = panel * width;
                let left = self.cols - col;
                let (n_panels, wide_loop) = match wide {
                    Some(&(n, wide)) if panel + n <= j.end && left >= n * width => (n, Some(wide)),
                    _ => (1, None),
                };
                let cols = left.min(n_panels * width);
                let is_last = panel + n_panels >= j.end;
                let (next_row, next_panel) =
                    if is_last { (row + 1, j.start) } else { (row, panel + n_panels) };
                let tile = Tile {
                    rows,
                    depth: k.len(),
                    a: a.at(row, k.start),
                    a_step: a.step,
                    b: b.at(panel - j.start, k.start),
                    b_panel: b.apart,
                    start: match self.start {
                        _ if k.start > 0 => TileStart::Sum,
                        Start::Zero => TileStart::Zero,
                        Start::Bias(bias) => TileStart::Bias(bias[col..][..cols].as_ptr()),
                        Start::Sum => TileStart::Sum,
                    },
                    c: c_at(row, panel),
                    c_stride: self.c_stride,
                    cols,
                    next_a: a.at(next_row, k.start),
                    next_c: c_at(next_row, next_panel),
                };
                // SAFETY: by this function's contract.
                unsafe {
                    wide_loop.unwrap_or_else(|| tiles[(rows - 1) / tile_rows][(cols - 1) / lanes])(
                        &tile,
                    );
                }
                panel += n_panels;
            }
        }
    }
}
