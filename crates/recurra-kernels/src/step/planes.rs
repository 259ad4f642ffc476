//! The whole numbers of an output layer as two planes of four bits, so that its largest outputs are found with little more
//! than half of the bytes.
//!
//! q = 16·(u − 8) + l with u and l in 0..=15, so for whole inputs x with X = Σx
//!
//! ```text
//! q·x = 16·u·x − 128·X + l·x  and  |l·x − 7.5·X| ≤ ‖l − 7.5‖·‖x‖   (Cauchy and Schwarz)
//! ```
//!
//! The plane of u says how large a product can be at most; where that is not enough to be among the largest, l is not read.
//!
//! The plane of u lies in blocks of 64 outputs, each with a header (biases, scales, and for each line of sixteen outputs the
//! largest ‖l − 7.5‖) and then lines as in [`layout`](super::layout): a line holds eight k of sixteen outputs, four of them
//! in the low halves of its bytes, the next four in the high ones. That of l lies output by output, 128 k a line.

use super::OutputWeights;
use super::layout::{LANES, Line, MOST_LINES};
use super::quantize::{ROUNDER, largest_magnitude, scales};
use crate::{Cpu, SharedSlice};
use std::mem::MaybeUninit;

/// Outputs in a block.
pub(super) const BLOCK: usize = LANES * MOST_LINES;
/// Values of k in a line of the lower plane.
pub(super) const LOW_STEPS: usize = 128;
/// Values of k in a line of the upper plane.
const HIGH_STEPS: usize = 8;
/// Biases, scales, and what bounds the lower plane.
const HEADER: usize = 2 * MOST_LINES + 1;

/// As [`lay_out`].
pub(super) type LayOut = unsafe fn(
    output: &OutputWeights<'_>,
    depth: usize,
    block: usize,
    high: &mut [Line],
    low: &mut [Line],
);

/// An output layer (V, depth) with its bias.
#[derive(Debug)]
pub(super) struct Planes {
    high: Vec<Line>,
    low: Vec<Line>,
    pub outputs: usize,
    pub depth: usize,
    pub n_blocks: usize,
}

/// Where a block of the upper plane is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// [`BLOCK`] of them.
    pub biases: *const f32,
    pub scales: *const f32,
    /// For each line the largest ‖l − 7.5‖.
    pub spreads: [f32; MOST_LINES],
    /// [`Planes::n_steps`] times [`MOST_LINES`] lines.
    pub lines: *const u8,
}

impl Planes {
    /// Lays out an output layer of `depth` inputs.
    pub fn new(cpu: &Cpu, output: &OutputWeights<'_>, depth: usize, lay_out: LayOut) -> Self {
        let outputs = output.bias.len();
        let n_blocks = outputs.div_ceil(BLOCK);
        let mut planes = Self { high: Vec::new(), low: Vec::new(), outputs, depth, n_blocks };
        let (block_len, row_len) = (planes.block_len(), planes.row_len());
        let mut high = reserved(n_blocks * block_len);
        let mut low = reserved(n_blocks * BLOCK * row_len);
        let shared =
            [&mut high, &mut low].map(|lines| SharedSlice::new(lines.spare_capacity_mut()));
        cpu.pool().for_each(n_blocks, |block| {
            // SAFETY: blocks do not overlap.
            let [high, low] = unsafe {
                [(0, block_len), (1, BLOCK * row_len)].map(|(plane, len)| {
                    let lines = shared[plane].slice(block * len..(block + 1) * len);
                    lines.fill(MaybeUninit::new(Line::ZERO));
                    // All of them have just been written.
                    &mut *(std::ptr::from_mut(lines) as *mut [Line])
                })
            };
            // SAFETY: the machine has what these loops need.
            unsafe { lay_out(output, depth, block, high, low) };
        });
        // SAFETY: every block was written by its task.
        unsafe {
            high.set_len(n_blocks * block_len);
            low.set_len(n_blocks * BLOCK * row_len);
        }
        (planes.high, planes.low) = (high, low);
        planes
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.high.as_slice()) + size_of_val(self.low.as_slice())
    }

    /// Lines of an input, as the planes are multiplied with it.
    pub fn input_len(&self) -> usize {
        2 * self.row_len()
    }

    /// Lines of the lower plane that an output has.
    pub fn row_len(&self) -> usize {
        self.depth.div_ceil(LOW_STEPS)
    }

    /// Steps of eight k.
    pub fn n_steps(&self) -> usize {
        self.depth.div_ceil(HIGH_STEPS)
    }

    fn block_len(&self) -> usize {
        HEADER + self.n_steps() * MOST_LINES
    }

    /// A block of the upper plane.
    #[inline(always)]
    pub fn block(&self, block: usize) -> Block {
        let lines = &self.high[block * self.block_len()..][..self.block_len()];
        let [first, second, third, fourth, ..] = lines[2 * MOST_LINES].0.map(f32::from_bits);
        Block {
            biases: lines.as_ptr().cast(),
            scales: lines[MOST_LINES..].as_ptr().cast(),
            spreads: [first, second, third, fourth],
            lines: lines[HEADER..].as_ptr().cast(),
        }
    }

    /// The bias and the scale of an output, and where its lower plane is.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (f32, f32, *const u8) {
        let (block, lane) = (self.block(row / BLOCK), row % BLOCK);
        let low = &self.low[row * self.row_len()..][..self.row_len()];
        // SAFETY: a block has as many biases and scales.
        unsafe { (*block.biases.add(lane), *block.scales.add(lane), low.as_ptr().cast()) }
    }
}

