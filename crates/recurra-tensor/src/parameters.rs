//! The flat store of everything a model learns.
//!
//! Values, gradients and optimizer state lie in slabs of the same layout, so that an optimizer, a checkpoint or an
//! all-reduce is one loop over them.

use std::ops::Range;

use recurra_kernels::muon;
use recurra_kernels::update::Slabs;
use recurra_kernels::{Element, prefer_large_pages};

use crate::gradients::Gradients;
use crate::packed::PackedLayers;

/// Each parameter starts at a multiple of this many values (64 bytes of `f32`).
const ALIGNMENT: usize = 16;

/// Names one parameter of a [`Parameters`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(usize);

impl ParameterId {
    /// Which parameter of its store it is, counted from 0 in the order of declaration.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// What a parameter is to an optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Biases, scales of norms: everything that is no matrix.
    Vector,
    /// So many matrices (rows, columns), one on top of the other, each of which maps one vector to another: the gates of a
    /// recurrent layer are several.
    Matrix {
        /// How many; the rows are a multiple of it.
        parts: usize,
    },
    /// A vector for each token or place: embeddings, and the output weight.
    Table,
}

/// Named parameters: values, gradients and optimizer state side by side.
#[derive(Clone, Debug)]
pub struct Parameters<E> {
    pub(crate) values: Values<E>,
    pub(crate) gradients: Gradients<E>,
    moments: Vec<Vec<E>>,
    average: Option<Average<E>>,
    room: MuonRoom<E>,
    /// Weights of recurrent layers as training uses them, written with the values.
    pub(crate) layers: PackedLayers,
}

/// The part that a forward pass reads.
#[derive(Clone, Debug)]
pub(crate) struct Values<E> {
    entries: Vec<Entry>,
    slab: Vec<E>,
    /// Changes whenever a value may have: tells a packed copy that it is stale.
    version: u64,
}

/// The average of the values of some steps, and its version as of values.
#[derive(Clone, Debug)]
struct Average<E> {
    slab: Vec<E>,
    version: u64,
}

/// What a step of Muon works in; whoever clones a store makes his own.
#[derive(Debug, Default)]
struct MuonRoom<E>(muon::Workspace<E>);

impl<E> Clone for MuonRoom<E> {
    fn clone(&self) -> Self {
        Self(muon::Workspace::default())
    }
}

