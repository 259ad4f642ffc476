//! Rows of `bf16` times tiles of weights.

use super::beside::Beside;
use crate::tiles::amx::{self, Shapes};
use crate::tiles::dots::{self, Left, Right, Start, Sums};
use crate::tiles::{DEPTH, ROW_BYTES, ROWS, TILE, Unit};
use std::arch::asm;
use std::cell::Cell;

/// Rows of `bf16` in whole tiles of 32, zero past their depth; a tile of the left operand is sixteen rows as they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    first: *mut u16,
    /// From one row to the next.
    stride: usize,
}

// SAFETY: it stands for a slice whose rows the members of a team write apart, and read after a barrier.
unsafe impl Sync for Rows {}

impl Rows {
    /// Values from one row of `depth` to the next: an odd number of cache lines, because rows whose distance is a power of
    /// two would push each other out of the first cache.
    pub(super) fn stride(depth: usize) -> usize {
        (depth.div_ceil(DEPTH) | 1) * DEPTH
    }

    /// Rows of `depth` values from `first` on.
    pub(super) fn new(first: *mut f32, depth: usize) -> Self {
        Self { first: first.cast(), stride: Self::stride(depth) }
    }

    /// The values of a row from `column` on.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> *mut u16 {
        self.first.wrapping_add(row * self.stride + column)
    }
}

/// Columns of a product: whole tiles from an even vector of [`Panels`](super::weights::Panels) on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub tiles: *const f32,
    pub n_vectors: usize,
    pub n_k: usize,
}

/// The tiles of a thread: how many rows those of A and C have, and what will be read after the products.
#[derive(Debug)]
pub(super) struct Tiles {
    unit: Unit,
    height: Cell<usize>,
    ahead: Cell<Ahead>,
}

/// Memory that a product asks for while it works, so that it is in the second cache when it is wanted: the matrix unit leaves
/// time for that, but a tile that comes from further away is not waited for in parallel with others.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    from: *const u8,
    bytes: usize,
}

/// Bytes that are asked for with each step of k.
const AHEAD: usize = 256;

impl Tiles {
    pub(super) fn new(unit: Unit) -> Self {
        let ahead = Ahead { from: std::ptr::null(), bytes: 0 };
        Self { unit, height: Cell::new(0), ahead: Cell::new(ahead) }
    }

    /// What multiplies.
    #[inline(always)]
    pub(super) fn unit(&self) -> Unit {
        self.unit
    }

    /// From now on, products ask for these bytes.
    #[inline(always)]
    pub(super) fn fetch<T>(&self, from: *const T, bytes: usize) {
        self.ahead.set(Ahead { from: from.cast(), bytes });
    }

    /// What to ask for in `n_k` steps of k; when there is nothing left, something that is there anyway.
    #[inline(always)]
    pub(super) fn next_ahead(&self, n_k: usize, otherwise: *const u16) -> *const u8 {
        let Ahead { from, bytes } = self.ahead.get();
        if bytes == 0 {
            return otherwise.cast();
        }
        let asked = n_k * AHEAD;
        self.fetch(from.wrapping_add(asked), bytes.saturating_sub(asked));
        from
    }

    /// Gives the tiles of A and C so many rows.
    ///
    /// # Safety
    /// The machine has the unit.
    #[inline(always)]
    pub(super) unsafe fn shape(&self, height: usize) {
        if self.unit == Unit::Amx && self.height.replace(height) != height {
            let (own, right) = ((height, ROW_BYTES), (ROWS, ROW_BYTES));
            // SAFETY: by this function's contract.
            unsafe { Shapes::new([own, own, own, own, own, own, right, right]).load() };
        }
    }

    /// Leaves the thread's tiles without a shape.
    ///
    /// # Safety
    /// The machine has the unit.
    pub(super) unsafe fn release(&self) {
        if self.unit == Unit::Amx {
            // SAFETY: by this function's contract.
            unsafe { amx::release() };
        }
    }

