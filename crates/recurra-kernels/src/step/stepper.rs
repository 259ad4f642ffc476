//! The states of some streams, and what may be asked of a step.

use super::Weights;
use super::kernels::Kernels;
use super::layout::{Line, MOST_LINES};
use super::likeliest::{Lanes, Likeliest};
use super::member::{LayerPlaces, Outside, Shared, Wanted};
use super::noise::Noise;
use super::remembered::{Inputs, Remembered};
use super::screen::{MOST_ROWS, Room};
use crate::{Cpu, Isa, SharedSlice};
use std::ops::Range;

/// Weights of which a step is done by the calling thread alone: a team would wait longer than it works.
const ALONE: usize = 160 << 10;
/// Streams that make a step longer: more of them share what is loaded.
const MOST_COUNTED: usize = 8;

/// The states of some streams side by side, and the memory that a step works in.
#[derive(Debug)]
pub struct Stepper {
    weights_id: u64,
    isa: Isa,
    threads: usize,
    n_streams: usize,
    n_parts: usize,
    kernels: Kernels,
    layers: Vec<LayerPlaces>,
    states: Vec<f32>,
    /// Which of the two h is the current one.
    current: usize,
    /// Whether members read their blocks from the last to the first: every other step, because what was read last is
    /// still in the cache. (With 3.6 MiB a core, two of which fit: 1.6 times as fast. Fetching ahead brought nothing.)
    is_backward: bool,
    /// Whether what is made of the current h for the next step is there already: it prepared for products, or these.
    is_ahead: bool,
    remembered: Remembered,
    logits: Vec<f32>,
    likeliest: Vec<Likeliest>,
    scratch: Scratch,
}

/// What the members of the team work in, one after the other.
#[derive(Debug)]
struct Scratch {
    /// Prepared inputs and their scales: x and h of each member, or of all together x and the h of each layer.
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
        let n_inputs = (2 * threads).max(1 + layers.len());
        let scratch = Scratch {
            inputs: vec![Line::ZERO; n_inputs * inputs_len],
            inputs_len,
            scales: vec![0.0; n_inputs * n_streams],
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
            n_parts: weights.cell.n_parts(),
            kernels,
            layers,
            states: vec![0.0; len],
            current: 0,
            is_backward: false,
            is_ahead: false,
            remembered: Remembered::new(&weights.layers[0].packed, n_streams, weights.outputs()),
            logits: Vec::new(),
            likeliest: vec![Likeliest::NONE; n_streams],
            scratch,
        }
    }

    /// B, how many streams there are.
    pub fn n_streams(&self) -> usize {
        self.n_streams
    }

    /// How many layers there are.
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// How many parts the state of a layer has.
    pub fn n_parts(&self) -> usize {
        self.n_parts
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

    /// Whether the inputs of these names are remembered: then a step does not read `x`.
    ///
    /// # Shapes
    /// `names` (B).
    pub fn knows(&self, names: &[u32]) -> bool {
        names.len() == self.n_streams && self.remembered.knows(names)
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
        let screen = match wanted {
            Wanted::Likeliest(_) => weights.screen(cpu, self.n_streams),
            Wanted::Nothing | Wanted::Logits => None,
        };
        if let Some(screen) = screen {
            self.scratch.room.prepare(screen, self.threads, self.n_streams);
        }
        sizes(self.n_streams, x.names.map_or(self.n_streams, <[u32]>::len), "names");
        let remembered = x.names.and_then(|names| self.remembered.places(names));
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
        match weights.n_bytes() * self.n_streams.min(MOST_COUNTED) < ALONE {
            true => cpu.pool().alone(|worker| shared.step(worker, x)),
            false => cpu.pool().run(|worker| shared.step(worker, x)),
        }
        self.current = 1 - self.current;
        self.is_backward = !self.is_backward;
        self.is_ahead = true;
    }
}
