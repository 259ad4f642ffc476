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

use super::layout::{LANES, Line, MOST_LINES, Packed};
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
pub(super) type LayOut = unsafe fn(from: &Whole<'_>, high: &mut [Line], low: &mut [Line]);

/// A block of an output layer as it is laid out for products with all of it.
pub(super) struct Whole<'a> {
    /// Biases, scales and offsets, [`MOST_LINES`] each; then for each four k as many lines of sixteen outputs.
    lines: &'a [Line],
    /// How many of its outputs there are.
    outputs: usize,
    depth: usize,
}

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
    /// Lays out an output layer in `i8` once more.
    pub fn new(cpu: &Cpu, output: &Packed, lay_out: LayOut) -> Self {
        let (outputs, depth, n_blocks) = (output.units, output.parts[0].depth, output.n_blocks);
        assert_eq!(output.block_units, BLOCK, "outputs in a block");
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
            let outputs = BLOCK.min(outputs - block * BLOCK);
            let whole = Whole { lines: output.lines_of(block, 0), outputs, depth };
            // SAFETY: the machine has what these loops need.
            unsafe { lay_out(&whole, high, low) };
        });
        // SAFETY: every block was written by its task.
        unsafe {
            high.set_len(n_blocks * block_len);
            low.set_len(n_blocks * BLOCK * row_len);
        }
        (planes.high, planes.low) = (high, low);
        planes
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

    /// The outputs in a lane of a block.
    pub fn outputs_of(&self, (block, lane): (usize, usize)) -> impl Iterator<Item = usize> + use<> {
        let (first, outputs) = (block * BLOCK + lane, self.outputs);
        (0..MOST_LINES).map(move |line| first + line * LANES).filter(move |&it| it < outputs)
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
pub(super) fn lay_out(from: &Whole<'_>, high: &mut [Line], low: &mut [Line]) {
    /// The lower half of each byte.
    const LOW: u32 = 0x0f0f_0f0f;
    let Whole { lines, outputs, depth } = *from;
    let (header, fours) = lines.split_at(3 * MOST_LINES);
    high[..2 * MOST_LINES].copy_from_slice(&header[..2 * MOST_LINES]);
    for row in outputs..BLOCK {
        // No output: never among the largest.
        high[row / LANES].0[row % LANES] = f32::NEG_INFINITY.to_bits();
    }
    let n_fours = depth.div_ceil(4);
    let four = |step: usize, line: usize| match step < n_fours {
        true => fours[step * MOST_LINES + line].0,
        false => [0; LANES],
    };
    // u = ⌊q / 16⌋ + 8: the upper half of the byte with its sign turned.
    let upper = |q: u32| (q >> 4 & LOW) ^ 0x0808_0808;
    let (n_steps, row_len) = (depth.div_ceil(HIGH_STEPS), low.len() / BLOCK);
    for line in 0..MOST_LINES {
        for step in 0..n_steps {
            let (first, second) = (four(2 * step, line), four(2 * step + 1, line));
            let to = &mut high[HEADER + step * MOST_LINES + line].0;
            for lane in 0..LANES {
                to[lane] = upper(first[lane]) | upper(second[lane]) << 4;
            }
        }
        // Σ(2l − 15)², without what the last four has past the last k.
        let mut squares = [0_u32; LANES];
        for step in 0..n_fours {
            for (square, q) in squares.iter_mut().zip(four(step, line)) {
                for l in (q & LOW).to_le_bytes() {
                    *square += (2 * i32::from(l) - 15).pow(2) as u32;
                }
            }
        }
        let padding = 225 * (4 * n_fours - depth) as u32;
        let most = squares[..LANES.min(outputs.saturating_sub(line * LANES))].iter().max();
        let most = most.map_or(0, |most| most - padding);
        let spread = (0.5 * f64::from(most).sqrt()) as f32;
        high[2 * MOST_LINES].0[line] = if most > 0 { spread.next_up().to_bits() } else { 0 };
        for step in 0..row_len * LANES {
            let (place, word) = (step / LANES, step % LANES);
            let first = four(2 * LANES * place + word, line);
            let second = four(2 * LANES * place + LANES + word, line);
            for lane in 0..LANES {
                low[(line * LANES + lane) * row_len + place].0[word] =
                    first[lane] & LOW | (second[lane] & LOW) << 4;
            }
        }
    }
}
