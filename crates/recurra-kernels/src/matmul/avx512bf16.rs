//! AVX-512 with `bf16`: panels as for AMX, multiplied in registers, up to twelve rows by two vectors of columns.

use super::amx;
use super::kernels::{self, Kernels, TileLoop};
use super::vector::{Tile, TileStart};
use crate::tiles::dots::{self, Left, Right, Start, Sums};
use crate::tiles::{DEPTH, ROWS, TILE};

/// Panels of B that few rows go over at once.
const WIDE: usize = 4;

/// Loops for any number of rows.
const ANY: &[TileLoop] = &[tile::<1>, tile::<2>];

pub(super) static KERNELS: Kernels = Kernels {
    block_depth: 256,
    tile_rows: 1,
    tiles: &[ANY; 2 * ROWS],
    wide: &[(WIDE, wide::<1>), (WIDE, wide::<2>), (WIDE, wide::<3>)],
    enter: kernels::nothing,
    leave: kernels::nothing,
    ..amx::KERNELS
};

/// What a tile of C starts from.
fn start(tile: &Tile) -> Start {
    match tile.start {
        TileStart::Zero => Start::Zero,
        TileStart::Bias(bias) => Start::Bias(bias),
        TileStart::Sum => Start::Sum,
    }
}

/// Up to 32 rows by `V` vectors of columns, of which the last may be cut off.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile<const V: usize>(tile: &Tile) {
    let step = 2 * TILE;
    for row in 0..tile.rows {
        dots::fetch(tile.next_c.wrapping_add(row * tile.c_stride), 2);
    }
    // SAFETY: by the contract of `Tile`.
    unsafe {
        dots::multiply::<V>(
            Left::tiles(tile.a, step),
            Right { first: std::array::from_fn(|v| tile.b.add(v * TILE)), to_tile: step },
            tile.rows,
            tile.depth / DEPTH,
            start(tile),
            Sums {
                first: std::array::from_fn(|v| tile.c.add(v * ROWS)),
                to_row: tile.c_stride,
                lanes: tile.cols - (V - 1) * ROWS,
            },
        );
    }
}

/// `R` rows by whole panels: many sums hide the time that an addition takes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn wide<const R: usize>(tile: &Tile) {
    let step = 2 * TILE;
    let place = |v: usize| tile.b.wrapping_add(v / 2 * tile.b_panel + v % 2 * TILE);
    // SAFETY: by the contract of `Tile`.
    unsafe {
        dots::rows::<R, { 2 * WIDE }>(
            Left::tiles(tile.a, step),
            Right { first: std::array::from_fn(place), to_tile: step },
            tile.depth / DEPTH,
            start(tile),
            Sums::whole(std::array::from_fn(|v| tile.c.wrapping_add(v * ROWS)), tile.c_stride),
        );
    }
}
