//! The likeliest output without reading all of the weights: the upper plane of [`Planes`] says how large each logit can be
//! at most, and only those that may be the largest are computed whole.
//!
//! A logit is fma(q·x, s_x·s_w, bias), which grows with the whole number q·x whatever is rounded: so the same formula of a
//! bound on q·x is a bound on the logit, to the last bit, also after noise, and what is found is what the whole pass finds.

use super::Storage;
use super::layout::{LANES, Line, Packed};
use super::likeliest::Likeliest;
use super::member::{Outside, Shared};
use super::noise::Noise;
use super::planes::{BLOCK, LayOut, Planes};
use crate::{Cpu, Isa, SharedSlice, Worker};
use std::ops::Range;

/// Most streams for which it pays: more of them share the weights that are read.
pub(super) const MOST_ROWS: usize = 3;

/// Bytes of an output layer from which it pays: what comes from the second caches waits for arithmetic too.
const WORTH_IT: usize = 1 << 20;

/// An output layer in planes, and the loops of an instruction set over them.
#[derive(Debug)]
pub(super) struct Screen {
    pub planes: Planes,
    loops: Loops,
}

/// The loops of an instruction set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loops {
    pub lay_out: LayOut,
    /// Fills in what a sketch has room for.
    pub sketch: unsafe fn(&mut Sketch<'_>),
    /// As [`Largest::note`].
    pub note: unsafe fn(&mut Largest, block: usize, bounds: &[f32; BLOCK], most: &mut [f32; LANES]),
    /// As [`all_below`].
    pub all_below: unsafe fn(most: &[f32; LANES], least: f32) -> bool,
    /// The largest that the logit of an output can be, and the logit, given what a sketch found of it.
    pub bound: unsafe fn(&Planes, output: usize, input: &Input, partial: i32) -> f32,
    pub whole: unsafe fn(&Planes, output: usize, input: &Input, partial: i32) -> f32,
}

/// Whole numbers that are multiplied with the planes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    /// As many as [`Planes::input_len`] lines hold, zeros at the end.
    pub values: *const i8,
    pub scale: f32,
    /// X = Σx, and ‖x‖.
    pub sum: i32,
    pub norm: f64,
}

/// A block of the upper plane times some inputs.
#[derive(Debug)]
pub(super) struct Sketch<'a> {
    pub planes: &'a Planes,
    pub block: usize,
    pub inputs: &'a [Input],
    /// 16·u·x − 128·X, for each input so many values apart.
    pub partial: *mut i32,
    pub stride: usize,
    /// The largest that the logits can be.
    pub bounds: &'a mut [[f32; BLOCK]],
}

/// In each lane the largest bound so far, and its block.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Largest {
    bounds: [f32; LANES],
    blocks: [u32; LANES],
}

/// What the members work in.
#[derive(Debug, Default)]
pub(super) struct Room {
    inputs: Vec<Line>,
    partial: Vec<i32>,
    /// For each block and each lane the largest bound of its lines.
    most: Vec<f32>,
    /// What the likeliest has at least, as each member knows.
    least: Vec<f32>,
}

/// The same, shared.
pub(super) struct SharedRoom<'a> {
    inputs: SharedSlice<'a, Line>,
    partial: SharedSlice<'a, i32>,
    most: SharedSlice<'a, f32>,
    least: SharedSlice<'a, f32>,
}

impl Screen {
    /// Whether it pays for an output layer that is used with so many streams, on this machine.
    pub fn pays(isa: Isa, output: &Packed, n_streams: usize) -> bool {
        output.storage == Storage::Int8
            && output.units * output.parts[0].depth >= WORTH_IT
            && n_streams <= MOST_ROWS
            && Loops::of(isa).is_some()
    }

    /// That of an output layer for which it pays.
    pub fn new(cpu: &Cpu, output: &Packed) -> Self {
        let loops = Loops::of(cpu.isa()).expect("a machine where it pays");
        Self { planes: Planes::new(cpu, output, loops.lay_out), loops }
    }
}

impl Loops {
    /// Those of an instruction set that has them.
    fn of(isa: Isa) -> Option<Self> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512 => super::avx512::screening(),
            _ => None,
        }
    }
}

impl Input {
    /// Takes values with the offset away, and writes them to the first places of `to`, whose rest is zero.
    pub fn new(with_offset: &[u8], scale: f32, to: &mut [i8]) -> Self {
        let (mut sum, mut squares) = (0_i32, 0_u32);
        for (to, from) in to.iter_mut().zip(with_offset) {
            *to = (from ^ 0x80) as i8;
            sum += i32::from(*to);
            squares += i32::from(*to).pow(2) as u32;
        }
        to[with_offset.len()..].fill(0);
        Self { values: to.as_ptr(), scale, sum, norm: f64::from(squares).sqrt() }
    }

