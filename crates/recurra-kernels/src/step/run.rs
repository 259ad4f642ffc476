//! The step itself: who does what, and when.

use super::cell::Finish;
use super::kernels::{Input, Kernels};
use super::layout::{LANES, Line, MOST_LINES, Packed};
use super::likeliest::{Lanes, Likeliest};
use super::product::{Product, Rows};
use super::{Storage, Weights};
use crate::{Cpu, Isa, SharedSlice, Worker};
use std::ops::Range;

/// Weights of which a step is done by the calling thread alone: a team would wait longer than it works.
const ALONE: usize = 160 << 10;
/// Streams that make a step longer: more of them share what is loaded.
const MOST_COUNTED: usize = 8;

/// Streams from which inputs are prepared by all members together, not by each for itself.
const SHARED_ROWS: usize = 8;

/// The states of some streams side by side, and the memory that a step works in.
#[derive(Debug)]
pub struct Stepper {
    isa: Isa,
    storage: Storage,
    threads: usize,
    n_streams: usize,
    kernels: Kernels,
    layers: Vec<LayerPlaces>,
    states: Vec<f32>,
    /// Which of the two h is the current one.
    current: usize,
    /// Whether members read their blocks from the last to the first: every other step, because what was read last is
    /// still in the cache. (With 3.6 MiB a core, two of which fit: 1.6 times as fast. Fetching ahead brought nothing.)
    is_backward: bool,
    logits: Vec<f32>,
    likeliest: Vec<Likeliest>,
    scratch: Scratch,
}

/// Where the states of a layer are, (B, H) each.
#[derive(Clone, Copy, Debug)]
struct LayerPlaces {
    hidden: usize,
    h: [usize; 2],
    c: usize,
}

/// What the members of the team work in, one after the other.
#[derive(Debug)]
struct Scratch {
    /// Prepared inputs, x and h, and their scales.
    inputs: Vec<Line>,
    inputs_len: usize,
    scales: Vec<f32>,
    /// Products with x and with h.
    sums: Vec<Line>,
    likeliest: Vec<Lanes>,
}

/// What is asked of a step besides the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Logits,
    Likeliest,
}

impl Stepper {
    /// The state before the first token, zeros, of `n_streams` streams (at least one).
    pub fn new(cpu: &Cpu, weights: &Weights, n_streams: usize) -> Self {
        let n_streams = n_streams.max(1);
        let kernels = Kernels::of(weights.isa, weights.storage, n_streams);
        let mut len = 0;
        let mut place = |hidden: usize| {
            len += n_streams * hidden;
            len - n_streams * hidden
        };
        let layers = weights.layers.iter().map(|layer| layer.hidden).map(|hidden| LayerPlaces {
            hidden,
            h: [place(hidden), place(hidden)],
            c: place(hidden),
        });
        let layers: Vec<LayerPlaces> = layers.collect();
        let deepest = weights.layers.iter().map(|layer| layer.hidden.max(layer.inputs)).max();
        let row_bytes = kernels.input.row_bytes(deepest.unwrap_or(0));
        let (threads, inputs_len) = (cpu.threads(), n_streams * row_bytes / size_of::<Line>());
        let scratch = Scratch {
            inputs: vec![Line::ZERO; threads * 2 * inputs_len],
            inputs_len,
            scales: vec![0.0; threads * 2 * n_streams],
            sums: vec![Line::ZERO; threads * 2 * n_streams * MOST_LINES],
            likeliest: vec![Lanes::NONE; threads * n_streams],
        };
        Self {
            isa: weights.isa,
            storage: weights.storage,
            threads,
            n_streams,
            kernels,
            layers,
            states: vec![0.0; len],
            current: 0,
            is_backward: false,
            logits: Vec::new(),
            likeliest: vec![Likeliest::NONE; n_streams],
            scratch,
        }
    }

    /// B, how many streams there are.
    pub fn n_streams(&self) -> usize {
        self.n_streams
    }

    /// A part of the state of a layer, (B, H): 0 is h, 1 the c of an LSTM.
    pub fn state(&self, layer: usize, part: usize) -> &[f32] {
        &self.states[self.place(layer, part)]
    }

    /// The same, to be changed.
    pub fn state_mut(&mut self, layer: usize, part: usize) -> &mut [f32] {
        let place = self.place(layer, part);
        &mut self.states[place]
    }

    fn place(&self, layer: usize, part: usize) -> Range<usize> {
        let LayerPlaces { hidden, h, c } = self.layers[layer];
        let start = if part == 0 { h[self.current] } else { c };
        start..start + self.n_streams * hidden
    }

    /// Reads one input in each stream.
    ///
    /// # Shapes
    /// `x` (B, E).
    ///
    /// # Panics
    /// When the size disagrees, or weights or processor are others than those it was made for.
    #[track_caller]
    pub fn read(&mut self, cpu: &Cpu, weights: &Weights, x: &[f32]) {
        self.run(cpu, weights, x, Wanted::Nothing);
    }

