//! Products of the first layer with its input, kept for inputs that come again: a token's embedding is always the same, so
//! what W_ih makes of it is a constant of the model. A single stream keeps what comes last. Many streams share the weights
//! that are read, and gain only where all of their inputs are known: so for them all inputs must find room.

use super::layout::{LANES, Packed};

/// Most bytes that are kept; what came first is forgotten first.
const MOST_BYTES: usize = 64 << 20;

/// Names from here on are not remembered: there is a table of all smaller ones.
const MOST_NAMES: usize = 1 << 24;

/// The inputs of a step.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// (B, E)
    pub x: &'a [f32],
    /// (B), a name of each input: inputs of one name are always the same. Or none, where that is not known.
    pub names: Option<&'a [u32]>,
}

impl<'a> From<&'a [f32]> for Inputs<'a> {
    fn from(x: &'a [f32]) -> Self {
        Self { x, names: None }
    }
}

impl<'a> From<&'a Vec<f32>> for Inputs<'a> {
    fn from(x: &'a Vec<f32>) -> Self {
        Self { x, names: None }
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
    /// By name: its place, counted from 1, or 0.
    places: Vec<u32>,
    /// What is in the places that were ever used, and which of them is forgotten next.
    names: Vec<u32>,
    oldest: usize,
    /// Of the inputs of this step.
    of_rows: Vec<Place>,
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
    /// Room for products of a first layer, of single streams or of so many, whose inputs are as many as the `outputs`; memory
    /// is taken as it fills.
    pub fn new(first: &Packed, n_streams: usize, outputs: usize) -> Self {
        let len = first.n_blocks * first.n_lines * LANES;
        let n_places = (MOST_BYTES / (len * size_of::<f32>())).max(1);
        let finds_room = n_streams == 1 || (1..=n_places).contains(&outputs);
        Self {
            sums: Vec::new(),
            len,
            n_places: if finds_room { n_places } else { 0 },
            places: Vec::new(),
            names: Vec::new(),
            oldest: 0,
            of_rows: Vec::with_capacity(n_streams),
        }
    }

    /// Whether all of these inputs came before, and are remembered.
    pub fn knows(&self, names: &[u32]) -> bool {
        names.iter().all(|&name| self.known(name).is_some())
    }

    fn known(&self, name: u32) -> Option<usize> {
        let place = *self.places.get(name as usize)?;
        (place as usize).checked_sub(1)
    }

    /// The places of the inputs of a step, which fills those that are not full; none where there is no room for all.
    pub fn places(&mut self, names: &[u32]) -> Option<&[Place]> {
        let n_unknown = names.iter().filter(|&&name| self.known(name).is_none()).count();
        let n_free = self.n_places - self.names.len();
        // A single one may take the place of what came first; one among others could take that of another.
        let finds_room = n_unknown <= n_free || (names.len() == 1 && self.n_places > 0);
        let is_named = names.iter().all(|&name| (name as usize) < MOST_NAMES);
        if !finds_room || !is_named {
            return None;
        }
        if self.sums.is_empty() {
            // The system's zeros, which take no memory and no time before they are written: lines would be filled one by one.
            self.sums = vec![0.0; self.n_places * self.len];
        }
        self.of_rows.clear();
        for &name in names {
            let known = self.known(name);
            let place = known.unwrap_or_else(|| self.place_for(name));
            let sums = self.sums[place * self.len..][..self.len].as_mut_ptr();
            self.of_rows.push(Place { sums, is_full: known.is_some() });
        }
        Some(&self.of_rows)
    }

    fn place_for(&mut self, name: u32) -> usize {
        let place = if self.names.len() < self.n_places {
            self.names.push(name);
            self.names.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % self.n_places;
            let forgotten = std::mem::replace(&mut self.names[place], name);
            self.places[forgotten as usize] = 0;
            place
        };
        if self.places.len() <= name as usize {
            self.places.resize(name as usize + 1, 0);
        }
        self.places[name as usize] = place as u32 + 1;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::super::Storage;
    use super::super::layout::Source;
    use super::*;
    use crate::{Cpu, Isa};

    fn with_places(n_places: usize, n_streams: usize) -> Remembered {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let source = Source { weight: &[1.0; 4 * LANES], bias: &[0.0; 4 * LANES], depth: 1 };
        let packed = Packed::new(&cpu, Storage::F32, 4, LANES, &[source]);
        Remembered { n_places, ..Remembered::new(&packed, n_streams, 3) }
    }

    #[test]
    fn what_came_first_is_forgotten_first() {
        let mut remembered = with_places(3, 1);
        let mut is_full = |name| remembered.places(&[name]).unwrap()[0].is_full;
        assert_eq!([7, 8, 9, 7].map(&mut is_full), [false, false, false, true]);
        assert_eq!([10, 8, 9, 7, 8].map(&mut is_full), [false, true, true, false, false]);
        assert_eq!([10, 9, 7].map(&mut is_full), [true, false, true]);
    }

    #[test]
    fn among_others_nothing_is_forgotten() {
        let mut remembered = with_places(3, 2);
        let mut are_full = |names: [u32; 2]| {
            Some(remembered.places(&names)?.iter().map(|place| place.is_full).collect::<Vec<_>>())
        };
        assert_eq!(are_full([7, 8]), Some(vec![false, false]));
        assert_eq!(are_full([8, 9]), Some(vec![true, false]));
        assert_eq!(are_full([9, 10]), None);
        assert_eq!(are_full([9, 7]), Some(vec![true, true]));
        assert!(remembered.knows(&[7, 9]) && !remembered.knows(&[7, 10]));
    }

    #[test]
    fn names_without_end_are_not_remembered() {
        assert!(with_places(3, 1).places(&[u32::MAX]).is_none());
        assert!(with_places(0, 1).places(&[1]).is_none());
    }
}
