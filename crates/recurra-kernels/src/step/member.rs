//! One member's part of a step: its blocks of every layer, then of the output layer.

use super::Weights;
use super::cell::Finish;
use super::kernels::{Input, Kernels};
use super::layout::{LANES, Line, MOST_LINES};
use super::likeliest::{Lanes, Likeliest, Search};
use super::noise::Noise;
use super::product::{Product, Rows};
use super::remembered::Place;
use super::screen::{Screen, SharedRoom};
use crate::{SharedSlice, Worker};
use std::ops::Range;

/// Streams from which inputs are prepared by all members together, not by each for itself.
const SHARED_ROWS: usize = 8;

/// Where the states of a layer are, (B, H) each.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerPlaces {
    pub hidden: usize,
    pub h: [usize; 2],
    pub c: usize,
    /// Where its products with h are that are made ahead.
    pub ahead: usize,
}

/// What is asked of a step besides the states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wanted<'a> {
    Nothing,
    Logits,
    /// After noise of each stream, or without any.
    Likeliest(&'a [Noise]),
}

/// Rows of `f32` that are multiplied next.
#[derive(Clone, Copy)]
pub(super) struct Outside {
    pub values: *const f32,
    pub depth: usize,
}

// SAFETY: it is only read, between two barriers in which nobody writes there.
unsafe impl Sync for Outside {}

/// What all members see.
pub(super) struct Shared<'a> {
    pub kernels: Kernels,
    pub weights: &'a Weights,
    pub n_streams: usize,
    pub layers: &'a [LayerPlaces],
    pub states: SharedSlice<'a, f32>,
    pub current: usize,
    pub logits: SharedSlice<'a, f32>,
    pub inputs: SharedSlice<'a, Line>,
    pub inputs_len: usize,
    pub scales: SharedSlice<'a, f32>,
    pub sums: SharedSlice<'a, Line>,
    pub likeliest: SharedSlice<'a, Lanes>,
    pub found: SharedSlice<'a, Likeliest>,
    /// How the likeliest outputs are found, where not all are computed.
    pub screen: Option<&'a Screen>,
    pub room: SharedRoom<'a>,
    /// The products of the first layer with its input, where they are kept.
    pub remembered: Option<Place>,
    /// Those of all layers with h; none where they are not made ahead.
    pub ahead: SharedSlice<'a, Line>,
    pub is_ahead: bool,
    pub wanted: Wanted<'a>,
    pub is_backward: bool,
}

impl Shared<'_> {
    /// One member's part of a step.
    pub fn step(&self, worker: &Worker<'_>, x: Outside) {
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
                    next: packed.next(block, 0, self.is_backward),
                };
                if !is_full {
                    (self.kernels.multiply)(&product);
                }
                let h_sums = match is_ahead {
                    true => self.ahead_sums(layer, block),
                    false => own_h_sums,
                };
                if !is_ahead {
                    let next = packed.next(block, 1, self.is_backward);
                    let product = Product { part: 1, rows: h_rows, out: h_sums, next, ..product };
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
                    next: packed.next(block, 1, self.is_backward),
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
                let next = packed.next(block, 0, self.is_backward);
                let product =
                    Product { packed, part: 0, block, rows, n_rows, out, out_stride, next };
                let n = packed.block_units.min(packed.units - first);
                let is_backward = self.is_backward;
                if let (Wanted::Likeliest([]), Some(find)) = (self.wanted, self.kernels.find) {
                    find(&mut Search { product, likeliest, first, n, is_backward });
                    continue;
                }
                (self.kernels.multiply)(&product);
                if let Wanted::Likeliest(noises) = self.wanted {
                    for (row, likeliest) in likeliest.iter_mut().enumerate() {
                        let logits = sums.add(row * packed.block_units);
                        let logits = std::slice::from_raw_parts_mut(logits, n);
                        if let Some(noise) = noises.get(row) {
                            (self.kernels.disturb)(noise, logits, first);
                        }
                        (self.kernels.look)(likeliest, logits, first, is_backward);
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
