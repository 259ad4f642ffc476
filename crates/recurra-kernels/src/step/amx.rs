//! Products for several rows in the matrix unit; the rest with AVX-512.
//!
//! A tile of weights is sixteen steps of one line. Whole numbers may end within a tile: what follows there meets inputs of
//! zero and brings nothing; weights in `bf16` are padded, since what follows might be no number.

use super::Storage;
use super::avx512;
use super::kernels::{Input, Kernels};
use super::layout::{LANES, TILE_STEPS};
use super::likeliest::Search;
use super::product::Product;
use crate::simd::{Avx512, Vector};
use crate::tiles::amx::{Shapes, release};
use crate::tiles::{ROW_BYTES, ROWS};
use std::arch::asm;
use std::arch::x86_64::*;

/// The loops for weights in `i8`.
pub(super) fn int8() -> Kernels {
    let (multiply, sum, find) = (multiply::<true>, Some(sum as _), Some(find as _));
    let finish = avx512::finish_sums;
    Kernels { multiply, sum, finish, find, enter, leave, ..avx512::kernels(Storage::Int8) }
}

/// The loops for weights in `bf16`.
pub(super) fn bf16() -> Kernels {
    let (input, prepare, multiply) = (Input::Bf16, round, multiply::<false>);
    Kernels { input, prepare, multiply, enter, leave, ..avx512::kernels(Storage::Bf16) }
}

/// All tiles of rows have one height: where it does not divide the rows, the last repeats some of the one before.
fn height(n_rows: usize) -> usize {
    n_rows.div_ceil(n_rows.div_ceil(ROWS))
}

unsafe fn enter(n_rows: usize) {
    let (rows, weights) = ((height(n_rows), ROW_BYTES), (ROWS, ROW_BYTES));
    // SAFETY: these kernels are chosen with AMX only.
    unsafe { Shapes::new([rows, rows, rows, rows, rows, rows, weights, weights]).load() };
}

unsafe fn leave() {
    // SAFETY: these kernels are chosen with AMX only.
    unsafe { release() };
}

/// Rounds a row to `bf16`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn round(row: &[f32], to: &mut [u8]) -> f32 {
    assert!(2 * row.len() <= to.len());
    to[2 * row.len()..].fill(0);
    for first in (0..row.len()).step_by(LANES) {
        let n = LANES.min(row.len() - first);
        // SAFETY: the machine has what this function enables; `first + n` values are in both.
        unsafe {
            let values = Avx512::load_first(row.as_ptr().add(first), n);
            values.store_bf16(to.as_mut_ptr().cast::<u16>().add(first), n);
        }
    }
    1.0
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn multiply<const INT8: bool>(product: &Product<'_>) {
    // SAFETY: the machine has AMX, whose tiles `enter` has shaped; everything that `product` names is there.
    unsafe {
        tiles::<INT8>(product);
        let (header, _) = product.operand();
        for row in 0..product.n_rows {
            for line in 0..product.packed.n_lines {
                let out = product.out(row, line);
                if INT8 {
                    let sums = _mm512_loadu_si512(out.cast());
                    avx512::finish_line(product, header, row, line, sums);
                } else {
                    Avx512::load(out).add(Avx512::load(header.bias(line))).store(out);
                }
            }
        }
    }
}

/// Sums as they are.
unsafe fn sum(product: &Product<'_>) {
    // SAFETY: as in `multiply`.
    unsafe { tiles::<true>(product) }
}

/// Sums become logits in registers, and are looked at there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn find(search: &mut Search<'_>) {
    // SAFETY: as in `multiply`.
    unsafe {
        tiles::<true>(&search.product);
        avx512::look_at_sums(search);
    }
}