/// What an optimizer changes.
pub(crate) struct ForUpdate<'a, E> {
    pub slabs: Slabs<'a, E>,
    /// The layers that it is to lay out as this version of the weights.
    pub layers: &'a mut PackedLayers,
    pub version: u64,
    pub muon: &'a mut muon::Workspace<E>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    role: Role,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl<E: Element> Parameters<E> {
    /// An empty store.
    pub fn new() -> Self {
        let values = Values { entries: Vec::new(), slab: Vec::new(), version: fresh_version() };
        let (gradients, layers) = (Gradients::default(), PackedLayers::default());
        let room = MuonRoom(muon::Workspace::default());
        Self { values, gradients, moments: Vec::new(), average: None, room, layers }
    }

    /// Makes room for `n_values` more numbers in `n` more parameters: what is declared next need not move what is there.
    pub fn reserve(&mut self, n: usize, n_values: usize) {
        let len = n_values + n * ALIGNMENT;
        if self.values.slab.is_empty() {
            // Zeros of the system, which cost nothing before they are replaced.
            self.values.slab = vec![E::ZERO; len];
            prefer_large_pages(&mut self.values.slab);
        } else {
            self.values.slab.reserve_exact(len);
        }
    }

    /// Adds a parameter of zeros: a matrix where it has rows and columns, else a vector, unless [told](Self::set_role)
    /// otherwise.
    ///
    /// # Panics
    /// When the name is taken.
    #[track_caller]
    pub fn declare(&mut self, name: &str, shape: &[usize]) -> ParameterId {
        assert!(self.find(name).is_none(), "parameter `{name}` is declared twice");
        let start = self.values.end();
        let len: usize = shape.iter().product();
        let range = start..start + len;
        let end = range.end.next_multiple_of(ALIGNMENT);
        if end > self.values.slab.len() {
            self.values.slab.resize(end, E::ZERO);
        }
        self.gradients.declare(range.clone());
        let role = if shape.len() == 2 { Role::Matrix { parts: 1 } } else { Role::Vector };
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.values.entries.push(Entry { name, role, shape, range });
        let averages = self.average.iter_mut().map(|average| &mut average.slab);
        for slab in self.moments.iter_mut().chain(averages) {
            slab.resize(self.values.slab.len(), E::ZERO);
        }
        ParameterId(self.values.entries.len() - 1)
    }

    /// The parameter of that name.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.values.entries.iter().position(|entry| entry.name == name).map(ParameterId)
    }

    /// Every parameter, in the order of declaration.
    pub fn ids(&self) -> impl Iterator<Item = ParameterId> + use<E> {
        (0..self.values.entries.len()).map(ParameterId)
    }

    /// How many parameters (matrices and vectors) there are.
    pub fn len(&self) -> usize {
        self.values.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers all parameters have together.
    pub fn n_values(&self) -> usize {
        self.values.entries.iter().map(|entry| entry.range.len()).sum()
    }

    /// The name of a parameter.
    pub fn name(&self, id: ParameterId) -> &str {
        &self.values.entries[id.index()].name
    }

    /// The shape of a parameter.
    pub fn shape(&self, id: ParameterId) -> &[usize] {
        &self.values.entries[id.index()].shape
    }

    /// What a parameter is to an optimizer.
    pub fn role(&self, id: ParameterId) -> Role {
        self.values.entries[id.index()].role
    }

    /// Says what a parameter is to an optimizer.
    ///
    /// # Panics
    /// When it is to be matrices and does not consist of as many.
    #[track_caller]
    pub fn set_role(&mut self, id: ParameterId, role: Role) {
        let Entry { name, shape, .. } = &self.values.entries[id.index()];
        if let Role::Matrix { parts } = role {
            let rows: usize = shape.iter().rev().skip(1).product();
            let are_matrices = shape.len() > 1 && parts > 0 && rows.is_multiple_of(parts);
            assert!(are_matrices, "parameter `{name}` of shape {shape:?} as {parts} matrices");
        }
        self.values.entries[id.index()].role = role;
    }

    /// The values of a parameter, row by row.
    pub fn value(&self, id: ParameterId) -> &[E] {
        self.values.of(id)
    }

    /// The values of a parameter, to be changed.
    pub fn value_mut(&mut self, id: ParameterId) -> &mut [E] {
        self.values.version = fresh_version();
        let range = self.values.entries[id.index()].range.clone();
        &mut self.values.slab[range]
    }

    /// The gradient of a parameter; `None` before the first backward pass.
    pub fn gradient(&self, id: ParameterId) -> Option<&[E]> {
        self.gradients.get(id)
    }

    /// How many slabs of optimizer state there are.
    pub fn n_moments(&self) -> usize {
        self.moments.len()
    }

    /// Makes `n` slabs of optimizer state, keeping those that exist and filling new ones with zeros.
    pub fn set_n_moments(&mut self, n: usize) {
        let len = self.values.slab.len();
        self.moments.resize_with(n, || vec![E::ZERO; len]);
    }

    /// Optimizer state number `slot` of a parameter.
    pub fn moments(&self, slot: usize, id: ParameterId) -> &[E] {
        &self.moments[slot][self.values.entries[id.index()].range.clone()]
    }

    /// Optimizer state number `slot` of a parameter, to be changed.
    pub fn moments_mut(&mut self, slot: usize, id: ParameterId) -> &mut [E] {
        &mut self.moments[slot][self.values.entries[id.index()].range.clone()]
    }

    /// Whether there is an average of the values beside them.
    pub fn has_average(&self) -> bool {
        self.average.is_some()
    }

    /// Makes room for an average of the values, filled with zeros, or gives it back.
    pub fn set_average(&mut self, is_kept: bool) {
        if !is_kept {
            self.average = None;
        } else if self.average.is_none() {
            let slab = vec![E::ZERO; self.values.slab.len()];
            self.average = Some(Average { slab, version: fresh_version() });
        }
    }

    /// The average of the values of a parameter.
    ///
    /// # Panics
    /// When none is kept.
    #[track_caller]
    pub fn average(&self, id: ParameterId) -> &[E] {
        let average = self.average.as_ref().expect("an average of the values");
        &average.slab[self.values.entries[id.index()].range.clone()]
    }

    /// The average of the values of a parameter, to be changed.
    ///
    /// # Panics
    /// When none is kept.
    #[track_caller]
    pub fn average_mut(&mut self, id: ParameterId) -> &mut [E] {
        let average = self.average.as_mut().expect("an average of the values");
        average.version = fresh_version();
        &mut average.slab[self.values.entries[id.index()].range.clone()]
    }

    /// Has values and their average change places, at no cost: to score or save the average, and back to train on. What is
    /// laid out of the values is still so when they are back.
    ///
    /// # Panics
    /// When no average is kept.
    #[track_caller]
    pub fn swap_average(&mut self) {
        let average = self.average.as_mut().expect("an average of the values");
        std::mem::swap(&mut self.values.slab, &mut average.slab);
        std::mem::swap(&mut self.values.version, &mut average.version);
    }

    /// Sets every gradient to zero, touching only what was written.
    pub fn clear_gradients(&mut self) {
        for id in self.ids() {
            for range in self.gradients.written_ranges(id) {
                self.gradients.slab_mut()[range].fill(E::ZERO);
            }
            self.gradients.forget(id);
        }
    }

    /// What an optimizer is about to change; the average is among it if asked for, and made if there is none.
    pub(crate) fn for_update(&mut self, is_averaged: bool) -> ForUpdate<'_, E> {
        self.values.version = fresh_version();
        self.gradients.allocate(self.values.slab.len());
        if is_averaged {
            self.set_average(true);
        }
        let mut moments = self.moments.iter_mut().map(Vec::as_mut_slice);
        let average = self.average.as_mut().filter(|_| is_averaged).map(|average| {
            average.version = fresh_version();
            average.slab.as_mut_slice()
        });
        let slabs = Slabs {
            value: &mut self.values.slab,
            gradient: self.gradients.slab_mut(),
            moments: [(); 2].map(|()| moments.next().unwrap_or_default()),
            average: average.unwrap_or_default(),
        };
        let (layers, version) = (&mut self.layers, self.values.version);
        ForUpdate { slabs, layers, version, muon: &mut self.room.0 }
    }

    /// All gradients and the optimizer state number `slot`, side by side.
    pub(crate) fn gradients_and_moments(&mut self, slot: usize) -> (&mut [E], &mut [E]) {
        (self.gradients.slab_mut(), &mut self.moments[slot])
    }

    /// What a training tape reads and what it writes.
    pub(crate) fn for_training(&mut self) -> (&Values<E>, &mut Gradients<E>, &mut PackedLayers) {
        self.gradients.allocate(self.values.slab.len());
        (&self.values, &mut self.gradients, &mut self.layers)
    }
}

