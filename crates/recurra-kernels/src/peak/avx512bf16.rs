//! The loops with AVX-512 and `bf16`: eleven rows by two tiles of B; reading is that of AVX-512.

use super::{Kernel, avx512};
use crate::tiles::dots::{self, Left, Right, Start, Sums};
use crate::tiles::layout::{self, Side, Source};
use crate::tiles::{DEPTH, ROWS, TILE};

/// Rows of A: with two vectors of B, 22 sums.
const HEIGHT: usize = 11;
/// Tiles of A and pairs of tiles of B: 24 KiB together, half of the first cache.
const STEPS: usize = 8;

pub(super) static KERNEL: Kernel = Kernel {
    rows: HEIGHT,
    cols: 2 * ROWS,
    depth: STEPS * DEPTH,
    multiply,
    lay_out,
    read: avx512::KERNEL.read,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    assert!(a.len() >= STEPS * TILE && b.len() >= STEPS * 2 * TILE && c.len() == HEIGHT * 2 * ROWS);
    c.fill(0.0);
    let c = c.as_mut_ptr();
    for _ in 0..times {
        // SAFETY: `Cpu` has found the instruction set; all addresses lie in the slices, by the lengths just checked.
        unsafe {
            dots::rows::<HEIGHT, 2>(
                Left::tiles(a.as_ptr(), TILE),
                Right { first: [b.as_ptr(), b[TILE..].as_ptr()], to_tile: 2 * TILE },
                STEPS,
                Start::Sum,
                Sums::whole([c, c.add(ROWS)], 2 * ROWS),
            );
        }
    }
}

/// A (k, rows) and B (k, cols) as tiles, those of one step of k one after the other.
unsafe fn lay_out(a: &[f32], b: &[f32], to_a: &mut [f32], to_b: &mut [f32]) {
    let operands = [(Side::Left, a, to_a, HEIGHT, 1), (Side::Right, b, to_b, 2 * ROWS, 2)];
    for (side, from, to, width, n_tiles) in operands {
        assert!(from.len() == STEPS * DEPTH * width && to.len() >= STEPS * n_tiles * TILE);
        for step in 0..STEPS {
            for tile in 0..n_tiles {
                let first = from[step * DEPTH * width + tile * ROWS..].as_ptr();
                let n = (width - tile * ROWS).min(ROWS);
                let source = Source { first, across: 1, along: width, n, depth: DEPTH };
                // SAFETY: the source and the tile lie in the slices; `Cpu` has found AVX-512 with `bf16`.
                unsafe {
                    layout::tile(side, &source, to[(n_tiles * step + tile) * TILE..].as_mut_ptr());
                }
            }
        }
    }
}
