//! Weights laid out for single steps: each thread reads its part from the first byte to the last.
//!
//! Rows of a matrix are outputs. Sixteen of them make a *line*: for one k a line of `f32` holds their sixteen values, for a
//! pair of k their pairs of `bf16`, for four k their fours of `i8`: 64 bytes each time, and what the matrix unit wants of a
//! right operand. Three or four lines make a *block*: all gates of sixteen hidden units, or 64 outputs. A block has a part
//! for each input that it is multiplied with (x and h, or one), and a part has first its header (biases; for `i8` also
//! scales and what the offset of the inputs brings), then the lines of the first k, of the second k, …
//!
//! The layout is the same on every machine, but for `bf16`, which the matrix unit wants in whole tiles.

use super::Storage;
use super::kernels::Kernels;
use super::quantize::largest_magnitude;
use crate::simd::math::{ROUNDER, bf16};
use crate::{Cpu, Isa, SharedSlice};
use std::mem::MaybeUninit;

/// Outputs in a line.
pub(super) const LANES: usize = 16;
/// Most lines in a block.
pub(super) const MOST_LINES: usize = 4;
/// What is added to a quantised input, so that it is a whole number without sign.
pub(super) const OFFSET: i32 = 128;
/// Steps of k that the matrix unit takes at once, in lines.
pub(super) const TILE_STEPS: usize = 16;

/// One line, where a cache line is.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; LANES]);

impl Line {
    pub const ZERO: Self = Self([0; LANES]);
}

/// A matrix with its bias, of one input or of two.
#[derive(Debug)]
pub(super) struct Packed {
    lines: Vec<Line>,
    pub storage: Storage,
    /// Rows a gate; an output layer has one gate.
    pub units: usize,
    /// Units in a block, and lines in a block.
    pub block_units: usize,
    pub n_lines: usize,
    pub n_blocks: usize,
    block_len: usize,
    pub parts: [Part; 2],
}

/// Where the part of one input lies in a block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// Values of the input; 0 where there is none.
    pub depth: usize,
    /// Lines of a header, and then of weights.
    start: usize,
    header_len: usize,
    weights_len: usize,
}

/// A matrix (G·units, depth) and its bias, as a layer has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub depth: usize,
}

