//! A weight matrix laid out for the product of a few rows with many columns.

use crate::{Pool, SharedSlice};

/// Most registers that stand side by side in a group of panels.
pub(crate) const MOST_VECTORS: usize = 4;
/// The same for tiles, which go two by two.
const MOST_TILE_VECTORS: usize = 6;

/// How the values of a group lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// For each value of the depth, vectors of so many lanes.
    Vectors(usize),
    /// Tiles of AMX (32 of the depth, sixteen units, `bf16`): for two vectors at a time, those of each depth in turn.
    Tiles,
}

/// What the matrix unit takes of the depth at a time.
const TILE_DEPTH: usize = 32;

/// Units in whole tiles.
pub(super) fn padded(units: usize) -> usize {
    units.next_multiple_of(TILE_DEPTH)
}

/// A cache line: what makes every vector load aligned.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);
const LINE: usize = 16;

/// The columns of a matrix (depth × gates·units) in blocks of `lanes` units: for each value of the depth the gates of
/// the first block side by side, then those of the second, … Blocks with one gate are grouped by up to four.
///
/// The columns of units past the last are zero.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    layout: Layout,
    gates: usize,
    units: usize,
    depth: usize,
    lines: Vec<Line>,
}

/// Some blocks of units that one product covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Its first block of units.
    pub first_block: usize,
    /// How many blocks.
    pub n_blocks: usize,
    /// depth × (blocks · gates · lanes) values.
    pub values: *const f32,
}

/// Which side of the weight is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// h · W_hhᵀ: sums over the hidden units, one column a gate and unit.
    Forward,
    /// d_gates · W_hh: sums over gates and units, one column a unit.
    Backward,
}

impl Panels {
    /// Empty panels for one side of a weight of shape (`n_gates`·`hidden`, `hidden`).
    pub fn new(side: Side, layout: Layout, n_gates: usize, hidden: usize) -> Self {
        let (gates, depth) = match side {
            Side::Forward => (n_gates, hidden),
            Side::Backward => (1, n_gates * hidden),
        };
        let mut this = Self { layout, gates, units: hidden, depth, lines: Vec::new() };
        let n_values = hidden.div_ceil(this.lanes()) * gates * this.vector_len();
        this.lines = vec![Line([0.0; LINE]); n_values.div_ceil(LINE)];
        this
    }

    /// Memory of one vector of columns over the whole depth, in values of an `f32`.
    fn vector_len(&self) -> usize {
        match self.layout {
            Layout::Vectors(lanes) => lanes * self.depth,
            Layout::Tiles => LINE * self.padded_depth() / 2,
        }
    }

    /// Copies `weight` (n_gates·hidden, hidden) in.
    pub fn fill(&mut self, pool: &Pool, side: Side, weight: &[f32]) {
        let this = Self { lines: Vec::new(), ..*self };
        let hidden = this.units;
        let n_lines = self.lines.len();
        let lines = SharedSlice::new(&mut self.lines);
        pool.for_each(this.n_groups(), |idx| {
            let (first_block, n_blocks) = this.blocks(idx);
            let lanes = this.lanes();
            let width = n_blocks * this.gates * lanes;
            let start = first_block * this.gates * this.vector_len();
            let len = n_blocks * this.gates * this.vector_len();
            assert!((start + len).div_ceil(LINE) <= n_lines);
            // SAFETY: inside the lines by the check above; groups do not overlap and each is one task.
            let panel = unsafe {
                let values = lines.ptr(0).cast::<f32>().add(start);
                std::slice::from_raw_parts_mut(values, len)
            };
            if this.layout == Layout::Tiles {
                return this.fill_tiles(side, weight, first_block, n_blocks, panel);
            }
            for block in 0..n_blocks {
                let unit = (first_block + block) * lanes;
                let n = lanes.min(hidden - unit);
                match side {
                    Side::Backward => {
                        for (row, to) in weight.chunks_exact(hidden).zip(panel.chunks_mut(width)) {
                            to[block * lanes..][..n].copy_from_slice(&row[unit..unit + n]);
                        }
                    }
                    Side::Forward => {
                        for gate in 0..this.gates {
                            let place = (block * this.gates + gate) * lanes;
                            let rows = &weight[(gate * hidden + unit) * hidden..][..n * hidden];
                            transpose(rows, hidden, &mut panel[place..], width);
                        }
                    }
                }
            }
        });
    }