    /// What 16·u·x − 128·X lacks to q·x, at most, where ‖l − 7.5‖ is no larger than `spread`.
    #[inline(always)]
    pub fn rest(&self, spread: f32) -> i32 {
        let rest = f64::from(spread) * self.norm + 7.5 * f64::from(self.sum);
        rest as i32 + 2
    }

    /// What 16·u·x lacks to q·x, but for l·x.
    #[inline(always)]
    pub fn upper_rest(&self) -> i32 {
        -128 * self.sum
    }
}

impl Room {
    /// Has the room that a screen wants.
    pub fn prepare(&mut self, screen: &Screen, n_threads: usize, n_rows: usize) {
        let planes = &screen.planes;
        let n_blocks = n_rows * planes.n_blocks;
        self.inputs.resize(n_threads * n_rows * planes.input_len(), Line::ZERO);
        self.partial.resize(n_blocks * BLOCK, 0);
        self.most.resize(n_blocks * LANES, 0.0);
        self.least.resize(n_threads * n_rows, 0.0);
    }

    pub fn shared(&mut self) -> SharedRoom<'_> {
        SharedRoom {
            inputs: SharedSlice::new(&mut self.inputs),
            partial: SharedSlice::new(&mut self.partial),
            most: SharedSlice::new(&mut self.most),
            least: SharedSlice::new(&mut self.least),
        }
    }
}

impl Shared<'_> {
    /// This member's part of the search for the likeliest outputs.
    ///
    /// # Safety
    /// `Stepper::run` has checked all sizes and the instruction set, and the room is that of this screen.
    pub(super) unsafe fn screen(
        &self,
        worker: &Worker<'_>,
        screen: &Screen,
        h: Outside,
        noises: &[Noise],
    ) {
        let n_rows = self.n_streams;
        let blocks = worker.share(screen.planes.n_blocks);
        // SAFETY: by this function's contract; members write their own places, and read those of others after a barrier.
        unsafe {
            let inputs = self.screened_inputs(worker, &screen.planes, h);
            let candidates =
                Candidates { screen, inputs: &inputs[..n_rows], noises, room: &self.room };
            let mut largest = [Largest::none(blocks.start); MOST_ROWS];
            let mut bounds = [[0.0; BLOCK]; MOST_ROWS];
            let (largest, bounds) = (&mut largest[..n_rows], &mut bounds[..n_rows]);
            for block in self.in_order(blocks.clone()) {
                candidates.note(block, self.kernels.disturb, bounds, largest);
            }
            // The one that could be the largest says how large the largest is at least.
            let least = |member: usize, row: usize| self.room.least.ptr(member * n_rows + row);
            for (row, largest) in largest.iter().enumerate() {
                *least(worker.index, row) = candidates.least(row, largest.place());
            }
            worker.barrier();
            for row in 0..n_rows {
                let members = (0..worker.count()).map(|member| *least(member, row));
                let least = members.fold(f32::NEG_INFINITY, f32::max);
                *self.found.ptr(worker.index * n_rows + row) =
                    candidates.likeliest(row, blocks.clone(), least);
            }
        }
    }

    /// The inputs as the planes are multiplied with them, this member's own.
    unsafe fn screened_inputs(
        &self,
        worker: &Worker<'_>,
        planes: &Planes,
        h: Outside,
    ) -> [Input; MOST_ROWS] {
        let len = planes.input_len();
        let mut inputs =
            [Input { values: std::ptr::null(), scale: 0.0, sum: 0, norm: 0.0 }; MOST_ROWS];
        // SAFETY: by the contract of `screen`.
        unsafe {
            let [rows, _] = self.prepare(worker, [Some(h), None]);
            for (row, input) in inputs[..self.n_streams].iter_mut().enumerate() {
                let from = rows.values.add(row * rows.row_bytes);
                let from = std::slice::from_raw_parts(from, planes.depth);
                let to = self.room.inputs.ptr((worker.index * self.n_streams + row) * len);
                let to = std::slice::from_raw_parts_mut(to.cast(), len * size_of::<Line>());
                *input = Input::new(from, *rows.scales.add(row), to);
            }
        }
        inputs
    }
}

/// What a screen lets through.
struct Candidates<'a> {
    screen: &'a Screen,
    inputs: &'a [Input],
    noises: &'a [Noise],
    room: &'a SharedRoom<'a>,
}

