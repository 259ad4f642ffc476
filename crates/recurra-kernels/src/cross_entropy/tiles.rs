//! Products of whole tiles: every operand and result of the loss has room for tiles of 32 × 32, zero beyond what exists.

use crate::amx::{self, DEPTH, ROW_BYTES, ROWS, Shapes, TILE};
use std::arch::asm;

/// Units of the size of an `f32` in two tiles of an operand: 32 rows or columns of 32 k.
const STEP: usize = 2 * TILE;
/// Steps of 32 k at a time: a panel of so many stays in the first cache beside another.
const MOST_STEPS: usize = 11;

static WHOLE: Shapes = Shapes::new([(ROWS, ROW_BYTES); 8]);

/// C ← A·B or C ← C + A·B of 32·`rows` rows and 32·`cols` columns.
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
    pub c_stride: usize,
    /// Whether C is added to.
    pub adds: bool,
}

/// Steps of 32 that hold `n`.
pub(super) fn steps(n: usize) -> usize {
    n.div_ceil(DEPTH)
}

impl Product {
    /// Multiplies.
    ///
    /// # Safety
    /// The machine has AMX; operands are readable, C is writable and nobody else's.
    pub unsafe fn run(&self) {
        // SAFETY: by this function's contract.
        unsafe { WHOLE.load() };
        let n_parts = self.steps.div_ceil(MOST_STEPS);
        for part in 0..n_parts {
            let place = |part: usize| self.steps * part / n_parts;
            let (first, n) = (place(part), place(part + 1) - place(part));
            for col in 0..self.cols {
                for row in 0..self.rows {
                    // SAFETY: by this function's contract.
                    unsafe {
                        tile(
                            self.a.add(row * self.a_apart + first * STEP),
                            self.b.add(col * self.b_apart + first * STEP),
                            n,
                            self.c.add(2 * ROWS * (row * self.c_stride + col)),
                            self.c_stride,
                            self.adds || part > 0,
                        );
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { amx::release() };
    }
}

/// 32 × 32 of C: tiles 0 to 3 hold C, 4 and 5 A, 6 and 7 B.
///
/// # Safety
/// As for [`Product::run`], with the tiles shaped; at least one step.
#[inline(always)]
unsafe fn tile(a: *const f32, b: *const f32, n: usize, c: *mut f32, stride: usize, adds: bool) {
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
            "tileloadd tmm0, [{c} + {c_bytes}]",
            "tileloadd tmm1, [{c} + {c_bytes} + 64]",
            "tileloadd tmm2, [{c_low} + {c_bytes}]",
            "tileloadd tmm3, [{c_low} + {c_bytes} + 64]",
            "2:",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {row} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {c_bytes}], tmm0",
            "tilestored [{c} + {c_bytes} + 64], tmm1",
            "tilestored [{c_low} + {c_bytes}], tmm2",
            "tilestored [{c_low} + {c_bytes} + 64], tmm3",
            adds = in(reg) u32::from(adds),
            n = inout(reg) n => _,
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            row = in(reg) ROW_BYTES,
            c = in(reg) c,
            c_low = in(reg) c.wrapping_add(ROWS * stride),
            c_bytes = in(reg) 4 * stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}