    /// Reads one input in each stream, and gives the logits of the output layer, each row of them with
    /// [`logit_stride`](Self::logit_stride) values, of which the first V count.
    ///
    /// # Shapes
    /// `x` (B, E).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn logits(&mut self, cpu: &Cpu, weights: &Weights, x: &[f32]) -> &[f32] {
        let len = self.n_streams * Self::logit_stride(weights);
        if self.logits.len() != len {
            self.logits = vec![0.0; len];
        }
        self.run(cpu, weights, x, Wanted::Logits);
        &self.logits
    }

    /// Values from one row of logits to the next.
    pub fn logit_stride(weights: &Weights) -> usize {
        weights.output.n_blocks * weights.output.block_units
    }

    /// Reads one input in each stream, and gives the likeliest output of each, without keeping the logits.
    ///
    /// # Shapes
    /// `x` (B, E).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn likeliest(&mut self, cpu: &Cpu, weights: &Weights, x: &[f32]) -> &[Likeliest] {
        self.run(cpu, weights, x, Wanted::Likeliest);
        self.likeliest.fill(Likeliest::NONE);
        for member in self.scratch.likeliest.chunks_exact(self.n_streams) {
            for (all, part) in self.likeliest.iter_mut().zip(member) {
                *all = all.or(part.likeliest());
            }
        }
        &self.likeliest
    }

    #[track_caller]
    fn run(&mut self, cpu: &Cpu, weights: &Weights, x: &[f32], wanted: Wanted) {
        let sizes = |expected: usize, found: usize, what: &str| {
            assert!(found == expected, "{what} of {found} values; {expected} expected");
        };
        sizes(self.n_streams * weights.inputs(), x.len(), "inputs");
        let made_for = (self.isa, self.storage, self.threads);
        let found = (cpu.isa(), weights.storage, cpu.threads());
        assert!(
            made_for == found && weights.isa == self.isa,
            "a stepper made for {made_for:?} and weights for {}, used with {found:?}",
            weights.isa
        );
        sizes(weights.layers.len(), self.layers.len(), "layers");
        for (layer, places) in weights.layers.iter().zip(&self.layers) {
            sizes(layer.hidden, places.hidden, "a state");
        }
        self.scratch.likeliest.fill(Lanes::NONE);
        let shared = Shared {
            kernels: self.kernels,
            weights,
            n_streams: self.n_streams,
            layers: &self.layers,
            states: SharedSlice::new(&mut self.states),
            current: self.current,
            logits: SharedSlice::new(&mut self.logits),
            inputs: SharedSlice::new(&mut self.scratch.inputs),
            inputs_len: self.scratch.inputs_len,
            scales: SharedSlice::new(&mut self.scratch.scales),
            sums: SharedSlice::new(&mut self.scratch.sums),
            likeliest: SharedSlice::new(&mut self.scratch.likeliest),
            wanted,
            is_backward: self.is_backward,
        };
        let x = Outside { values: x.as_ptr(), depth: weights.inputs() };
        match weights.bytes() * self.n_streams.min(MOST_COUNTED) < ALONE {
            true => cpu.pool().alone(|worker| shared.step(worker, x)),
            false => cpu.pool().run(|worker| shared.step(worker, x)),
        }
        self.current = 1 - self.current;
        self.is_backward = !self.is_backward;
    }
}

/// Rows of `f32` that are multiplied next.
#[derive(Clone, Copy)]
struct Outside {
    values: *const f32,
    depth: usize,
}

// SAFETY: it is only read, between two barriers in which nobody writes there.
unsafe impl Sync for Outside {}

/// What all members see.
struct Shared<'a> {
    kernels: Kernels,
    weights: &'a Weights,
    n_streams: usize,
    layers: &'a [LayerPlaces],
    states: SharedSlice<'a, f32>,
    current: usize,
    logits: SharedSlice<'a, f32>,
    inputs: SharedSlice<'a, Line>,
    inputs_len: usize,
    scales: SharedSlice<'a, f32>,
    sums: SharedSlice<'a, Line>,
    likeliest: SharedSlice<'a, Lanes>,
    wanted: Wanted,
    is_backward: bool,
}