/// out ← Σ of all rows and lines, as the tiles hold them.
///
/// # Safety
/// The machine has AMX, whose tiles [`enter`] has shaped; everything that `product` names is there.
#[inline(always)]
unsafe fn tiles<const INT8: bool>(product: &Product<'_>) {
    let n_rows = product.n_rows;
    let n_lines = product.packed.n_lines;
    let row_bytes = product.rows.row_bytes;
    let bytes_a_value = if INT8 { 1 } else { 2 };
    let height = height(n_rows);
    let n_tiles = n_rows.div_ceil(ROWS);
    let first = |idx: usize| (idx * height).min(n_rows - height);
    let (_, weights) = product.operand();
    let (mut line, mut next) = (0, product.next);
    // The lines of a block stay in the first cache while all rows meet them.
    while line < n_lines {
        let mut n_done = 0;
        for idx in (0..n_tiles).step_by(2) {
            let low = (idx + 1).min(n_tiles - 1);
            let block = Block {
                n_steps: (product.depth() * bytes_a_value).div_ceil(ROW_BYTES),
                rows: [idx, low].map(|idx| product.row(first(idx))),
                row_bytes,
                weights: weights.wrapping_add(line * ROW_BYTES),
                weights_bytes: n_lines * ROW_BYTES,
                tile_bytes: n_lines * ROW_BYTES * TILE_STEPS,
                sums: [idx, low].map(|idx| product.out(first(idx), line)),
                sums_bytes: 4 * product.out_stride,
                next,
            };
            next = next.wrapping_add(block.n_steps * FETCHED);
            // SAFETY: by this function's contract.
            n_done = unsafe {
                match (low > idx, n_lines - line) {
                    (true, 1) => block.two_by_one::<INT8>(),
                    (true, _) => block.two_by_two::<INT8>(),
                    (false, 1) => block.one_by_one::<INT8>(),
                    (false, 4) if n_tiles == 1 => block.one_by_four::<INT8>(),
                    (false, _) => block.one_by_two::<INT8>(),
                }
            };
        }
        line += n_done;
    }
}

/// One or two tiles of rows by up to four lines.
struct Block {
    n_steps: usize,
    /// The first row of the first tile and of the second.
    rows: [*const u8; 2],
    row_bytes: usize,
    /// From one step of k to the next, and from one tile to the next.
    weights: *const u8,
    weights_bytes: usize,
    tile_bytes: usize,
    sums: [*mut f32; 2],
    sums_bytes: usize,
    /// What is fetched meanwhile, [`FETCHED`] bytes a step of k.
    next: *const u8,
}

/// Bytes that are fetched at every step of k: with 64 rows a block takes as many steps as the next one has such pieces.
const FETCHED: usize = 1024;

/// A step of k names what is loaded and, by its tiles only, what is multiplied: so it serves whole numbers and `bf16`.
macro_rules! instruction {
    ($multiply:literal, load $instruction:literal) => {
        $instruction
    };
    ($multiply:literal, dot $tiles:literal) => {
        concat!($multiply, " ", $tiles)
    };
}

