//! The sweep with AMX: products of `bf16` in the matrix unit, the pointwise part with AVX-512.
//!
//! What a step multiplies with is kept as `bf16` by the step before, row by row, so that a tile of it is sixteen rows as
//! they lie; two such matrices change places, because members still read one while others write the other.

use super::panels::{Group, padded};
use super::sweep::{self, MOST_KEPT, Product, Sweep, load};
use crate::amx::{self, DEPTH, ROW_BYTES, ROWS, Shapes, TILE};
use crate::matmul::buffer::Buffer;
use crate::simd::{Avx512, Vector};
use crate::{Cpu, SharedSlice, Worker};
use std::arch::asm;
use std::cell::{Cell, RefCell};
use std::ops::Range;

thread_local! {
    static SCRATCH: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
}

/// Runs the whole sweep, `alone` on the calling thread or on the team.
pub(super) fn run(cpu: &Cpu, kernel: &impl Sweep, alone: bool) {
    SCRATCH.with_borrow_mut(|buffer| {
        let row_len = row_len(kernel.panels().padded_depth());
        let matrix_len = kernel.rows() * row_len;
        let words = buffer.take(matrix_len); // two matrices of half as many `f32` each
        words.fill(0.0);
        let kept = SharedSlice::new(words);
        // SAFETY: this runs only where `Cpu` has found AMX and AVX-512 with `bf16`; members of the team touch different
        // places, or meet at a barrier in between.
        unsafe {
            let tiles = |kept| Tiles { kept, row_len, matrix_len, height: Cell::new(0) };
            keep_first(&tiles(&kept), kernel);
            if alone {
                member(&tiles(&kept), None, kernel);
            } else {
                cpu.pool().run(|worker| member(&tiles(&kept), Some(worker), kernel));
            }
        }
    });
}

/// `bf16` values from one kept row to the next: whole tiles, and an odd number of cache lines, because rows whose distance
/// is a power of two would push each other out of the first cache.
fn row_len(depth: usize) -> usize {
    (depth.div_ceil(DEPTH) | 1) * DEPTH
}

/// Products of kept rows with panels of tiles.
struct Tiles<'a> {
    /// Two matrices of `bf16`, in pairs of the size of an `f32`.
    kept: &'a SharedSlice<'a, f32>,
    /// `bf16` values from one row to the next, and in a matrix.
    row_len: usize,
    matrix_len: usize,
    /// Rows that this thread's tiles of A and C have.
    height: Cell<usize>,
}

impl Tiles<'_> {
    /// Row `row` of what `step` multiplies with.
    fn row(&self, step: usize, row: usize) -> *mut u16 {
        self.kept.ptr(0).cast::<u16>().wrapping_add(step % 2 * self.matrix_len + row * self.row_len)
    }

    /// Gives the tiles of A and C so many rows.
    unsafe fn shape(&self, height: usize) {
        if self.height.replace(height) != height {
            let (own, right) = ((height, ROW_BYTES), (ROWS, ROW_BYTES));
            // SAFETY: `run` is reached with AMX only.
            unsafe { Shapes::new([own, own, own, own, own, own, right, right]).load() };
        }
    }
}

/// Keeps what the first step multiplies with.
///
/// # Safety
/// As [`member`], before any member runs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn keep_first<S: Sweep>(tiles: &Tiles<'_>, kernel: &S) {
    let units = kernel.panels().units();
    let mut part = 0;
    for left in kernel.left(0) {
        for first in (0..left.depth).step_by(units) {
            for row in 0..kernel.rows() {
                for unit in (0..units).step_by(Avx512::LANES) {
                    let n = Avx512::LANES.min(units - unit);
                    // SAFETY: inside a row of `left`; `depth` is a multiple of the units.
                    unsafe {
                        let from = left.values.add(row * left.row_stride + first + unit);
                        let value: Avx512 = load(from, n);
                        let to = tiles.row(0, row).add(part * padded(units) + unit);
                        value.store_bf16(to, n);
                    }
                }
            }
            part += 1;
        }
    }
}

/// One member's part of the sweep.
///
/// # Safety
/// The machine has AMX and AVX-512 with `bf16`; otherwise as [`sweep::sweep`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn member<S: Sweep>(tiles: &Tiles<'_>, worker: Option<&Worker<'_>>, kernel: &S) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        sweep::sweep::<Avx512, S, _>(tiles, worker, kernel);
        amx::release();
    }
}