    /// sums (`n_rows`, 16·vectors) = rows of `left` · columns, `n_rows` of them from the one that begins at `first`, and all of
    /// the work `beside` it.
    ///
    /// # Safety
    /// The machine has the unit; rows, tiles and sums hold what is multiplied; the work touches neither tiles nor sums.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &self,
        left: Rows,
        first: *const u16,
        n_rows: usize,
        columns: Columns,
        sums: *mut f32,
        beside: &mut impl Beside,
    ) {
        if self.unit == Unit::Dots {
            // SAFETY: by this function's contract.
            unsafe {
                self.multiply_in_registers(left, first, n_rows, columns, sums);
                beside.rest();
            }
            return;
        }
        let Columns { tiles, n_vectors, n_k } = columns;
        let n_tiles = n_rows.div_ceil(ROWS);
        // All tiles of one height: where it does not divide the rows, the last repeats some of the one before.
        let height = n_rows.div_ceil(n_tiles);
        let width = n_vectors * ROWS;
        let start = |idx: usize| (idx * height).min(n_rows - height);
        let at_a_time = if n_tiles == 1 && n_vectors >= 4 { 4 } else { 2 };
        let n_steps = n_vectors.div_ceil(at_a_time) * n_tiles.div_ceil(2) * n_k;
        let parts = beside.left().div_ceil(n_steps);
        // SAFETY: by this function's contract.
        unsafe {
            self.shape(height);
            let mut vector = 0;
            while vector < n_vectors {
                let rest = n_vectors - vector;
                let n = if n_tiles == 1 && rest >= 4 { 4 } else { rest.min(2) };
                let mut idx = 0;
                while idx < n_tiles {
                    let low = (idx + 1).min(n_tiles - 1);
                    let block = Block {
                        n_k,
                        ahead: self.next_ahead(n_k, first),
                        left: [idx, low].map(|idx| first.add(start(idx) * left.stride)),
                        row_bytes: 2 * left.stride,
                        panel: tiles.add(vector * n_k * TILE),
                        pair_bytes: 8 * TILE * n_k,
                        sums: [idx, low].map(|idx| sums.add(start(idx) * width + vector * ROWS)),
                        sums_bytes: 4 * width,
                        parts,
                    };
                    match (low > idx, n) {
                        (true, 2) => block.two_by_two(beside),
                        (true, _) => block.two_by_one(beside),
                        (false, 4) => block.one_by_four(beside),
                        (false, 2) => block.one_by_two(beside),
                        (false, _) => block.one_by_one(beside),
                    }
                    idx += 2;
                }
                vector += n;
            }
            beside.rest();
        }
    }
}

/// Rows so few that vectors of columns are multiplied eight at a time.
const FEW_ROWS: usize = 3;

impl Tiles {
    /// [`multiply`](Self::multiply) without a matrix unit, and without the work beside it: both would want the same registers.
    ///
    /// # Safety
    /// The machine has AVX-512 with `bf16`; rows, tiles and sums hold what is multiplied.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn multiply_in_registers(
        &self,
        left: Rows,
        first: *const u16,
        n_rows: usize,
        Columns { tiles, n_vectors, n_k }: Columns,
        sums: *mut f32,
    ) {
        let left = Left { first, to_row: left.stride, to_tile: DEPTH };
        let to_row = n_vectors * ROWS;
        // Two vectors lie beside each other, tile by tile; the last may be alone.
        let place = |vector: usize| {
            let pair = vector / 2 * 2;
            tiles.wrapping_add(pair * n_k * TILE + vector % 2 * TILE)
        };
        let to = |vector: usize| sums.wrapping_add(vector * ROWS);
        let mut vector = 0;
        while vector < n_vectors {
            dots::fetch(self.next_ahead(n_k, first), n_k * AHEAD / ROW_BYTES);
            // SAFETY: by this function's contract.
            vector += unsafe {
                match n_vectors - vector {
                    1 => {
                        let right = Right { first: [place(vector)], to_tile: TILE };
                        let sums = Sums::whole([to(vector)], to_row);
                        dots::multiply(left, right, n_rows, n_k, Start::Zero, sums);
                        1
                    }
                    8.. if n_rows <= FEW_ROWS => {
                        let right: Right<8> = Right {
                            first: std::array::from_fn(|idx| place(vector + idx)),
                            to_tile: 2 * TILE,
                        };
                        let sums = Sums::whole(std::array::from_fn(|idx| to(vector + idx)), to_row);
                        match n_rows {
                            1 => dots::rows::<1, 8>(left, right, n_k, Start::Zero, sums),
                            2 => dots::rows::<2, 8>(left, right, n_k, Start::Zero, sums),
                            _ => dots::rows::<FEW_ROWS, 8>(left, right, n_k, Start::Zero, sums),
                        }
                        8
                    }
                    _ => {
                        let pair = [vector, vector + 1];
                        let right = Right { first: pair.map(place), to_tile: 2 * TILE };
                        let sums = Sums::whole(pair.map(to), to_row);
                        dots::multiply(left, right, n_rows, n_k, Start::Zero, sums);
                        2
                    }
                }
            };
        }
    }
}

/// Two places for sums: while one is filled, the other is worked with.
#[repr(align(64))]
pub(super) struct TwoSums<const N: usize> {
    places: [[f32; N]; 2],
    last: usize,
}

impl<const N: usize> TwoSums<N> {
    pub(super) fn new() -> Self {
        Self { places: [[0.0; N]; 2], last: 0 }
    }

    /// The place that was used before the last.
    pub(super) fn next(&mut self) -> *mut f32 {
        self.last = 1 - self.last;
        self.places[self.last].as_mut_ptr()
    }
}

/// Some tiles of sums: one or two tiles of rows by some vectors of a group. The height is that of the tiles' shapes.
struct Block {
    n_k: usize,
    /// The first of what is asked for, 256 bytes with each step of k.
    ahead: *const u8,
    /// The first row of the first tile and of the second.
    left: [*const u16; 2],
    row_bytes: usize,
    /// The tiles of two vectors for each 32 k, one k after the other; the next two vectors lie `pair_bytes` further on.
    panel: *const f32,
    pair_bytes: usize,
    sums: [*mut f32; 2],
    sums_bytes: usize,
    /// Parts of other work for each step of k.
    parts: usize,
}

