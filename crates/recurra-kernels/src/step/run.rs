//! The step itself: who does what, and when.

use super::Weights;
use super::cell::Finish;
use super::kernels::{Input, Kernels};
use super::layout::{LANES, Line, MOST_LINES};
use super::likeliest::{Lanes, Likeliest};
use super::noise::Noise;
use super::product::{Product, Rows};
use super::remembered::{Inputs, Place, Remembered};
use super::screen::{MOST_ROWS, Room, Screen, SharedRoom};
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
    weights_id: u64,
    isa: Isa,
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
    /// Whether the products with the current h are there already.
    is_ahead: bool,
    /// Whether it has found a likeliest output before: only then the next is searched for in another layout, so that the
    /// first token does not wait for that.
    has_found: bool,
    remembered: Remembered,
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
    /// Where its products with h are that are made ahead.
    ahead: usize,
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
    /// The likeliest of what each member owns.
    found: Vec<Likeliest>,
    room: Room,
    /// Products of all layers with h, for the next step.
    ahead: Vec<Line>,
}

/// What is asked of a step besides the states.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted<'a> {
    Nothing,
    Logits,
    /// After noise of each stream, or without any.
    Likeliest(&'a [Noise]),
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
        // What an output layer reads comes between two steps; without one, each step would read all weights in one order.
        let is_made_ahead = n_streams <= MOST_ROWS && weights.outputs() > 0;
        let mut ahead_len = 0;
        let layers = weights.layers.iter().map(|layer| {
            let (hidden, ahead) = (layer.hidden, ahead_len);
            let len = n_streams * layer.packed.n_blocks * layer.packed.n_lines;
            ahead_len += if is_made_ahead { len } else { 0 };
            LayerPlaces { hidden, h: [place(hidden), place(hidden)], c: place(hidden), ahead }
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
            found: vec![Likeliest::NONE; threads * n_streams],
            room: Room::default(),
            ahead: vec![Line::ZERO; ahead_len],
        };
        Self {
            weights_id: weights.id,
            isa: weights.isa,
            threads,
            n_streams,
            kernels,
            layers,
            states: vec![0.0; len],
            current: 0,
            is_backward: false,
            is_ahead: false,
            has_found: false,
            remembered: Remembered::new(&weights.layers[0].packed),
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
        self.is_ahead = false;
        &mut self.states[place]
    }

    fn place(&self, layer: usize, part: usize) -> Range<usize> {
        let LayerPlaces { hidden, h, c, .. } = self.layers[layer];
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
    pub fn read<'a>(&mut self, cpu: &Cpu, weights: &Weights, x: impl Into<Inputs<'a>>) {
        self.run(cpu, weights, x.into(), Wanted::Nothing);
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
    pub fn logits<'a>(&mut self, cpu: &Cpu, weights: &Weights, x: impl Into<Inputs<'a>>) -> &[f32] {
        let len = self.n_streams * Self::logit_stride(weights);
        if self.logits.len() != len {
            self.logits = vec![0.0; len];
        }
        self.run(cpu, weights, x.into(), Wanted::Logits);
        &self.logits
    }

    /// Values from one row of logits to the next.
    pub fn logit_stride(weights: &Weights) -> usize {
        weights.output.n_blocks * weights.output.block_units
    }

    /// Reads one input in each stream, and draws an output of each: the likeliest after this noise, with that as its logit.
    ///
    /// # Shapes
    /// `x` (B, E), `noises` (B).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn drawn<'a>(
        &mut self,
        cpu: &Cpu,
        weights: &Weights,
        x: impl Into<Inputs<'a>>,
        noises: &[Noise],
    ) -> &[Likeliest] {
        assert!(
            noises.len() == self.n_streams,
            "{} noises for {} streams",
            noises.len(),
            self.n_streams
        );
        self.best(cpu, weights, x.into(), noises)
    }

    /// Reads one input in each stream, and gives the likeliest output of each, without keeping the logits.
    ///
    /// # Shapes
    /// `x` (B, E).
    ///
    /// # Panics
    /// As [`read`](Self::read).
    #[track_caller]
    pub fn likeliest<'a>(
        &mut self,
        cpu: &Cpu,
        weights: &Weights,
        x: impl Into<Inputs<'a>>,
    ) -> &[Likeliest] {
        self.best(cpu, weights, x.into(), &[])
    }

    #[track_caller]
    fn best(
        &mut self,
        cpu: &Cpu,
        weights: &Weights,
        x: Inputs<'_>,
        noises: &[Noise],
    ) -> &[Likeliest] {
        self.run(cpu, weights, x, Wanted::Likeliest(noises));
        self.likeliest.fill(Likeliest::NONE);
        for member in self.scratch.found.chunks_exact(self.n_streams) {
            for (all, part) in self.likeliest.iter_mut().zip(member) {
                *all = all.or(*part);
            }
        }
        &self.likeliest
    }

    #[track_caller]
    fn run(&mut self, cpu: &Cpu, weights: &Weights, x: Inputs<'_>, wanted: Wanted<'_>) {
        let sizes = |expected: usize, found: usize, what: &str| {
            assert!(found == expected, "{what} of {found} values; {expected} expected");
        };
        sizes(self.n_streams * weights.inputs(), x.x.len(), "inputs");
        let made_for = (self.isa, self.threads);
        let found = (cpu.isa(), cpu.threads());
        assert!(made_for == found, "a stepper made for {made_for:?}, used with {found:?}");
        assert!(self.weights_id == weights.id, "a stepper made for other weights");
        self.scratch.found.fill(Likeliest::NONE);
        let mut screen = None;
        if let Wanted::Likeliest(_) = wanted
            && std::mem::replace(&mut self.has_found, true)
        {
            screen = weights.screen(cpu, self.n_streams);
        }
        if let Some(screen) = screen {
            self.scratch.room.prepare(screen, self.threads, self.n_streams);
        }
        let name = x.name.filter(|_| self.n_streams == 1);
        let remembered = name.map(|name| self.remembered.place(name));
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
            found: SharedSlice::new(&mut self.scratch.found),
            screen,
            room: self.scratch.room.shared(),
            remembered,
            ahead: SharedSlice::new(&mut self.scratch.ahead),
            is_ahead: self.is_ahead,
            wanted,
            is_backward: self.is_backward,
        };
        let x = Outside { values: x.x.as_ptr(), depth: weights.inputs() };
        match weights.bytes() * self.n_streams.min(MOST_COUNTED) < ALONE {
            true => cpu.pool().alone(|worker| shared.step(worker, x)),
            false => cpu.pool().run(|worker| shared.step(worker, x)),
        }
        self.current = 1 - self.current;
        self.is_backward = !self.is_backward;
        self.is_ahead = !self.scratch.ahead.is_empty();
    }
}

