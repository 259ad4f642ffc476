//! Products of the first layer with its input, kept for inputs that come again: a token's embedding is always the same, so
//! what W_ih makes of it is a constant of the model. Only for a single stream: many share the weights that are read.

use super::layout::{LANES, Packed};
use std::collections::HashMap;

/// Most bytes that are kept; what came first is forgotten first.
const MOST_BYTES: usize = 64 << 20;

/// The inputs of a step.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// (B, E)
    pub x: &'a [f32],
    /// A name of the input of a single stream: inputs of one name are always the same. Or none, where that is not known.
    pub name: Option<u32>,
}

impl<'a> From<&'a [f32]> for Inputs<'a> {
    fn from(x: &'a [f32]) -> Self {
        Self { x, name: None }
    }
}

impl<'a> From<&'a Vec<f32>> for Inputs<'a> {
    fn from(x: &'a Vec<f32>) -> Self {
        Self { x, name: None }
    }
}

/// The products of inputs by their names.
#[derive(Debug)]
pub(super) struct Remembered {
    /// For each place the sums of all blocks, block after block.
    sums: Vec<f32>,
    /// Values of a place, and how many places there may be.
    len: usize,
    n_places: usize,
    places: HashMap<u32, usize>,
    /// What is in the places that were ever used, and which of them is forgotten next.
    names: Vec<u32>,
    oldest: usize,
}

/// Where the product of an input is, or goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub sums: *mut f32,
    pub is_full: bool,
}

// SAFETY: members write and read different blocks of it.
unsafe impl Sync for Place {}

impl Remembered {
    /// Room for products of a first layer; memory is taken as it fills.
    pub fn new(first: &Packed) -> Self {
        let len = first.n_blocks * first.n_lines * LANES;
        Self {
            sums: Vec::new(),
            len,
            n_places: (MOST_BYTES / (len * size_of::<f32>())).max(1),
            places: HashMap::new(),
            names: Vec::new(),
            oldest: 0,
        }
    }

    /// The place of an input, which the step fills where it is not full.
    pub fn place(&mut self, name: u32) -> Place {
        if self.sums.is_empty() {
            // The system's zeros, which take no memory and no time before they are written: lines would be filled one by one.
            self.sums = vec![0.0; self.n_places * self.len];
        }
        let known = self.places.get(&name).copied();
        let place = known.unwrap_or_else(|| self.place_for(name));
        let sums = self.sums[place * self.len..][..self.len].as_mut_ptr();
        Place { sums, is_full: known.is_some() }
    }

    fn place_for(&mut self, name: u32) -> usize {
        let place = if self.names.len() < self.n_places {
            self.names.push(name);
            self.names.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % self.n_places;
            let forgotten = std::mem::replace(&mut self.names[place], name);
            self.places.remove(&forgotten);
            place
        };
        self.places.insert(name, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::super::layout::Source;
    use super::*;
    use crate::{Cpu, Isa};

    #[test]
    fn what_came_first_is_forgotten_first() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let source = Source { weight: &[1.0; 4 * LANES], bias: &[0.0; 4 * LANES], depth: 1 };
        let packed = Packed::new(&cpu, Storage::F32, 4, LANES, &[source]);
        let mut remembered = Remembered { n_places: 3, ..Remembered::new(&packed) };
        let mut is_full = |name| remembered.place(name).is_full;
        assert_eq!([7, 8, 9, 7].map(&mut is_full), [false, false, false, true]);
        assert_eq!([10, 8, 9, 7, 8].map(&mut is_full), [false, true, true, false, false]);
        assert_eq!([10, 9, 7].map(&mut is_full), [true, false, true]);
    }
}