impl Packed {
    /// Lays out the matrices of one or two inputs, `n_gates` gates of `units` rows each.
    pub fn new(
        cpu: &Cpu,
        storage: Storage,
        n_gates: usize,
        units: usize,
        sources: &[Source<'_>],
    ) -> Self {
        // The gates of sixteen units side by side; a layer of one gate has room for more units.
        let unit_lines = if n_gates == 1 { MOST_LINES } else { 1 };
        let n_lines = n_gates * unit_lines;
        assert!(n_lines <= MOST_LINES, "{n_gates} gates");
        let (mut parts, mut block_len) = ([Part::default(); 2], 0);
        for (part, source) in parts.iter_mut().zip(sources) {
            let steps = source.depth.div_ceil(storage.values_a_step());
            let steps = match (storage, cpu.isa()) {
                (Storage::Bf16, Isa::Amx) => steps.next_multiple_of(TILE_STEPS),
                _ => steps,
            };
            let header_len = n_lines * if storage == Storage::Int8 { 3 } else { 1 };
            let weights_len = steps * n_lines;
            *part = Part { depth: source.depth, start: block_len, header_len, weights_len };
            block_len += header_len + weights_len;
        }
        let block_units = unit_lines * LANES;
        let n_blocks = units.div_ceil(block_units);
        let mut packed = Self {
            lines: Vec::new(),
            storage,
            units,
            block_units,
            n_lines,
            n_blocks,
            block_len,
            parts,
        };
        packed.lines = packed.laid_out(cpu, sources);
        packed
    }

    /// Bytes held.
    pub fn n_bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// The header and the weights of a part of a block.
    pub fn part(&self, block: usize, part: usize) -> (*const f32, *const u8) {
        let lines = self.lines_of(block, part);
        (lines.as_ptr().cast(), lines[self.parts[part].header_len..].as_ptr().cast())
    }

    /// Where the part begins that is read after this one; maybe past the end.
    pub fn next(&self, block: usize, part: usize, is_backward: bool) -> *const u8 {
        let other = match is_backward {
            true => block.wrapping_sub(1),
            false => block + 1,
        };
        let lines = match part == 0 && self.parts[1].depth > 0 {
            true => block * self.block_len + self.parts[1].start,
            false => other.wrapping_mul(self.block_len),
        };
        self.lines.as_ptr().wrapping_add(lines).cast()
    }

    /// The lines of a part of a block.
    pub fn lines_of(&self, block: usize, part: usize) -> &[Line] {
        let Part { start, header_len, weights_len, .. } = self.parts[part];
        &self.lines[block * self.block_len + start..][..header_len + weights_len]
    }

    fn laid_out(&self, cpu: &Cpu, sources: &[Source<'_>]) -> Vec<Line> {
        // A tile of the matrix unit may reach past the last k: into the next part, or here.
        let slack = TILE_STEPS * MOST_LINES;
        let len = self.n_blocks * self.block_len;
        let mut lines: Vec<Line> = Vec::with_capacity(len + slack);
        crate::prefer_large_pages(lines.spare_capacity_mut());
        let shared = SharedSlice::new(&mut lines.spare_capacity_mut()[..len + slack]);
        cpu.pool().for_each(self.n_blocks + 1, |block| {
            // SAFETY: blocks do not overlap, and the slack is one of its own.
            let lines = unsafe {
                match block == self.n_blocks {
                    true => shared.slice(len..len + slack),
                    false => shared.slice(block * self.block_len..(block + 1) * self.block_len),
                }
            };
            lines.fill(MaybeUninit::new(Line::ZERO));
            // SAFETY: all of them have just been written.
            let lines = unsafe { &mut *(std::ptr::from_mut(lines) as *mut [Line]) };
            for (part, source) in self.parts.iter().zip(sources) {
                if block < self.n_blocks {
                    self.lay_out(cpu, block, part, source, &mut lines[part.start..]);
                }
            }
        });
        // SAFETY: every block and the slack was written, each by its task.
        unsafe { lines.set_len(len + slack) };
        lines
    }

    /// Lays out one part of one block.
    fn lay_out(
        &self,
        cpu: &Cpu,
        block: usize,
        part: &Part,
        source: &Source<'_>,
        lines: &mut [Line],
    ) {
        let (header, weights) = lines.split_at_mut(part.header_len);
        let n_lines = self.n_lines;
        let unit_lines = self.block_units / LANES;
        for line in 0..n_lines {
            let (gate, first) =
                (line / unit_lines, block * self.block_units + line % unit_lines * LANES);
            if first >= self.units {
                continue;
            }
            let place = gate * self.units + first;
            let lanes = LANES.min(self.units - first);
            let rows = &source.weight[place * part.depth..][..lanes * part.depth];
            for (lane, &bias) in source.bias[place..place + lanes].iter().enumerate() {
                header[line].0[lane] = bias.to_bits();
            }
            let weights = &mut weights[line..];
            match self.storage {
                Storage::F32 => {
                    for (lane, row) in rows.chunks_exact(part.depth).enumerate() {
                        for (k, value) in row.iter().enumerate() {
                            weights[k * n_lines].0[lane] = value.to_bits();
                        }
                    }
                }
                Storage::Bf16 => {
                    for (lane, row) in rows.chunks_exact(part.depth).enumerate() {
                        for (step, pair) in row.chunks(2).enumerate() {
                            let [low, high] =
                                [0, 1].map(|idx| pair.get(idx).map_or(0, |&x| bf16(x)));
                            weights[step * n_lines].0[lane] =
                                u32::from(low) | u32::from(high) << 16;
                        }
                    }
                }
                Storage::Int8 => {
                    let lay_out = Kernels::of(cpu.isa(), self.storage, 1).lay_out_int8;
                    // SAFETY: `Cpu` has found what these loops need.
                    let of_line = unsafe { lay_out(rows, part.depth, weights, n_lines) };
                    header[n_lines + line].0 = of_line.scales;
                    header[2 * n_lines + line].0 = of_line.offsets;
                }
            }
        }
    }
}

/// What a header has for a line of whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineHeader {
    scales: [u32; LANES],
    /// [`OFFSET`] · Σ of each row.
    offsets: [u32; LANES],
}

/// Lays out up to sixteen rows of whole numbers −127..=127 with a scale each: a loop that compilers know how to make vectors
/// of.
#[inline(always)]
pub(super) fn lay_out_int8(
    rows: &[f32],
    depth: usize,
    weights: &mut [Line],
    n_lines: usize,
) -> LineHeader {
    /// Values of a row that are treated in one go.
    const PIECE: usize = 64;
    let (mut scales, mut offsets) = ([0; LANES], [0; LANES]);
    let mut inverses = [0.0; LANES];
    for (lane, row) in rows.chunks_exact(depth).enumerate() {
        let (scale, inverse) = super::quantize::scales(largest_magnitude(row));
        (scales[lane], inverses[lane]) = (scale.to_bits(), inverse);
    }
    let mut sums = [0_i32; LANES];
    for first in (0..depth).step_by(PIECE) {
        let n = PIECE.min(depth - first);
        let mut quads = [[0_u32; PIECE / 4]; LANES];
        for (lane, row) in rows.chunks_exact(depth).enumerate() {
            let mut values = [0.0; PIECE];
            values[..n].copy_from_slice(&row[first..first + n]);
            let mut whole = [0_i8; PIECE];
            for (whole, value) in whole.iter_mut().zip(values) {
                *whole = (value * inverses[lane] + ROUNDER).to_bits() as i8;
            }
            sums[lane] += whole.iter().map(|&w| i32::from(w)).sum::<i32>();
            for (quad, four) in quads[lane].iter_mut().zip(whole.as_chunks::<4>().0) {
                *quad = u32::from_le_bytes(four.map(|w| w as u8));
            }
        }
        for step in 0..n.div_ceil(4) {
            let line = &mut weights[(first / 4 + step) * n_lines].0;
            for lane in 0..LANES {
                line[lane] = quads[lane][step];
            }
        }
    }
    for (offset, sum) in offsets.iter_mut().zip(sums) {
        *offset = (OFFSET * sum) as u32;
    }
    LineHeader { scales, offsets }
}