/// Rows of `f32` that are multiplied next.
#[derive(Clone, Copy)]
pub(super) struct Outside {
    values: *const f32,
    depth: usize,
}

// SAFETY: it is only read, between two barriers in which nobody writes there.
unsafe impl Sync for Outside {}

/// What all members see.
pub(super) struct Shared<'a> {
    pub(super) kernels: Kernels,
    weights: &'a Weights,
    pub(super) n_streams: usize,
    layers: &'a [LayerPlaces],
    states: SharedSlice<'a, f32>,
    current: usize,
    logits: SharedSlice<'a, f32>,
    inputs: SharedSlice<'a, Line>,
    inputs_len: usize,
    scales: SharedSlice<'a, f32>,
    sums: SharedSlice<'a, Line>,
    likeliest: SharedSlice<'a, Lanes>,
    pub(super) found: SharedSlice<'a, Likeliest>,
    /// How the likeliest outputs are found, where not all are computed.
    screen: Option<&'a Screen>,
    pub(super) room: SharedRoom<'a>,
    /// The products of the first layer with its input, where they are kept.
    remembered: Option<Place>,
    /// Those of all layers with h; none where they are not made ahead.
    ahead: SharedSlice<'a, Line>,
    is_ahead: bool,
    wanted: Wanted<'a>,
    pub(super) is_backward: bool,
}

