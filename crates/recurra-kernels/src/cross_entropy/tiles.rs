//! Products of whole tiles: every operand and result of the loss has room for tiles of 32 × 32, zero beyond what exists.
//!
//! Results are *squares* of 32 × 32, one after the other: two tiles of the upper sixteen rows, two of the lower ones.

use crate::tiles::amx::{self, Shapes};
use crate::tiles::dots::{self, Left, Right, Start, Sums};
use crate::tiles::{DEPTH, ROW_BYTES, ROWS, TILE, Unit};
use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Units of the size of an `f32` in two tiles of an operand: 32 rows or columns of 32 k.
const STEP: usize = 2 * TILE;
/// Values of a square.
pub(super) const SQUARE: usize = 4 * TILE;
/// Steps of 32 k at a time: a panel of so many stays in the first cache beside another.
const MOST_STEPS: usize = 11;

static WHOLE: Shapes = Shapes::new([(ROWS, ROW_BYTES); 8]);

/// C ← A·B or C ← C + A·B of 32·`rows` rows and 32·`cols` columns, as squares, those of a column one after the other.
#[derive(Clone, Copy)]
pub(super) struct Product {
    /// Panels of 32 rows, and how far one is from the next.
    pub a: *const f32,
    pub a_apart: usize,
    pub rows: usize,
    /// Panels of 32 columns.
    pub b: *const f32,
    pub b_apart: usize,
    pub cols: usize,
    /// Steps of 32 k.
    pub steps: usize,
    pub c: *mut f32,
    /// Whether C is added to.
    pub adds: bool,
    /// What is wanted from memory next: two lines of it are asked for with every step of k of a square.
    pub next: *const f32,
}

/// Steps of 32 that hold `n`.
pub(super) fn steps(n: usize) -> usize {
    n.div_ceil(DEPTH)
}

impl Product {
    /// Multiplies.
    ///
    /// # Safety
    /// The machine has the unit; operands are readable, C is writable and nobody else's.
    pub unsafe fn run(&self, unit: Unit) {
        let is_amx = unit == Unit::Amx;
        if is_amx {
            // SAFETY: by this function's contract.
            unsafe { WHOLE.load() };
        }
        let n_parts = self.steps.div_ceil(MOST_STEPS);
        let mut next = self.next;
        for part in 0..n_parts {
            let place = |part: usize| self.steps * part / n_parts;
            let (first, n) = (place(part), place(part + 1) - place(part));
            for col in 0..self.cols {
                for row in 0..self.rows {
                    // SAFETY: by this function's contract.
                    unsafe {
                        let a = self.a.add(row * self.a_apart + first * STEP);
                        let b = self.b.add(col * self.b_apart + first * STEP);
                        let c = self.c.add((col * self.rows + row) * SQUARE);
                        let adds = self.adds || part > 0;
                        if is_amx {
                            tile(a, b, n, c, adds, next);
                        } else {
                            tile_in_registers(a, b, n, c, adds, next);
                        }
                        next = next.wrapping_add(n * 2 * ROWS);
                    }
                }
            }
        }
        if is_amx {
            // SAFETY: as above.
            unsafe { amx::release() };
        }
    }
}

/// A square of C: tiles 0 to 3 hold C, 4 and 5 A, 6 and 7 B. Asks for the square after it, so that it need not wait for that one,
/// and for lines from `next` on.
///
/// # Safety
/// As for [`Product::run`], with the tiles shaped; at least one step.
#[inline(always)]
unsafe fn tile(a: *const f32, b: *const f32, n: usize, c: *mut f32, adds: bool, next: *const f32) {
    // SAFETY: by this function's contract.
    unsafe {
        asm!(
            "test {adds:e}, {adds:e}",
            "jnz 3f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 2f",
            "3:",
            "tileloadd tmm0, [{c} + {row}]",
            "tileloadd tmm1, [{c} + {row} + 1024]",
            "tileloadd tmm2, [{c} + {row} + 2048]",
            "tileloadd tmm3, [{c} + {row} + 3072]",
            "2:",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {row} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "prefetcht0 [{after}]",
            "prefetcht0 [{after} + 64]",
            "prefetcht0 [{after} + 128]",
            "prefetcht0 [{after} + 192]",
            "prefetcht0 [{after} + 256]",
            "prefetcht0 [{after} + 320]",
            "prefetcht1 [{next}]",
            "prefetcht1 [{next} + 64]",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {after}, 384",
            "add {next}, 128",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {row}], tmm0",
            "tilestored [{c} + {row} + 1024], tmm1",
            "tilestored [{c} + {row} + 2048], tmm2",
            "tilestored [{c} + {row} + 3072], tmm3",
            adds = in(reg) u32::from(adds),
            n = inout(reg) n => _,
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            row = in(reg) ROW_BYTES,
            c = in(reg) c,
            after = inout(reg) c.wrapping_add(SQUARE) => _,
            next = inout(reg) next => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

/// [`tile`] without a matrix unit.
///
/// # Safety
/// The machine has AVX-512 with `bf16`; the rest as for [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile_in_registers(
    a: *const f32,
    b: *const f32,
    n: usize,
    c: *mut f32,
    adds: bool,
    next: *const f32,
) {
    let start = if adds { Start::Sum } else { Start::Zero };
    let after = c.wrapping_add(SQUARE);
    for line in 0..SQUARE / ROWS {
        _mm_prefetch::<_MM_HINT_T0>(after.wrapping_add(line * ROWS).cast());
    }
    dots::fetch(next, 2 * n);
    for half in 0..2 {
        // SAFETY: by this function's contract.
        unsafe {
            let right = Right { first: [b, b.add(TILE)], to_tile: STEP };
            let c = c.add(half * 2 * TILE);
            let sums = Sums::whole([c, c.add(TILE)], ROWS);
            dots::multiply(Left::tiles(a.add(half * TILE), STEP), right, ROWS, n, start, sums);
        }
    }
}
