//! AMX: tiles of 32 × 32 in the matrix unit, two tiles of A by two of B, operands rounded to `bf16` as they are laid out.
//!
//! A panel holds, for 32 k at a time, two tiles of 16 rows (of A) or 16 columns (of B), a KiB each. A tile of A is 16 rows
//! of 32 values; a tile of B is 16 rows of 16 pairs, the pair (2p, 2p + 1) of k in row p. Four products for four loads
//! keep the unit busy; C is read and written by the unit itself.

use super::kernels::Kernels;
use super::vector::{Strip, Tile, TileStart};
use crate::tiles::amx::{self, Shapes};
use crate::tiles::layout::{self, Side, Source};
use crate::tiles::{DEPTH, ROW_BYTES, ROWS, TILE};
use std::arch::asm;

/// Rows and columns of a pair of tiles.
const PAIR: usize = 2 * ROWS;

pub(crate) static KERNELS: Kernels = Kernels {
    rows: PAIR,
    cols: PAIR,
    row_step: 2 * TILE / DEPTH,
    col_step: 2 * TILE / DEPTH,
    depth_unit: DEPTH,
    block_depth: 512,
    most_depth: 4096,
    tile_rows: ROWS,
    lanes: ROWS,
    tiles: &[&[tile_1_1, tile_1_2], &[tile_2_1, tile_2_2]],
    wide: &[(3, tile_1_6)],
    pack_rows,
    pack_cols,
    packed_at_once: 1,
    sparse: None,
    enter,
    leave,
};

/// The shapes of whole tiles.
static WHOLE: Shapes = Shapes::new([(ROWS, ROW_BYTES); 8]);

unsafe fn enter() {
    // SAFETY: `Cpu` has found AMX.
    unsafe { WHOLE.load() };
}

unsafe fn leave() {
    // SAFETY: `Cpu` has found AMX.
    unsafe { amx::release() };
}

/// What sums begin with where they begin with nothing.
#[repr(align(64))]
struct Zeros([f32; 6 * ROWS]);
static ZEROS: Zeros = Zeros([0.0; _]);

/// Where the sums of a tile begin, and how many bytes lie between their rows: none where all rows begin alike.
fn start(tile: &Tile) -> (*const f32, usize) {
    match tile.start {
        TileStart::Zero => (ZEROS.0.as_ptr(), 0),
        TileStart::Bias(bias) => (bias, 0),
        TileStart::Sum => (tile.c, 4 * tile.c_stride),
    }
}

/// Bytes of a row of tile `idx` of C, of a row of B there, when `n` columns exist.
fn row_bytes(n: usize, idx: usize) -> usize {
    4 * (n - idx * ROWS).min(ROWS)
}

