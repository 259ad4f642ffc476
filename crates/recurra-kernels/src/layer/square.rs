//! Tiles times tiles: the products of weight gradients.

use super::product::Tiles;
use crate::tiles::dots::{self, Left, Right, Start, Sums};
use crate::tiles::{ROW_BYTES, ROWS, TILE, Unit};
use std::arch::asm;

/// Four tiles of a product of tiles with tiles, both operands one tile of k after the other.
pub(super) struct Square {
    pub n_k: usize,
    /// The first tiles of two rows of tiles, and of two columns.
    pub left: [*const f32; 2],
    pub right: [*const f32; 2],
    /// The sums of the first row and both columns, then of the second.
    pub sums: [[*mut f32; 2]; 2],
}

macro_rules! square {
    ($square:expr, $ahead:expr, [$($start:literal)*]) => {{
        let square: &Square = $square;
        asm!(
            $($start,)*
            "2:",
            "tileloadd tmm4, [{a} + {row}]",
            "tileloadd tmm6, [{b} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b_right} + {row}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a_low} + {row}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 1024",
            "add {a_low}, 1024",
            "add {b}, 1024",
            "add {b_right}, 1024",
            "prefetcht1 [{ahead}]",
            "prefetcht1 [{ahead} + 64]",
            "prefetcht1 [{ahead} + 128]",
            "prefetcht1 [{ahead} + 192]",
            "add {ahead}, 256",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {row}], tmm0",
            "tilestored [{c_right} + {row}], tmm1",
            "tilestored [{c_low} + {row}], tmm2",
            "tilestored [{c_low_right} + {row}], tmm3",
            n = inout(reg) square.n_k => _,
            ahead = inout(reg) $ahead => _,
            a = inout(reg) square.left[0] => _,
            a_low = inout(reg) square.left[1] => _,
            b = inout(reg) square.right[0] => _,
            b_right = inout(reg) square.right[1] => _,
            c = in(reg) square.sums[0][0],
            c_right = in(reg) square.sums[0][1],
            c_low = in(reg) square.sums[1][0],
            c_low_right = in(reg) square.sums[1][1],
            row = in(reg) ROW_BYTES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }};
}

impl Square {
    /// sums = or += left · right; where two places are the same, both get the same sum.
    ///
    /// # Safety
    /// The machine has the unit, the thread's tiles are whole, `n_k` is at least 1, and tiles and sums are there.
    pub(super) unsafe fn multiply(&self, tiles: &Tiles, from_zero: bool) {
        let ahead = tiles.next_ahead(self.n_k, self.left[0].cast());
        // SAFETY: by this function's contract.
        unsafe {
            if tiles.unit() == Unit::Dots {
                self.multiply_in_registers(ahead, from_zero);
            } else if from_zero {
                square!(self, ahead, ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"]);
            } else {
                square!(
                    self,
                    ahead,
                    ["tileloadd tmm0, [{c} + {row}]"
                     "tileloadd tmm1, [{c_right} + {row}]"
                     "tileloadd tmm2, [{c_low} + {row}]"
                     "tileloadd tmm3, [{c_low_right} + {row}]"]
                );
            }
        }
    }

    /// [`multiply`](Self::multiply) without a matrix unit.
    ///
    /// # Safety
    /// The machine has AVX-512 with `bf16`; tiles and sums are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn multiply_in_registers(&self, ahead: *const u8, from_zero: bool) {
        let start = if from_zero { Start::Zero } else { Start::Sum };
        let right = Right { first: self.right, to_tile: TILE };
        dots::fetch(ahead, 4 * self.n_k);
        // A row of tiles that is there twice is added once.
        let n_rows = if self.left[0] == self.left[1] { 1 } else { 2 };
        for (&left, &sums) in self.left.iter().zip(&self.sums).take(n_rows) {
            let left = Left::tiles(left, TILE);
            // SAFETY: by this function's contract.
            unsafe {
                dots::multiply(left, right, ROWS, self.n_k, start, Sums::whole(sums, ROWS));
            }
        }
    }
}