    /// Copies the columns of some blocks in as tiles.
    #[cfg(target_arch = "x86_64")]
    fn fill_tiles(
        &self,
        side: Side,
        weight: &[f32],
        first_block: usize,
        n_blocks: usize,
        panel: &mut [f32],
    ) {
        use crate::amx::layout::{self, Source};
        use crate::amx::{ROWS, TILE};
        let hidden = self.units;
        let n_parts = self.depth / hidden;
        let per_part = padded(hidden) / TILE_DEPTH;
        let n_vectors = n_blocks * self.gates;
        for vector in 0..n_vectors {
            let (block, gate) = (vector / self.gates, vector % self.gates);
            let unit = (first_block + block) * ROWS;
            // Two vectors change from tile to tile; one that is left over stands alone.
            let is_paired = vector % 2 == 1 || vector + 1 < n_vectors;
            let (first, step) = match is_paired {
                true => (vector / 2 * 2 * n_parts * per_part + vector % 2, 2),
                false => (vector * n_parts * per_part, 1),
            };
            for k in 0..n_parts * per_part {
                let (part, row) = (k / per_part, k % per_part * TILE_DEPTH);
                let (place, across, along) = match side {
                    Side::Forward => ((gate * hidden + unit) * hidden + row, hidden, 1),
                    Side::Backward => ((part * hidden + row) * hidden + unit, 1, hidden),
                };
                let source = Source {
                    first: weight[place..].as_ptr(),
                    across,
                    along,
                    n: ROWS.min(hidden - unit),
                    depth: TILE_DEPTH.min(hidden - row),
                };
                let to = &mut panel[(first + k * step) * TILE..][..TILE];
                // SAFETY: the layout is chosen only where `Cpu` has found AMX; the source lies inside of the weight, by the
                // sizes of units and rows, and `to` holds a tile.
                unsafe { layout::tile(layout::Side::Right, &source, to.as_mut_ptr()) };
            }
        }
    }

    /// Elsewhere there are no tiles.
    #[cfg(not(target_arch = "x86_64"))]
    fn fill_tiles(&self, _: Side, _: &[f32], _: usize, _: usize, _: &mut [f32]) {
        unreachable!("tiles on a machine without AMX")
    }

    /// How the values lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Values of an `f32` a register holds.
    fn lanes(&self) -> usize {
        match self.layout {
            Layout::Vectors(lanes) => lanes,
            Layout::Tiles => LINE,
        }
    }

    /// The depth in tiles: each of its parts of `units` padded to whole ones.
    pub fn padded_depth(&self) -> usize {
        self.depth / self.units * padded(self.units)
    }

    /// Gates a unit has side by side: how many vectors of sums the pointwise part of a block gets.
    pub fn gates(&self) -> usize {
        self.gates
    }

    /// How many units.
    pub fn units(&self) -> usize {
        self.units
    }

    /// How many values each sum has.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many groups of blocks.
    pub fn n_groups(&self) -> usize {
        let n_blocks = self.units.div_ceil(self.lanes());
        let most = match self.layout {
            Layout::Tiles if self.gates == 3 => MOST_TILE_VECTORS,
            _ => MOST_VECTORS,
        };
        n_blocks.div_ceil((most / self.gates).max(1))
    }

    /// The first block of group `idx` and how many it has: as equal as can be.
    fn blocks(&self, idx: usize) -> (usize, usize) {
        let n_blocks = self.units.div_ceil(self.lanes());
        let first = n_blocks * idx / self.n_groups();
        (first, n_blocks * (idx + 1) / self.n_groups() - first)
    }

    /// Group `idx`.
    pub fn group(&self, idx: usize) -> Group {
        let (first_block, n_blocks) = self.blocks(idx);
        let start = first_block * self.gates * self.vector_len();
        // SAFETY: `start` is at most the number of values held.
        let values = unsafe { self.lines.as_ptr().cast::<f32>().add(start) };
        Group { first_block, n_blocks, values }
    }

    /// Bytes of all panels.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }
}

/// Row r of `rows` becomes column r of `to`, whose rows are `width` apart; sixteen values of a row at a time, so that each
/// cache line of the source is read once.
fn transpose(rows: &[f32], len: usize, to: &mut [f32], width: usize) {
    for k in (0..len).step_by(LINE) {
        let n = LINE.min(len - k);
        for (lane, row) in rows.chunks_exact(len).enumerate() {
            for (value, place) in row[k..k + n].iter().zip(k..) {
                to[place * width + lane] = *value;
            }
        }
    }
}
