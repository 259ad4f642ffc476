//! One member's part of a step: its blocks of every layer, then of the output layer.

use super::Weights;
use super::cell::{Finish, Sums, Values};
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
    pub remembered: Option<&'a [Place]>,
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
            let makes_ahead = self.makes_ahead();
            if makes_ahead && !self.is_ahead {
                (0..self.layers.len()).for_each(|layer| self.ahead(worker, layer, self.current));
            }
            let keeps_rows = self.keeps_rows();
            if keeps_rows && !self.is_ahead {
                (0..self.layers.len())
                    .for_each(|layer| _ = self.prepare_h(worker, layer, self.current));
            }
            let mut below = x;
            for layer in 0..self.layers.len() {
                below = self.layer(worker, layer, below);
                worker.barrier();
                if keeps_rows {
                    self.prepare_h(worker, layer, 1 - self.current);
                    worker.barrier();
                }
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
        let [h_before, h_after] =
            [h[self.current], h[1 - self.current]].map(|place| self.states.ptr(place));
        let n_rows = self.n_streams;
        let remembered = self.remembered.filter(|_| layer == 0);
        let is_full = remembered.is_some_and(|places| places.iter().all(|place| place.is_full));
        let makes_ahead = self.makes_ahead();
        let [own_x_sums, own_h_sums] = self.sums(worker);
        let Kernels { multiply, sum, finish, .. } = self.kernels;
        // SAFETY: this member's own; sizes by `Stepper::run`.
        unsafe {
            let x = Some(x).filter(|_| !is_full);
            let before = Some(Outside { values: h_before, depth: hidden }).filter(|_| !makes_ahead);
            let [x_rows, h_rows] = self.rows_of(worker, layer, [x, before]);
            for block in self.in_order(worker.share(packed.n_blocks)) {
                let block_len = packed.n_lines * LANES;
                let of_x = Product {
                    packed,
                    part: 0,
                    block,
                    rows: x_rows,
                    n_rows,
                    out: own_x_sums,
                    out_stride: block_len,
                    next: packed.next(block, 0, self.is_backward),
                };
                let next = packed.next(block, 1, self.is_backward);
                let of_h = Product { part: 1, rows: h_rows, out: own_h_sums, next, ..of_x };
                let values = |first: *mut f32| {
                    Sums::Values(Values::Apart { first: first.cast_const(), stride: block_len })
                };
                let x = match (remembered, sum) {
                    (Some(places), _) => {
                        let offset = block * block_len;
                        if !is_full {
                            multiply(&of_x);
                            keep(places, offset, &of_x);
                        }
                        Sums::Values(Values::Kept { places, offset })
                    }
                    (None, Some(sum)) => {
                        sum(&of_x);
                        Sums::Whole(of_x)
                    }
                    (None, None) => {
                        multiply(&of_x);
                        values(own_x_sums)
                    }
                };
                let h = match sum {
                    _ if makes_ahead => values(self.ahead_sums(layer, block)),
                    Some(sum) => {
                        sum(&of_h);
                        Sums::Whole(of_h)
                    }
                    None => {
                        multiply(&of_h);
                        values(own_h_sums)
                    }
                };
                let first_unit = block * packed.block_units;
                finish(&Finish {
                    cell: self.weights.cell,
                    n_rows,
                    hidden,
                    first_unit,
                    n_units: packed.block_units.min(hidden - first_unit),
                    x,
                    h,
                    h_before,
                    h_after,
                    c: self.states.ptr(c),
                });
            }
        }
        Outside { values: h_after, depth: hidden }
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
            let rows = match self.keeps_rows() {
                true => self.rows_at(self.layers.len(), h.depth),
                false => self.prepare(worker, [Some(h), None])[0],
            };
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

    /// Whether products with h are made for the step after.
    fn makes_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether all members prepare inputs together, and those of h once for all that read them: the layer above, the same
    /// layer at the next step, the output layer.
    fn keeps_rows(&self) -> bool {
        self.n_streams >= SHARED_ROWS && self.kernels.input != Input::F32
    }

    /// What a layer multiplies, as products read it; for many rows after a barrier where that is needed.
    unsafe fn rows_of(
        &self,
        worker: &Worker<'_>,
        layer: usize,
        [x, h]: [Option<Outside>; 2],
    ) -> [Rows; 2] {
        if !self.keeps_rows() {
            // SAFETY: the caller's contract is the same.
            return unsafe { self.prepare(worker, [x, h]) };
        }
        let x_rows = match (layer.checked_sub(1), x) {
            (Some(below), _) => self.rows_at(1 + below, self.layers[below].hidden),
            (None, None) => Rows::NONE,
            (None, Some(x)) => {
                // SAFETY: rows of different members are different places.
                unsafe { self.prepare_at(0, x, worker.share(self.n_streams)) }
            }
        };
        // The first layer's h may have been prepared in this step too.
        if layer == 0 && (x.is_some() || !self.is_ahead) {
            worker.barrier();
        }
        [x_rows, self.rows_at(1 + layer, self.layers[layer].hidden)]
    }

    /// This member's rows of one of the two h of a layer, where many rows are kept.
    unsafe fn prepare_h(&self, worker: &Worker<'_>, layer: usize, current: usize) -> Rows {
        let LayerPlaces { hidden, h, .. } = self.layers[layer];
        let h = Outside { values: self.states.ptr(h[current]), depth: hidden };
        // SAFETY: rows of different members are different places.
        unsafe { self.prepare_at(1 + layer, h, worker.share(self.n_streams)) }
    }

    /// Inputs as products read them: few, which each member prepares for itself.
    pub(super) unsafe fn prepare(
        &self,
        worker: &Worker<'_>,
        rows: [Option<Outside>; 2],
    ) -> [Rows; 2] {
        [0, 1].map(|part| {
            let Some(outside) = rows[part] else { return Rows::NONE };
            let Outside { values, depth } = outside;
            if self.kernels.input == Input::F32 {
                let row_bytes = depth * size_of::<f32>();
                return Rows { values: values.cast(), row_bytes, scales: std::ptr::null() };
            }
            // SAFETY: this member's own.
            unsafe { self.prepare_at(2 * worker.index + part, outside, 0..self.n_streams) }
        })
    }

    /// Prepares some rows; gives where all of them are.
    unsafe fn prepare_at(&self, place: usize, outside: Outside, share: Range<usize>) -> Rows {
        let Outside { values, depth } = outside;
        let rows = self.rows_at(place, depth);
        let scales = self.scales.ptr(place * self.n_streams);
        let bytes = self.inputs.ptr(place * self.inputs_len).cast::<u8>();
        for row in share {
            // SAFETY: these rows are the caller's alone, and `Stepper::new` has made enough places.
            unsafe {
                let from = std::slice::from_raw_parts(values.add(row * depth), depth);
                let to = bytes.add(row * rows.row_bytes);
                let to = std::slice::from_raw_parts_mut(to, rows.row_bytes);
                *scales.add(row) = (self.kernels.prepare)(from, to);
            }
        }
        rows
    }

    /// Where prepared rows are.
    fn rows_at(&self, place: usize, depth: usize) -> Rows {
        Rows {
            values: self.inputs.ptr(place * self.inputs_len).cast::<u8>(),
            row_bytes: self.kernels.input.row_bytes(depth),
            scales: self.scales.ptr(place * self.n_streams),
        }
    }
}

/// Copies the products of a block to the places that are to have them.
unsafe fn keep(places: &[Place], offset: usize, product: &Product<'_>) {
    for (row, place) in places.iter().enumerate().filter(|(_, place)| !place.is_full) {
        // SAFETY: each place has room for all blocks, and this one is the caller's alone.
        unsafe {
            let sums = product.out(row, 0);
            sums.copy_to_nonoverlapping(place.sums.add(offset), product.out_stride);
        }
    }
}
