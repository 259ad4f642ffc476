//! The loops with AMX: two tiles of A by two of B, operands in `bf16`; reading is that of AVX-512.

use super::{Kernel, avx512};
use crate::tiles::amx::{self, Shapes};
use crate::tiles::layout::{self, Side, Source};
use crate::tiles::{DEPTH, ROW_BYTES, ROWS, TILE};
use std::arch::asm;

/// Rows and columns of a pair of tiles.
const PAIR: usize = 2 * ROWS;
/// Pairs of tiles of A, and of B: 32 KiB together, two thirds of the first cache.
const STEPS: usize = 8;

pub(super) static KERNEL: Kernel = Kernel {
    rows: PAIR,
    cols: PAIR,
    depth: STEPS * DEPTH,
    multiply,
    lay_out,
    read: avx512::KERNEL.read,
};

/// Tiles 0 to 3 hold C, 4 and 5 A, 6 and 7 B.
unsafe fn multiply(a: &[f32], b: &[f32], times: usize, c: &mut [f32]) {
    assert!(a.len() >= STEPS * 2 * TILE && b.len() >= STEPS * 2 * TILE && c.len() == PAIR * PAIR);
    let half = ROWS * PAIR;
    // SAFETY: `Cpu` has found AMX; all addresses lie in the slices, by the lengths just checked.
    unsafe {
        Shapes::new([(ROWS, ROW_BYTES); 8]).load();
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {times}, {times}",
            "jz 4f",
            "2:",
            "mov {left}, {a}",
            "mov {right}, {b}",
            "mov {n}, {steps}",
            "3:",
            "tileloadd tmm4, [{left} + {row}]",
            "tileloadd tmm6, [{right} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{right} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{left} + {row} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {n}",
            "jnz 3b",
            "dec {times}",
            "jnz 2b",
            "4:",
            "tilestored [{c} + {c_row}], tmm0",
            "tilestored [{c} + {c_row} + 64], tmm1",
            "tilestored [{c_low} + {c_row}], tmm2",
            "tilestored [{c_low} + {c_row} + 64], tmm3",
            times = inout(reg) times => _,
            left = out(reg) _,
            right = out(reg) _,
            n = out(reg) _,
            a = in(reg) a.as_ptr(),
            b = in(reg) b.as_ptr(),
            c = in(reg) c.as_mut_ptr(),
            c_low = in(reg) c[half..].as_mut_ptr(),
            row = in(reg) ROW_BYTES,
            c_row = in(reg) 4 * PAIR,
            steps = const STEPS,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
        amx::release();
    }
}

/// A (k, rows) and B (k, cols) as tiles, pair after pair.
unsafe fn lay_out(a: &[f32], b: &[f32], to_a: &mut [f32], to_b: &mut [f32]) {
    for (side, from, to) in [(Side::Left, a, to_a), (Side::Right, b, to_b)] {
        assert!(from.len() == STEPS * DEPTH * PAIR && to.len() >= STEPS * 2 * TILE);
        for step in 0..STEPS {
            for half in 0..2 {
                let first = from[step * DEPTH * PAIR + half * ROWS..].as_ptr();
                let source = Source { first, across: 1, along: PAIR, n: ROWS, depth: DEPTH };
                // SAFETY: the source and the tile lie in the slices; `Cpu` has found AMX.
                unsafe {
                    layout::tile(side, &source, to[(2 * step + half) * TILE..].as_mut_ptr());
                }
            }
        }
    }
}