impl<E: Element> Default for Parameters<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> Values<E> {
    pub(crate) fn of(&self, id: ParameterId) -> &[E] {
        &self.slab[self.entries[id.index()].range.clone()]
    }

    pub(crate) fn shape(&self, id: ParameterId) -> &[usize] {
        &self.entries[id.index()].shape
    }

    /// Where the next parameter begins.
    fn end(&self) -> usize {
        self.entries.last().map_or(0, |last| last.range.end.next_multiple_of(ALIGNMENT))
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Rows and columns of a matrix; a vector is one row.
    #[track_caller]
    pub(crate) fn matrix_shape(&self, id: ParameterId) -> (usize, usize) {
        match self.entries[id.index()].shape[..] {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            ref shape => {
                panic!(
                    "parameter `{}` of shape {shape:?} is no matrix",
                    self.entries[id.index()].name
                )
            }
        }
    }
}

/// A number that no other change of any store has had.
fn fresh_version() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static VERSIONS: AtomicU64 = AtomicU64::new(1);
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_aligned_named_and_found() {
        let mut parameters = Parameters::<f32>::new();
        let a = parameters.declare("a", &[3, 5]);
        let b = parameters.declare("b", &[2]);
        parameters.value_mut(a).fill(1.0);
        parameters.value_mut(b).copy_from_slice(&[7.0, 8.0]);
        assert_eq!(parameters.find("b"), Some(b));
        assert_eq!(parameters.find("c"), None);
        assert_eq!(parameters.n_values(), 17);
        assert_eq!(parameters.value(a), [1.0; 15]);
        assert_eq!(parameters.value(b), [7.0, 8.0]);
        assert_eq!(parameters.values.entries[1].range.start % ALIGNMENT, 0);
        assert_eq!(parameters.gradient(a), None);
    }

    #[test]
    fn a_change_of_values_changes_the_version() {
        let mut parameters = Parameters::<f32>::new();
        let a = parameters.declare("a", &[1]);
        let before = parameters.values.version();
        parameters.value_mut(a)[0] = 1.0;
        assert_ne!(parameters.values.version(), before);
        let copy = parameters.clone();
        parameters.value_mut(a)[0] = 2.0;
        assert_ne!(copy.values.version(), parameters.values.version());
    }

    #[test]
    fn values_and_average_change_places_with_their_versions() {
        let mut parameters = Parameters::<f32>::new();
        let a = parameters.declare("a", &[2]);
        parameters.value_mut(a).fill(1.0);
        parameters.set_average(true);
        let b = parameters.declare("b", &[3]);
        parameters.average_mut(a).fill(2.0);
        let version = parameters.values.version();
        parameters.swap_average();
        assert_eq!((parameters.value(a), parameters.average(a)), (&[2.0; 2][..], &[1.0; 2][..]));
        assert_eq!(parameters.value(b), [0.0; 3]);
        assert_ne!(parameters.values.version(), version);
        parameters.swap_average();
        assert_eq!(parameters.values.version(), version, "what was laid out still is");
        parameters.set_average(false);
        assert!(!parameters.has_average());
    }

    #[test]
    #[should_panic(expected = "parameter `a` of shape [5, 2] as 2 matrices")]
    fn rows_that_are_no_matrices_are_refused() {
        let mut parameters = Parameters::<f32>::new();
        let a = parameters.declare("a", &[5, 2]);
        parameters.set_role(a, Role::Matrix { parts: 2 });
    }
}