/// Instructions for tiles. Tiles keep what they hold from one such block to the next: no compiler puts anything there, and
/// nothing that runs in between is written with them.
macro_rules! tiles {
    ([$($instruction:literal)*], $($operand:tt)*) => {
        asm!(
            $($instruction,)*
            $($operand)*,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// A function for blocks of one shape: the instructions before the steps of k, those of one step, how many values of the panel
/// that takes, and those after.
macro_rules! multiply {
    ($name:ident, [$($zero:literal)*], [$($step:literal)*], $values:expr, [$($store:literal)*]) => {
        #[inline(always)]
        unsafe fn $name(&self, beside: &mut impl Beside) {
            let ([mut a, mut a_low], mut b, mut ahead) = (self.left, self.panel, self.ahead);
            // SAFETY: by the contract of this block.
            unsafe {
                tiles!([$($zero)*], options(nomem));
                for _ in 0..self.n_k {
                    tiles!(
                        ["/* for some blocks only: {a_low} {b_pair} */"
                         $($step)*
                         "prefetcht1 [{ahead}]"
                         "prefetcht1 [{ahead} + 64]"
                         "prefetcht1 [{ahead} + 128]"
                         "prefetcht1 [{ahead} + 192]"],
                        a = in(reg) a, a_low = in(reg) a_low, a_bytes = in(reg) self.row_bytes,
                        b = in(reg) b, b_pair = in(reg) b.wrapping_byte_add(self.pair_bytes), b_bytes = in(reg) ROW_BYTES,
                        ahead = in(reg) ahead
                    );
                    (a, a_low) = (a.wrapping_add(DEPTH), a_low.wrapping_add(DEPTH));
                    (b, ahead) = (b.wrapping_add($values), ahead.wrapping_add(AHEAD));
                    for _ in 0..self.parts.min(beside.left()) {
                        beside.part();
                    }
                }
                tiles!(
                    ["/* for some blocks only: {c_low} */" $($store)*],
                    c = in(reg) self.sums[0], c_low = in(reg) self.sums[1], c_bytes = in(reg) self.sums_bytes
                );
            }
        }
    };
}

/// # Safety
/// What the fields say is there, the tiles are shaped, and the machine has AMX.
#[allow(clippy::missing_safety_doc)] // said once, above
impl Block {
    multiply!(
        two_by_two,
        ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
        ["tileloadd tmm4, [{a} + {a_bytes}]"
         "tileloadd tmm6, [{b} + {b_bytes}]"
         "tdpbf16ps tmm0, tmm4, tmm6"
         "tileloadd tmm7, [{b} + {b_bytes} + 1024]"
         "tdpbf16ps tmm1, tmm4, tmm7"
         "tileloadd tmm5, [{a_low} + {a_bytes}]"
         "tdpbf16ps tmm2, tmm5, tmm6"
         "tdpbf16ps tmm3, tmm5, tmm7"],
        2 * TILE,
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"
         "tilestored [{c_low} + {c_bytes}], tmm2"
         "tilestored [{c_low} + {c_bytes} + 64], tmm3"]
    );

    multiply!(
        two_by_one,
        ["tilezero tmm0" "tilezero tmm2"],
        ["tileloadd tmm4, [{a} + {a_bytes}]"
         "tileloadd tmm6, [{b} + {b_bytes}]"
         "tdpbf16ps tmm0, tmm4, tmm6"
         "tileloadd tmm5, [{a_low} + {a_bytes}]"
         "tdpbf16ps tmm2, tmm5, tmm6"],
        TILE,
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c_low} + {c_bytes}], tmm2"]
    );

    multiply!(
        one_by_four,
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
        2 * TILE,
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"
         "tilestored [{c} + {c_bytes} + 128], tmm2"
         "tilestored [{c} + {c_bytes} + 192], tmm3"]
    );

    multiply!(
        one_by_two,
        ["tilezero tmm0" "tilezero tmm1"],
        ["tileloadd tmm4, [{a} + {a_bytes}]"
         "tileloadd tmm6, [{b} + {b_bytes}]"
         "tdpbf16ps tmm0, tmm4, tmm6"
         "tileloadd tmm7, [{b} + {b_bytes} + 1024]"
         "tdpbf16ps tmm1, tmm4, tmm7"],
        2 * TILE,
        ["tilestored [{c} + {c_bytes}], tmm0"
         "tilestored [{c} + {c_bytes} + 64], tmm1"]
    );

    multiply!(
        one_by_one,
        ["tilezero tmm0"],
        ["tileloadd tmm4, [{a} + {a_bytes}]"
         "tileloadd tmm6, [{b} + {b_bytes}]"
         "tdpbf16ps tmm0, tmm4, tmm6"],
        TILE,
        ["tilestored [{c} + {c_bytes}], tmm0"]
    );
}