// SAFETY of every block below: the machine has what the loops need, the room is that of the screen, and its places are this
// member's.
impl Candidates<'_> {
    /// Bounds the outputs of a block.
    #[inline(always)]
    unsafe fn note(
        &self,
        block: usize,
        disturb: unsafe fn(&Noise, &mut [f32], usize),
        bounds: &mut [[f32; BLOCK]],
        largest: &mut [Largest],
    ) {
        let (Screen { planes, loops }, inputs) = (self.screen, self.inputs);
        let (first, stride) = (block * BLOCK, planes.n_blocks * BLOCK);
        let partial = self.room.partial.ptr(first);
        // SAFETY: as above.
        unsafe {
            (loops.sketch)(&mut Sketch { planes, block, inputs, partial, stride, bounds });
            for (row, (bounds, largest)) in bounds.iter_mut().zip(largest).enumerate() {
                if let Some(noise) = self.noises.get(row) {
                    disturb(noise, bounds, first);
                }
                (loops.note)(largest, block, bounds, &mut *self.most(row, block));
            }
        }
    }

    /// What the likeliest output has at least: as much as the one with the largest bound in a lane of a block.
    unsafe fn least(&self, row: usize, place: (usize, usize)) -> f32 {
        // SAFETY: as above.
        let bound = |output| Likeliest::one(output as u32, unsafe { self.bound(row, output) });
        let outputs = self.screen.planes.outputs_of(place);
        let best = outputs.map(bound).fold(Likeliest::NONE, Likeliest::or);
        match best.logit > f32::NEG_INFINITY {
            // SAFETY: as above.
            true => unsafe { self.whole(row, best.id as usize) },
            false => f32::NEG_INFINITY,
        }
    }

    /// The likeliest output in some blocks, where it has at least `least`.
    unsafe fn likeliest(&self, row: usize, blocks: Range<usize>, mut least: f32) -> Likeliest {
        let Screen { planes, loops } = self.screen;
        let mut best = Likeliest::NONE;
        for block in blocks {
            // SAFETY: as above.
            unsafe {
                let most = &*self.most(row, block);
                if (loops.all_below)(most, least) {
                    continue;
                }
                let before = least;
                let lanes = (0..LANES).filter(|&lane| most[lane] >= before);
                for output in lanes.flat_map(|lane| planes.outputs_of((block, lane))) {
                    // What is no number may be anything.
                    if self.bound(row, output) < least {
                        continue;
                    }
                    let logit = self.whole(row, output);
                    least = least.max(logit);
                    best = best.or(Likeliest::one(output as u32, logit));
                }
            }
        }
        best
    }

    /// The largest that an output can be, after noise.
    unsafe fn bound(&self, row: usize, output: usize) -> f32 {
        let Screen { planes, loops } = self.screen;
        // SAFETY: as above.
        let bound =
            unsafe { (loops.bound)(planes, output, &self.inputs[row], self.partial(row, output)) };
        self.disturbed(row, output, bound)
    }

    /// An output, after noise.
    unsafe fn whole(&self, row: usize, output: usize) -> f32 {
        let Screen { planes, loops } = self.screen;
        // SAFETY: as above.
        let logit =
            unsafe { (loops.whole)(planes, output, &self.inputs[row], self.partial(row, output)) };
        self.disturbed(row, output, logit)
    }

    fn disturbed(&self, row: usize, output: usize, logit: f32) -> f32 {
        self.noises.get(row).map_or(logit, |noise| noise.with(logit, output as u32))
    }

    unsafe fn partial(&self, row: usize, output: usize) -> i32 {
        // SAFETY: as above.
        unsafe { *self.room.partial.ptr(row * self.screen.planes.n_blocks * BLOCK + output) }
    }

    fn most(&self, row: usize, block: usize) -> *mut [f32; LANES] {
        self.room.most.ptr((row * self.screen.planes.n_blocks + block) * LANES).cast()
    }
}

impl Largest {
    /// Nothing seen yet; of a member whose first block is this one.
    fn none(first: usize) -> Self {
        Self { bounds: [f32::NEG_INFINITY; LANES], blocks: [first as u32; LANES] }
    }

    /// Looks at the bounds of a block, and writes for each lane the largest of its lines; +∞ where one is no number.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // lanes of three arrays, counted alike
    pub(super) fn note(&mut self, block: usize, bounds: &[f32; BLOCK], most: &mut [f32; LANES]) {
        most.fill(f32::NEG_INFINITY);
        for line in bounds.as_chunks::<LANES>().0 {
            for (most, &bound) in most.iter_mut().zip(line) {
                let bound = if bound.is_nan() { f32::INFINITY } else { bound };
                *most = if bound > *most { bound } else { *most };
            }
        }
        for lane in 0..LANES {
            let is_larger = most[lane] > self.bounds[lane];
            self.bounds[lane] = if is_larger { most[lane] } else { self.bounds[lane] };
            self.blocks[lane] = if is_larger { block as u32 } else { self.blocks[lane] };
        }
    }

    /// The block and the lane of the largest.
    fn place(&self) -> (usize, usize) {
        let lanes = 0..LANES;
        let lane = lanes.max_by(|&a, &b| self.bounds[a].total_cmp(&self.bounds[b])).unwrap_or(0);
        (self.blocks[lane] as usize, lane)
    }
}

/// Whether all of these are below `least`.
#[inline(always)]
pub(super) fn all_below(most: &[f32; LANES], least: f32) -> bool {
    most.iter().fold(true, |all, most| all & (*most < least))
}