/// The multiplication of some tiles of A by some of B: one block, because nothing tells the compiler what tiles hold.
///
/// Takes the instructions that load C, those that store it, and those of one step of k.
macro_rules! multiply {
    ($tile:expr, $b_panel:expr, [$($load:literal)*], [$($step:literal)*], [$($store:literal)*]) => {{
        let tile: &Tile = $tile;
        let (start, start_bytes) = start(tile);
        let c_bytes = 4 * tile.c_stride;
        let b_panel: usize = $b_panel;
        asm!(
            "/* for some tiles only: {b_panel} {start_low} {c_low} */",
            $($load,)*
            "test {n}, {n}",
            "jz 3f",
            "2:",
            $($step,)*
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "3:",
            $($store,)*
            n = inout(reg) tile.depth / DEPTH => _,
            a = inout(reg) tile.a => _,
            b = inout(reg) tile.b => _,
            b_panel = in(reg) b_panel,
            row = in(reg) ROW_BYTES,
            start = in(reg) start,
            start_low = in(reg) start.wrapping_byte_add(ROWS * start_bytes),
            start_bytes = in(reg) start_bytes,
            c = in(reg) tile.c,
            c_low = in(reg) tile.c.wrapping_byte_add(ROWS * c_bytes),
            c_bytes = in(reg) c_bytes,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }};
}

/// Asks for the tile of C that comes next, for writing.
///
/// # Safety
/// None: the lines need not exist.
#[inline(always)]
unsafe fn fetch_next(tile: &Tile) {
    for row in 0..PAIR {
        let line = tile.next_c.wrapping_add(row * tile.c_stride);
        // SAFETY: a hint, which every machine with AVX-512 takes.
        unsafe {
            asm!("prefetcht1 [{0}]", "prefetcht1 [{0} + 64]", in(reg) line, options(nostack, readonly, preserves_flags));
        }
    }
}

/// Up to 32 rows by up to 32 columns: tiles 0 to 3 hold C, 4 and 5 A, 6 and 7 B.
unsafe fn tile_2_2(tile: &Tile) {
    let whole = tile.rows == PAIR && tile.cols == PAIR;
    // SAFETY: by the contract of `Tile`; shapes keep to the rows and columns that exist.
    unsafe {
        fetch_next(tile);
        if !whole {
            let (low, left, right) =
                (tile.rows - ROWS, row_bytes(tile.cols, 0), row_bytes(tile.cols, 1));
            Shapes::new([
                (ROWS, left),
                (ROWS, right),
                (low, left),
                (low, right),
                (ROWS, ROW_BYTES),
                (low, ROW_BYTES),
                (ROWS, left),
                (ROWS, right),
            ])
            .load();
        }
        multiply!(
            tile,
            0,
            ["tileloadd tmm0, [{start} + {start_bytes}]"
             "tileloadd tmm1, [{start} + {start_bytes} + 64]"
             "tileloadd tmm2, [{start_low} + {start_bytes}]"
             "tileloadd tmm3, [{start_low} + {start_bytes} + 64]"],
            ["tileloadd tmm4, [{a} + {row}]"
             "tileloadd tmm6, [{b} + {row}]"
             "tdpbf16ps tmm0, tmm4, tmm6"
             "tileloadd tmm7, [{b} + {row} + 1024]"
             "tdpbf16ps tmm1, tmm4, tmm7"
             "tileloadd tmm5, [{a} + {row} + 1024]"
             "tdpbf16ps tmm2, tmm5, tmm6"
             "tdpbf16ps tmm3, tmm5, tmm7"],
            ["tilestored [{c} + {c_bytes}], tmm0"
             "tilestored [{c} + {c_bytes} + 64], tmm1"
             "tilestored [{c_low} + {c_bytes}], tmm2"
             "tilestored [{c_low} + {c_bytes} + 64], tmm3"]
        );
        if !whole {
            WHOLE.load();
        }
    }
}

/// Up to 32 rows by up to 16 columns.
unsafe fn tile_2_1(tile: &Tile) {
    let (low, bytes) = (tile.rows - ROWS, row_bytes(tile.cols, 0));
    // SAFETY: as in `tile_2_2`.
    unsafe {
        Shapes::new([
            (ROWS, bytes),
            (ROWS, ROW_BYTES),
            (low, bytes),
            (ROWS, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (low, ROW_BYTES),
            (ROWS, bytes),
            (ROWS, ROW_BYTES),
        ])
        .load();
        multiply!(
            tile,
            0,
            ["tileloadd tmm0, [{start} + {start_bytes}]"
             "tileloadd tmm2, [{start_low} + {start_bytes}]"],
            ["tileloadd tmm4, [{a} + {row}]"
             "tileloadd tmm6, [{b} + {row}]"
             "tdpbf16ps tmm0, tmm4, tmm6"
             "tileloadd tmm5, [{a} + {row} + 1024]"
             "tdpbf16ps tmm2, tmm5, tmm6"],
            ["tilestored [{c} + {c_bytes}], tmm0"
             "tilestored [{c_low} + {c_bytes}], tmm2"]
        );
        WHOLE.load();
    }
}

/// Up to 16 rows by up to 32 columns.
unsafe fn tile_1_2(tile: &Tile) {
    let (rows, left, right) = (tile.rows, row_bytes(tile.cols, 0), row_bytes(tile.cols, 1));
    // SAFETY: as in `tile_2_2`.
    unsafe {
        Shapes::new([
            (rows, left),
            (rows, right),
            (ROWS, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (rows, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (ROWS, left),
            (ROWS, right),
        ])
        .load();
        multiply!(
            tile,
            0,
            ["tileloadd tmm0, [{start} + {start_bytes}]"
             "tileloadd tmm1, [{start} + {start_bytes} + 64]"],
            ["tileloadd tmm4, [{a} + {row}]"
             "tileloadd tmm6, [{b} + {row}]"
             "tdpbf16ps tmm0, tmm4, tmm6"
             "tileloadd tmm7, [{b} + {row} + 1024]"
             "tdpbf16ps tmm1, tmm4, tmm7"],
            ["tilestored [{c} + {c_bytes}], tmm0"
             "tilestored [{c} + {c_bytes} + 64], tmm1"]
        );
        WHOLE.load();
    }
}

/// Up to 16 rows by up to 16 columns.
unsafe fn tile_1_1(tile: &Tile) {
    let (rows, bytes) = (tile.rows, row_bytes(tile.cols, 0));
    // SAFETY: as in `tile_2_2`.
    unsafe {
        Shapes::new([
            (rows, bytes),
            (ROWS, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (rows, ROW_BYTES),
            (ROWS, ROW_BYTES),
            (ROWS, bytes),
            (ROWS, ROW_BYTES),
        ])
        .load();
        multiply!(
            tile,
            0,
            ["tileloadd tmm0, [{start} + {start_bytes}]"],
            ["tileloadd tmm4, [{a} + {row}]"
             "tileloadd tmm6, [{b} + {row}]"
             "tdpbf16ps tmm0, tmm4, tmm6"],
            ["tilestored [{c} + {c_bytes}], tmm0"]
        );
        WHOLE.load();
    }
}

/// Up to 16 rows by three whole panels: six sums hide the latency of a product. Tiles 0 to 5 hold C.
unsafe fn tile_1_6(tile: &Tile) {
    let rows = tile.rows;
    // SAFETY: as in `tile_2_2`.
    unsafe {
        Shapes::new([
            (rows, ROW_BYTES), // C
            (rows, ROW_BYTES),
            (rows, ROW_BYTES),
            (rows, ROW_BYTES),
            (rows, ROW_BYTES),
            (rows, ROW_BYTES),
            (rows, ROW_BYTES), // A
            (ROWS, ROW_BYTES), // B
        ])
        .load();
        multiply!(
            tile,
            4 * tile.b_panel,
            ["tileloadd tmm0, [{start} + {start_bytes}]"
             "tileloadd tmm1, [{start} + {start_bytes} + 64]"
             "tileloadd tmm2, [{start} + {start_bytes} + 128]"
             "tileloadd tmm3, [{start} + {start_bytes} + 192]"
             "tileloadd tmm4, [{start} + {start_bytes} + 256]"
             "tileloadd tmm5, [{start} + {start_bytes} + 320]"],
            ["tileloadd tmm6, [{a} + {row}]"
             "tileloadd tmm7, [{b} + {row}]"
             "tdpbf16ps tmm0, tmm6, tmm7"
             "tileloadd tmm7, [{b} + {row} + 1024]"
             "tdpbf16ps tmm1, tmm6, tmm7"
             "add {b}, {b_panel}"
             "tileloadd tmm7, [{b} + {row}]"
             "tdpbf16ps tmm2, tmm6, tmm7"
             "tileloadd tmm7, [{b} + {row} + 1024]"
             "tdpbf16ps tmm3, tmm6, tmm7"
             "add {b}, {b_panel}"
             "tileloadd tmm7, [{b} + {row}]"
             "tdpbf16ps tmm4, tmm6, tmm7"
             "tileloadd tmm7, [{b} + {row} + 1024]"
             "tdpbf16ps tmm5, tmm6, tmm7"
             "sub {b}, {b_panel}"
             "sub {b}, {b_panel}"],
            ["tilestored [{c} + {c_bytes}], tmm0"
             "tilestored [{c} + {c_bytes} + 64], tmm1"
             "tilestored [{c} + {c_bytes} + 128], tmm2"
             "tilestored [{c} + {c_bytes} + 192], tmm3"
             "tilestored [{c} + {c_bytes} + 256], tmm4"
             "tilestored [{c} + {c_bytes} + 320], tmm5"]
        );
        WHOLE.load();
    }
}

/// Lays out rows of A: tiles of 16 rows of 32 k.
unsafe fn pack_rows(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { pack(strip, Side::Left, to) }
}

/// Lays out columns of B: tiles of 16 pairs of k of 16 columns.
unsafe fn pack_cols(strip: &Strip, to: *mut f32) {
    // SAFETY: by this function's contract, which is that of `pack`.
    unsafe { pack(strip, Side::Right, to) }
}

/// Lays out `strip` tile by tile.
///
/// # Safety
/// The strip is readable and `to` has room for its tiles; the machine has AMX.
unsafe fn pack(strip: &Strip, side: Side, mut to: *mut f32) {
    let &Strip { first, across, along, n, depth, width } = strip;
    debug_assert!(width == PAIR, "a strip of {width}");
    for k in (0..depth).step_by(DEPTH) {
        for offset in [0, ROWS] {
            let source = Source {
                first: first.wrapping_add(k * along + offset * across),
                across,
                along,
                n: n.saturating_sub(offset).min(ROWS),
                depth: (depth - k).min(DEPTH),
            };
            // SAFETY: by this function's contract.
            unsafe {
                layout::tile(side, &source, to);
                to = to.add(TILE);
            }
        }
    }
}