/// One block of instructions, because nothing tells the compiler what tiles hold: those before, those of one step of k, and
/// those after.
macro_rules! multiply {
    ($block:expr, $multiply:literal, [$($zero:literal)*], [$($kind:ident $step:literal)*], [$($store:literal)*]) => {{
        let block: &Block = $block;
        asm!(
            "/* for some blocks only: {a_low} {c_low} {next} */",
            $($zero,)*
            "2:",
            $(instruction!($multiply, $kind $step),)*
            "add {a}, 64",
            "add {a_low}, 64",
            "add {b}, {b_step}",
            "dec {n}",
            "jnz 2b",
            $($store,)*
            n = inout(reg) block.n_steps => _,
            a = inout(reg) block.rows[0] => _,
            a_low = inout(reg) block.rows[1] => _,
            a_bytes = in(reg) block.row_bytes,
            b = inout(reg) block.weights => _,
            b_bytes = in(reg) block.weights_bytes,
            b_step = in(reg) block.tile_bytes,
            c = in(reg) block.sums[0],
            c_low = in(reg) block.sums[1],
            c_bytes = in(reg) block.sums_bytes,
            next = inout(reg) block.next => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }};
}

/// A block of so many lines, for whole numbers and for `bf16`.
macro_rules! block {
    ($name:ident, $n_lines:literal, $zero:tt, $steps:tt, $store:tt) => {
        /// Gives the number of lines.
        ///
        /// # Safety
        /// What the fields say is there, there is a step, the tiles are shaped, and the machine has AMX.
        unsafe fn $name<const INT8: bool>(&self) -> usize {
            // SAFETY: by the contract of this function.
            unsafe {
                match INT8 {
                    true => multiply!(self, "tdpbusd", $zero, $steps, $store),
                    false => multiply!(self, "tdpbf16ps", $zero, $steps, $store),
                }
            }
            $n_lines
        }
    };
}

impl Block {
    block!(
        two_by_two,
        2,
        ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
        [
            load "tileloadd tmm4, [{a} + {a_bytes}]"
            load "tileloadd tmm6, [{b} + {b_bytes}]"
            dot "tmm0, tmm4, tmm6"
            load "tileloadd tmm7, [{b} + {b_bytes} + 64]"
            dot "tmm1, tmm4, tmm7"
            load "tileloadd tmm5, [{a_low} + {a_bytes}]"
            dot "tmm2, tmm5, tmm6"
            dot "tmm3, tmm5, tmm7"
            load "prefetcht1 [{next} + 0]"
            load "prefetcht1 [{next} + 64]"
            load "prefetcht1 [{next} + 128]"
            load "prefetcht1 [{next} + 192]"
            load "prefetcht1 [{next} + 256]"
            load "prefetcht1 [{next} + 320]"
            load "prefetcht1 [{next} + 384]"
            load "prefetcht1 [{next} + 448]"
            load "prefetcht1 [{next} + 512]"
            load "prefetcht1 [{next} + 576]"
            load "prefetcht1 [{next} + 640]"
            load "prefetcht1 [{next} + 704]"
            load "prefetcht1 [{next} + 768]"
            load "prefetcht1 [{next} + 832]"
            load "prefetcht1 [{next} + 896]"
            load "prefetcht1 [{next} + 960]"
            load "add {next}, 1024"
        ],
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"
         "tilestored [{c_low} + {c_bytes}], tmm2"
         "tilestored [{c_low} + {c_bytes} + 64], tmm3"]
    );

    block!(
        two_by_one,
        1,
        ["tilezero tmm0" "tilezero tmm2"],
        [
            load "tileloadd tmm4, [{a} + {a_bytes}]"
            load "tileloadd tmm6, [{b} + {b_bytes}]"
            dot "tmm0, tmm4, tmm6"
            load "tileloadd tmm5, [{a_low} + {a_bytes}]"
            dot "tmm2, tmm5, tmm6"
        ],
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c_low} + {c_bytes}], tmm2"]
    );

    block!(
        one_by_four,
        4,
        ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
        [
            load "tileloadd tmm4, [{a} + {a_bytes}]"
            load "tileloadd tmm6, [{b} + {b_bytes}]"
            dot "tmm0, tmm4, tmm6"
            load "tileloadd tmm7, [{b} + {b_bytes} + 64]"
            dot "tmm1, tmm4, tmm7"
            load "tileloadd tmm6, [{b} + {b_bytes} + 128]"
            dot "tmm2, tmm4, tmm6"
            load "tileloadd tmm7, [{b} + {b_bytes} + 192]"
            dot "tmm3, tmm4, tmm7"
        ],
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"
         "tilestored [{c} + {c_bytes} + 128], tmm2"
         "tilestored [{c} + {c_bytes} + 192], tmm3"]
    );

    block!(
        one_by_two,
        2,
        ["tilezero tmm0" "tilezero tmm1"],
        [
            load "tileloadd tmm4, [{a} + {a_bytes}]"
            load "tileloadd tmm6, [{b} + {b_bytes}]"
            dot "tmm0, tmm4, tmm6"
            load "tileloadd tmm7, [{b} + {b_bytes} + 64]"
            dot "tmm1, tmm4, tmm7"
        ],
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"]
    );

    block!(
        one_by_one,
        1,
        ["tilezero tmm0"],
        [
            load "tileloadd tmm4, [{a} + {a_bytes}]"
            load "tileloadd tmm6, [{b} + {b_bytes}]"
            dot "tmm0, tmm4, tmm6"
        ],
        ["tilestored [{c} + {c_bytes}], tmm0"]
    );
}