impl<S: Sweep> Product<Avx512, S> for Tiles<'_> {
    unsafe fn multiply(
        &self,
        kernel: &S,
        step: usize,
        rows: Range<usize>,
        [group, _]: [Group; 2],
        width: usize,
        sums: *mut f32,
    ) {
        let depth = kernel.panels().padded_depth();
        let n_k = if kernel.left(step)[0].depth == 0 { 0 } else { depth / DEPTH };
        let n_tiles = rows.len().div_ceil(ROWS);
        // All tiles of one height: where it does not divide the rows, the last repeats some of the one before.
        let height = rows.len().div_ceil(n_tiles);
        let n_vectors = width / Avx512::LANES;
        let start = |idx: usize| (idx * height).min(rows.len() - height);
        // SAFETY: rows, panels and sums hold what is multiplied, by the contract of `Product`.
        unsafe {
            self.shape(height);
            let mut vector = 0;
            while vector < n_vectors {
                let left = n_vectors - vector;
                let n = if n_tiles == 1 && left >= 4 { 4 } else { left.min(2) };
                let mut idx = 0;
                while idx < n_tiles {
                    let low = (idx + 1).min(n_tiles - 1);
                    let block = Block {
                        n_k,
                        left: [idx, low].map(|idx| self.row(step, rows.start + start(idx))),
                        row_bytes: 2 * self.row_len,
                        panel: group.values.add(vector * TILE * (depth / DEPTH)),
                        pair_bytes: 8 * TILE * (depth / DEPTH),
                        sums: [idx, low]
                            .map(|idx| sums.add(start(idx) * width + vector * Avx512::LANES)),
                        sums_bytes: 4 * width,
                    };
                    match (low > idx, n) {
                        (true, 2) => block.two_by_two(),
                        (true, _) => block.two_by_one(),
                        (false, 4) => block.one_by_four(),
                        (false, 2) => block.one_by_two(),
                        (false, _) => block.one_by_one(),
                    }
                    idx += 2;
                }
                vector += n;
            }
        }
    }

    #[inline(always)]
    unsafe fn keep(
        &self,
        kernel: &S,
        step: usize,
        row: usize,
        unit: usize,
        n: usize,
        values: [Avx512; MOST_KEPT],
    ) {
        let padded = padded(kernel.panels().units());
        for (part, value) in values[..kernel.n_kept()].iter().enumerate() {
            // SAFETY: inside the row, and this member's until the next barrier.
            unsafe { value.store_bf16(self.row(step + 1, row).add(part * padded + unit), n) };
        }
    }
}

/// Some tiles of sums: one or two tiles of rows by some vectors of a group. The height is that of the tiles' shapes.
struct Block {
    n_k: usize,
    /// The first row of the first tile and of the second.
    left: [*mut u16; 2],
    row_bytes: usize,
    /// The tiles of two vectors for each 32 k, one k after the other; the next two vectors lie `pair_bytes` further on.
    panel: *const f32,
    pair_bytes: usize,
    sums: [*mut f32; 2],
    sums_bytes: usize,
}

