//! The flat store of everything a model learns.
//!
//! Values, gradients and optimizer state lie in slabs of the same layout, so that an optimizer, a checkpoint or an
//! all-reduce is one loop over them.

use std::ops::Range;

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

/// Named parameters: values, gradients and optimizer state side by side.
#[derive(Clone, Debug)]
pub struct Parameters<E> {
    pub(crate) values: Values<E>,
    pub(crate) gradients: Gradients<E>,
    moments: Vec<Vec<E>>,
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

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl<E: Element> Parameters<E> {
    /// An empty store.
    pub fn new() -> Self {
        let values = Values { entries: Vec::new(), slab: Vec::new(), version: fresh_version() };
        let (gradients, layers) = (Gradients::default(), PackedLayers::default());
        Self { values, gradients, moments: Vec::new(), layers }
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

    /// Adds a parameter of zeros.
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
        self.values.entries.push(Entry { name: name.to_string(), shape: shape.to_vec(), range });
        for moments in &mut self.moments {
            moments.resize(self.values.slab.len(), E::ZERO);
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

    /// Sets every gradient to zero, touching only what was written.
    pub fn clear_gradients(&mut self) {
        for id in self.ids() {
            for range in self.gradients.written_ranges(id) {
                self.gradients.slab_mut()[range].fill(E::ZERO);
            }
            self.gradients.forget(id);
        }
    }

    /// The slabs that an optimizer is about to change, and the layers that it is to lay out as this version of the weights.
    pub(crate) fn for_update(&mut self) -> (Slabs<'_, E>, &mut PackedLayers, u64) {
        self.values.version = fresh_version();
        self.gradients.allocate(self.values.slab.len());
        let mut moments = self.moments.iter_mut().map(Vec::as_mut_slice);
        let slabs = Slabs {
            value: &mut self.values.slab,
            gradient: self.gradients.slab_mut(),
            moments: [(); 2].map(|()| moments.next().unwrap_or_default()),
        };
        (slabs, &mut self.layers, self.values.version)
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
}