impl Shared<'_> {
    /// One member's part of a step.
    fn step(&self, worker: &Worker<'_>, x: Outside) {
        // SAFETY: `Stepper::run` has checked all sizes and the instruction set; members write different places, or meet at
        // a barrier in between.
        unsafe {
            (self.kernels.enter)(self.n_streams);
            let makes_ahead = !self.ahead.is_empty();
            if makes_ahead && !self.is_ahead {
                (0..self.layers.len()).for_each(|layer| self.ahead(worker, layer, self.current));
            }
            let mut below = x;
            for layer in 0..self.layers.len() {
                below = self.layer(worker, layer, below);
                worker.barrier();
            }
            // What stands last is in the cache when the next step comes: then it stands first.
            let makes_first = makes_ahead && self.is_backward;
            if makes_first {
                let layers = (0..self.layers.len()).rev();
                layers.for_each(|layer| self.ahead(worker, layer, 1 - self.current));
            }
            if self.wanted != Wanted::Nothing {
                self.output(worker, below);
            }
            if makes_ahead && !makes_first {
                (0..self.layers.len())
                    .for_each(|layer| self.ahead(worker, layer, 1 - self.current));
            }
            (self.kernels.leave)();
        }
    }

    /// One layer: this member's units; gives what the next one reads after a barrier.
    unsafe fn layer(&self, worker: &Worker<'_>, layer: usize, x: Outside) -> Outside {
        let packed = &self.weights.layers[layer].packed;
        let LayerPlaces { hidden, h, c, .. } = self.layers[layer];
        let [h_before, h] =
            [h[self.current], h[1 - self.current]].map(|place| self.states.ptr(place));
        let n_rows = self.n_streams;
        let remembered = self.remembered.filter(|_| layer == 0);
        let is_full = remembered.is_some_and(|place| place.is_full);
        let is_ahead = !self.ahead.is_empty();
        let x = Some(x).filter(|_| !is_full);
        let before = Some(Outside { values: h_before, depth: hidden }).filter(|_| !is_ahead);
        let [own_x_sums, own_h_sums] = self.sums(worker);
        // SAFETY: this member's own; sizes by `Stepper::run`.
        unsafe {
            let [x_rows, h_rows] = self.prepare(worker, [x, before]);
            for block in self.in_order(worker.share(packed.n_blocks)) {
                let block_len = packed.n_lines * LANES;
                let x_sums =
                    remembered.map_or(own_x_sums, |place| place.sums.add(block * block_len));
                let product = Product {
                    packed,
                    part: 0,
                    block,
                    rows: x_rows,
                    n_rows,
                    out: x_sums,
                    out_stride: block_len,
                };
                if !is_full {
                    (self.kernels.multiply)(&product);
                }
                let h_sums = match is_ahead {
                    true => self.ahead_sums(layer, block),
                    false => own_h_sums,
                };
                if !is_ahead {
                    let product = Product { part: 1, rows: h_rows, out: h_sums, ..product };
                    (self.kernels.multiply)(&product);
                }
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

    /// The products of a layer with one of its two h: this member's units.
    unsafe fn ahead(&self, worker: &Worker<'_>, layer: usize, current: usize) {
        let packed = &self.weights.layers[layer].packed;
        let LayerPlaces { hidden, h, .. } = self.layers[layer];
        // SAFETY: as in `layer`.
        unsafe {
            let h = Outside { values: self.states.ptr(h[current]), depth: hidden };
            let [rows, _] = self.prepare(worker, [Some(h), None]);
            for block in self.in_order(worker.share(packed.n_blocks)) {
                (self.kernels.multiply)(&Product {
                    packed,
                    part: 1,
                    block,
                    rows,
                    n_rows: self.n_streams,
                    out: self.ahead_sums(layer, block),
                    out_stride: packed.n_lines * LANES,
                });
            }
        }
    }

    /// Where the products of a block with h are that are made ahead.
    fn ahead_sums(&self, layer: usize, block: usize) -> *mut f32 {
        let n_lines = self.weights.layers[layer].packed.n_lines;
        self.ahead.ptr(self.layers[layer].ahead + block * self.n_streams * n_lines).cast()
    }

    /// This member's part of the output layer.
    unsafe fn output(&self, worker: &Worker<'_>, h: Outside) {
        if let (Wanted::Likeliest(noises), Some(screen)) = (self.wanted, self.screen) {
            // SAFETY: the stepper was made for these weights and as many streams.
            return unsafe { self.screen(worker, screen, h, noises) };
        }
        let packed = &self.weights.output;
        let n_rows = self.n_streams;
        let [sums, _] = self.sums(worker);
        // SAFETY: as in `layer`; logits of different blocks are different places.
        unsafe {
            let [rows, _] = self.prepare(worker, [Some(h), None]);
            let likeliest = self.likeliest.ptr(worker.index * n_rows);
            let likeliest = std::slice::from_raw_parts_mut(likeliest, n_rows);
            likeliest.fill(Lanes::NONE);
            for block in self.in_order(worker.share(packed.n_blocks)) {
                let first = block * packed.block_units;
                let (out, out_stride) = match self.wanted {
                    Wanted::Logits => {
                        (self.logits.ptr(first), packed.n_blocks * packed.block_units)
                    }
                    _ => (sums, packed.n_lines * LANES),
                };
                let product = Product { packed, part: 0, block, rows, n_rows, out, out_stride };
                (self.kernels.multiply)(&product);
                if let Wanted::Likeliest(noises) = self.wanted {
                    let n = packed.block_units.min(packed.units - first);
                    for (row, likeliest) in likeliest.iter_mut().enumerate() {
                        let logits = sums.add(row * packed.block_units);
                        let logits = std::slice::from_raw_parts_mut(logits, n);
                        if let Some(noise) = noises.get(row) {
                            (self.kernels.disturb)(noise, logits, first);
                        }
                        (self.kernels.look)(likeliest, logits, first, self.is_backward);
                    }
                }
            }
            for (row, likeliest) in likeliest.iter().enumerate() {
                *self.found.ptr(worker.index * n_rows + row) = likeliest.likeliest();
            }
        }
    }

    /// A member's blocks, in the order of this step.
    pub(super) fn in_order(&self, share: Range<usize>) -> impl Iterator<Item = usize> {
        let (first, last) = (share.start, share.end);
        share.map(move |block| if self.is_backward { first + last - 1 - block } else { block })
    }

    /// This member's room for products with x and with h.
    fn sums(&self, worker: &Worker<'_>) -> [*mut f32; 2] {
        let len = self.n_streams * MOST_LINES;
        [0, 1].map(|part| self.sums.ptr((2 * worker.index + part) * len).cast())
    }

    /// Inputs as products read them. Many rows are shared by the members, who then wait for each other; few each member
    /// prepares for itself.
    pub(super) unsafe fn prepare(
        &self,
        worker: &Worker<'_>,
        rows: [Option<Outside>; 2],
    ) -> [Rows; 2] {
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
