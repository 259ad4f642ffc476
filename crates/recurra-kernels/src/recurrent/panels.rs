//! A weight matrix laid out for the product of a few rows with many columns.

use crate::{Pool, SharedSlice};

/// Most registers that stand side by side in a group of panels.
pub(crate) const MOST_VECTORS: usize = 4;

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
    lanes: usize,
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
    pub fn new(side: Side, lanes: usize, n_gates: usize, hidden: usize) -> Self {
        let (gates, depth) = match side {
            Side::Forward => (n_gates, hidden),
            Side::Backward => (1, n_gates * hidden),
        };
        let n_values = hidden.div_ceil(lanes) * lanes * gates * depth;
        let lines = vec![Line([0.0; LINE]); n_values.div_ceil(LINE)];
        Self { lanes, gates, units: hidden, depth, lines }
    }

    /// Copies `weight` (n_gates·hidden, hidden) in.
    pub fn fill(&mut self, pool: &Pool, side: Side, weight: &[f32]) {
        let this = Self { lines: Vec::new(), ..*self };
        let hidden = this.units;
        let n_lines = self.lines.len();
        let lines = SharedSlice::new(&mut self.lines);
        pool.for_each(this.n_groups(), |idx| {
            let (first_block, n_blocks) = this.blocks(idx);
            let width = n_blocks * this.gates * this.lanes;
            let start = first_block * this.gates * this.lanes * this.depth;
            assert!((start + width * this.depth).div_ceil(LINE) <= n_lines);
            // SAFETY: inside the lines by the check above; groups do not overlap and each is one task.
            let panel = unsafe {
                let values = lines.ptr(0).cast::<f32>().add(start);
                std::slice::from_raw_parts_mut(values, width * this.depth)
            };
            for block in 0..n_blocks {
                let unit = (first_block + block) * this.lanes;
                let n = this.lanes.min(hidden - unit);
                match side {
                    Side::Backward => {
                        for (row, to) in weight.chunks_exact(hidden).zip(panel.chunks_mut(width)) {
                            to[block * this.lanes..][..n].copy_from_slice(&row[unit..unit + n]);
                        }
                    }
                    Side::Forward => {
                        for gate in 0..this.gates {
                            let place = (block * this.gates + gate) * this.lanes;
                            let rows = &weight[(gate * hidden + unit) * hidden..][..n * hidden];
                            transpose(rows, hidden, &mut panel[place..], width);
                        }
                    }
                }
            }
        });
    }

    /// Values of an `f32` a register holds.
    pub fn lanes(&self) -> usize {
        self.lanes
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
        let n_blocks = self.units.div_ceil(self.lanes);
        n_blocks.div_ceil((MOST_VECTORS / self.gates).max(1))
    }

    /// The first block of group `idx` and how many it has: as equal as can be.
    fn blocks(&self, idx: usize) -> (usize, usize) {
        let n_blocks = self.units.div_ceil(self.lanes);
        let first = n_blocks * idx / self.n_groups();
        (first, n_blocks * (idx + 1) / self.n_groups() - first)
    }

    /// Group `idx`.
    pub fn group(&self, idx: usize) -> Group {
        let (first_block, n_blocks) = self.blocks(idx);
        let start = first_block * self.gates * self.lanes * self.depth;
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