/// One block of instructions, because nothing tells the compiler what tiles hold: those before, those of one step of k, how
/// many bytes of the panel that takes, and those after.
macro_rules! multiply {
    ($block:expr, [$($zero:literal)*], [$($step:literal)*], $bytes:literal, [$($store:literal)*]) => {{
        let block: &Block = $block;
        asm!(
            "/* for some blocks only: {a_low} {b_pair} {c_low} */",
            $($zero,)*
            "test {n}, {n}",
            "jz 3f",
            "2:",
            $($step,)*
            "add {a}, 64",
            "add {a_low}, 64",
            concat!("add {b}, ", $bytes),
            concat!("add {b_pair}, ", $bytes),
            "dec {n}",
            "jnz 2b",
            "3:",
            $($store,)*
            n = inout(reg) block.n_k => _,
            a = inout(reg) block.left[0] => _,
            a_low = inout(reg) block.left[1] => _,
            a_bytes = in(reg) block.row_bytes,
            b = inout(reg) block.panel => _,
            b_pair = inout(reg) block.panel.wrapping_byte_add(block.pair_bytes) => _,
            b_bytes = in(reg) ROW_BYTES,
            c = in(reg) block.sums[0],
            c_low = in(reg) block.sums[1],
            c_bytes = in(reg) block.sums_bytes,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }};
}

/// # Safety
/// What the fields say is there, the tiles are shaped, and the machine has AMX.
#[allow(clippy::missing_safety_doc)] // said once, above
impl Block {
    unsafe fn two_by_two(&self) {
        // SAFETY: by the contract of this block.
        unsafe {
            multiply!(
                self,
                ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
                ["tileloadd tmm4, [{a} + {a_bytes}]"
                 "tileloadd tmm6, [{b} + {b_bytes}]"
                 "tdpbf16ps tmm0, tmm4, tmm6"
                 "tileloadd tmm7, [{b} + {b_bytes} + 1024]"
                 "tdpbf16ps tmm1, tmm4, tmm7"
                 "tileloadd tmm5, [{a_low} + {a_bytes}]"
                 "tdpbf16ps tmm2, tmm5, tmm6"
                 "tdpbf16ps tmm3, tmm5, tmm7"],
                "2048",
                ["tilestored [{c} + {c_bytes}], tmm0"
                 "tilestored [{c} + {c_bytes} + 64], tmm1"
                 "tilestored [{c_low} + {c_bytes}], tmm2"
                 "tilestored [{c_low} + {c_bytes} + 64], tmm3"]
            );
        }
    }

    unsafe fn two_by_one(&self) {
        // SAFETY: by the contract of this block.
        unsafe {
            multiply!(
                self,
                ["tilezero tmm0" "tilezero tmm2"],
                ["tileloadd tmm4, [{a} + {a_bytes}]"
                 "tileloadd tmm6, [{b} + {b_bytes}]"
                 "tdpbf16ps tmm0, tmm4, tmm6"
                 "tileloadd tmm5, [{a_low} + {a_bytes}]"
                 "tdpbf16ps tmm2, tmm5, tmm6"],
                "1024",
                ["tilestored [{c} + {c_bytes}], tmm0"
                 "tilestored [{c_low} + {c_bytes}], tmm2"]
            );
        }
    }

    unsafe fn one_by_four(&self) {
        // SAFETY: by the contract of this block.
        unsafe {
            multiply!(
                self,
                ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
                ["tileloadd tmm4, [{a} + {a_bytes}]"
                 "tileloadd tmm6, [{b} + {b_bytes}]"
                 "tdpbf16ps tmm0, tmm4, tmm6"
                 "tileloadd tmm7, [{b} + {b_bytes} + 1024]"
                 "tdpbf16ps tmm1, tmm4, tmm7"
                 "tileloadd tmm6, [{b_pair} + {b_bytes}]"
                 "tdpbf16ps tmm2, tmm4, tmm6"
                 "tileloadd tmm7, [{b_pair} + {b_bytes} + 1024]"
                 "tdpbf16ps tmm3, tmm4, tmm7"],
                "2048",
                ["tilestored [{c} + {c_bytes}], tmm0"
                 "tilestored [{c} + {c_bytes} + 64], tmm1"
                 "tilestored [{c} + {c_bytes} + 128], tmm2"
                 "tilestored [{c} + {c_bytes} + 192], tmm3"]
            );
        }
    }

    unsafe fn one_by_two(&self) {
        // SAFETY: by the contract of this block.
        unsafe {
            multiply!(
                self,
                ["tilezero tmm0" "tilezero tmm1"],
                ["tileloadd tmm4, [{a} + {a_bytes}]"
                 "tileloadd tmm6, [{b} + {b_bytes}]"
                 "tdpbf16ps tmm0, tmm4, tmm6"
                 "tileloadd tmm7, [{b} + {b_bytes} + 1024]"
                 "tdpbf16ps tmm1, tmm4, tmm7"],
                "2048",
                ["tilestored [{c} + {c_bytes}], tmm0"
                 "tilestored [{c} + {c_bytes} + 64], tmm1"]
            );
        }
    }

    unsafe fn one_by_one(&self) {
        // SAFETY: by the contract of this block.
        unsafe {
            multiply!(
                self,
                ["tilezero tmm0"],
                ["tileloadd tmm4, [{a} + {a_bytes}]"
                 "tileloadd tmm6, [{b} + {b_bytes}]"
                 "tdpbf16ps tmm0, tmm4, tmm6"],
                "1024",
                ["tilestored [{c} + {c_bytes}], tmm0"]
            );
        }
    }
}