impl Shared<'_> {
    /// One member's part of a step.
    fn step(&self, worker: &Worker<'_>, x: Outside) {
        // SAFETY: `Stepper::run` has checked all sizes and the instruction set; members write different places, or meet at
        // a barrier in between.
        unsafe {
            (self.kernels.enter)(self.n_streams);
            let mut below = x;
            for layer in 0..self.layers.len() {
                below = self.layer(worker, layer, below);
                worker.barrier();
            }
            if self.wanted != Wanted::Nothing {
                self.output(worker, below);
            }
            (self.kernels.leave)();
        }
    }

    /// One layer: this member's units; gives what the next one reads after a barrier.
    unsafe fn layer(&self, worker: &Worker<'_>, layer: usize, x: Outside) -> Outside {
        let packed = &self.weights.layers[layer].packed;
        let LayerPlaces { hidden, h, c } = self.layers[layer];
        let [h_before, h] =
            [h[self.current], h[1 - self.current]].map(|place| self.states.ptr(place));
        let n_rows = self.n_streams;
        let before = Outside { values: h_before, depth: hidden };
        let [x_sums, h_sums] = self.sums(worker);
        // SAFETY: this member's own; sizes by `Stepper::run`.
        unsafe {
            let [x_rows, h_rows] = self.prepare(worker, [Some(x), Some(before)]);
            for block in self.share(worker, packed) {
                let product = Product {
                    packed,
                    part: 0,
                    block,
                    rows: x_rows,
                    n_rows,
                    out: x_sums,
                    out_stride: packed.n_lines * LANES,
                };
                (self.kernels.multiply)(&product);
                let product = Product { part: 1, rows: h_rows, out: h_sums, ..product };
                (self.kernels.multiply)(&product);
                let first_unit = block * packed.block_units;
                (self.kernels.finish)(&Finish {
                    cell: self.weights.cell,
                    n_rows,
                    hidden,
                    first_unit,
                    n_units: packed.block_units.min(hidden - first_unit),
                    x_sums,
                    h_sums,
                    h_before,
                    h,
                    c: self.states.ptr(c),
                });
            }
        }
        Outside { values: h, depth: hidden }
    }

    /// This member's part of the output layer.
    unsafe fn output(&self, worker: &Worker<'_>, h: Outside) {
        let packed = &self.weights.output;
        let n_rows = self.n_streams;
        let [sums, _] = self.sums(worker);
        // SAFETY: as in `layer`; logits of different blocks are different places.
        unsafe {
            let [rows, _] = self.prepare(worker, [Some(h), None]);
            for block in self.share(worker, packed) {
                let first = block * packed.block_units;
                let (out, out_stride) = match self.wanted {
                    Wanted::Logits => {
                        (self.logits.ptr(first), packed.n_blocks * packed.block_units)
                    }
                    _ => (sums, packed.n_lines * LANES),
                };
                let product = Product { packed, part: 0, block, rows, n_rows, out, out_stride };
                (self.kernels.multiply)(&product);
                if self.wanted == Wanted::Likeliest {
                    self.look(worker, packed, first, sums);
                }
            }
        }
    }

    /// This member's blocks, in the order of this step.
    fn share(&self, worker: &Worker<'_>, packed: &Packed) -> impl Iterator<Item = usize> {
        let share = worker.share(packed.n_blocks);
        let (first, last) = (share.start, share.end);
        share.map(move |block| if self.is_backward { first + last - 1 - block } else { block })
    }

    /// Looks for the likeliest of each row among the logits of a block.
    unsafe fn look(&self, worker: &Worker<'_>, packed: &Packed, first: usize, sums: *const f32) {
        let n = packed.block_units.min(packed.units - first);
        let likeliest = self.likeliest.ptr(worker.index * self.n_streams);
        for row in 0..self.n_streams {
            // SAFETY: this member's own.
            unsafe {
                let logits = std::slice::from_raw_parts(sums.add(row * packed.block_units), n);
                (self.kernels.look)(&mut *likeliest.add(row), logits, first, self.is_backward);
            }
        }
    }

    /// This member's room for products with x and with h.
    fn sums(&self, worker: &Worker<'_>) -> [*mut f32; 2] {
        let len = self.n_streams * MOST_LINES;
        [0, 1].map(|part| self.sums.ptr((2 * worker.index + part) * len).cast())
    }

    /// Inputs as products read them. Many rows are shared by the members, who then wait for each other; few each member
    /// prepares for itself.
    unsafe fn prepare(&self, worker: &Worker<'_>, rows: [Option<Outside>; 2]) -> [Rows; 2] {
        let input = self.kernels.input;
        let is_shared = self.n_streams >= SHARED_ROWS && worker.count() > 1;
        let (member, share) = match is_shared {
            true => (0, worker.share(self.n_streams)),
            false => (worker.index, 0..self.n_streams),
        };
        let prepared = [0, 1].map(|part| {
            let Some(Outside { values, depth }) = rows[part] else { return Rows::NONE };
            if input == Input::F32 {
                let row_bytes = depth * size_of::<f32>();
                return Rows { values: values.cast(), row_bytes, scales: std::ptr::null() };
            }
            let row_bytes = input.row_bytes(depth);
            let bytes = self.inputs.ptr((2 * member + part) * self.inputs_len).cast::<u8>();
            let scales = self.scales.ptr((2 * member + part) * self.n_streams);
            for row in share.clone() {
                // SAFETY: rows of different members are different places, of which `Stepper::new` has made enough.
                unsafe {
                    let from = std::slice::from_raw_parts(values.add(row * depth), depth);
                    let to = std::slice::from_raw_parts_mut(bytes.add(row * row_bytes), row_bytes);
                    *scales.add(row) = (self.kernels.prepare)(from, to);
                }
            }
            Rows { values: bytes, row_bytes, scales }
        });
        if is_shared && input != Input::F32 {
            worker.barrier();
        }
        prepared
    }
}