fn reserved(len: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(len);
    crate::prefer_large_pages(lines.spare_capacity_mut());
    lines
}

/// Lays out one block of both planes, whose lines are zero: a loop that compilers know how to make vectors of.
#[inline(always)]
pub(super) fn lay_out(
    output: &OutputWeights<'_>,
    depth: usize,
    block: usize,
    high: &mut [Line],
    low: &mut [Line],
) {
    let row_len = low.len() / BLOCK;
    let mut whole = vec![0_i8; row_len * LOW_STEPS];
    let mut spreads = [0.0_f32; MOST_LINES];
    for row in 0..BLOCK {
        let (line, lane) = (row / LANES, row % LANES);
        let place = block * BLOCK + row;
        let Some(&bias) = output.bias.get(place) else {
            // No output: never among the largest.
            high[line].0[lane] = f32::NEG_INFINITY.to_bits();
            continue;
        };
        let weights = &output.weight[place * depth..][..depth];
        let (scale, inverse) = scales(largest_magnitude(weights));
        high[line].0[lane] = bias.to_bits();
        high[MOST_LINES + line].0[lane] = scale.to_bits();
        for (whole, weight) in whole.iter_mut().zip(weights) {
            *whole = (weight * inverse + ROUNDER).to_bits() as i8;
        }
        let square = |q: i8| {
            let twice = 2 * i32::from(q & 15) - 15;
            (twice * twice) as u32
        };
        let squares: u32 = whole[..depth].iter().map(|&q| square(q)).sum();
        let spread = (0.5 * f64::from(squares).sqrt()) as f32;
        spreads[line] = spreads[line].max(spread.next_up());
        let low = &mut low[row * row_len..][..row_len];
        for (line, q) in low.iter_mut().zip(whole.as_chunks::<LOW_STEPS>().0) {
            let half = LOW_STEPS / 2;
            let byte = |k: usize| (q[k] & 15) as u8 | (q[half + k] as u8) << 4;
            for (four, to) in line.0.iter_mut().enumerate() {
                *to = u32::from_le_bytes(std::array::from_fn(|k| byte(4 * four + k)));
            }
        }
        let lines = high[HEADER..].iter_mut().skip(line).step_by(MOST_LINES);
        for (to, q) in lines.zip(whole.as_chunks::<HIGH_STEPS>().0) {
            let upper = |q: i8| ((q >> 4) + 8) as u8;
            to.0[lane] =
                u32::from_le_bytes(std::array::from_fn(|k| upper(q[k]) | upper(q[4 + k]) << 4));
        }
    }
    for (to, spread) in high[2 * MOST_LINES].0.iter_mut().zip(spreads) {
        *to = spread.to_bits();
    }
}
