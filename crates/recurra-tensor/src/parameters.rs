//! The flat store of everything a model learns.
//!
//! Values, gradients and optimizer state lie in slabs of the same layout, so that an optimizer, a checkpoint or an
//! all-reduce is one loop over them.

use std::ops::Range;

use recurra_kernels::{Cpu, Element, prefer_large_pages, update};

/// Each parameter starts at a multiple of this many values (64 bytes of `f32`).
const ALIGNMENT: usize = 16;

/// Names one parameter of a [`Parameters`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(usize);

/// Named parameters: values, gradients and optimizer state side by side.
#[derive(Clone, Debug)]
pub struct Parameters<E> {
    pub(crate) values: Values<E>,
    pub(crate) gradients: Gradients<E>,
    moments: Vec<Vec<E>>,
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

/// The part that a backward pass writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradients<E> {
    slab: Vec<E>,
    ranges: Vec<Range<usize>>,
    written: Vec<Written>,
    /// Σ g² of each row of a parameter, where whoever wrote its gradient said so; else empty.
    squares: Vec<Vec<f64>>,
}

/// The gradients of an output layer.
#[derive(Debug)]
pub(crate) struct LayerGradients<'a, E> {
    pub d_weight: &'a mut [E],
    pub d_bias: &'a mut [E],
    /// Whether they hold something; else they are zero.
    pub hold: bool,
    /// Σ g² of each row of `d_weight`, which whoever writes it is to say.
    pub squares: &'a mut [f64],
}

/// Where a gradient may differ from zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nowhere.
    #[default]
    Nothing,
    /// In these rows of the given width, in rising order: an embedding of which a batch uses few words.
    Rows {
        /// Row numbers, rising.
        rows: Vec<u32>,
        /// Values a row.
        width: usize,
    },
    /// Everywhere.
    Everything,
}

impl<E: Element> Parameters<E> {
    /// An empty store.
    pub fn new() -> Self {
        let values = Values { entries: Vec::new(), slab: Vec::new(), version: fresh_version() };
        Self { values, gradients: Gradients::default(), moments: Vec::new() }
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
        self.gradients.ranges.push(range.clone());
        self.gradients.written.push(Written::Nothing);
        self.gradients.squares.push(Vec::new());
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
        &self.values.entries[id.0].name
    }

    /// The shape of a parameter.
    pub fn shape(&self, id: ParameterId) -> &[usize] {
        &self.values.entries[id.0].shape
    }

    /// The values of a parameter, row by row.
    pub fn value(&self, id: ParameterId) -> &[E] {
        self.values.of(id)
    }

    /// The values of a parameter, to be changed.
    pub fn value_mut(&mut self, id: ParameterId) -> &mut [E] {
        self.values.version = fresh_version();
        let range = self.values.entries[id.0].range.clone();
        &mut self.values.slab[range]
    }

    /// The gradient of a parameter; `None` before the first backward pass.
    pub fn gradient(&self, id: ParameterId) -> Option<&[E]> {
        self.gradients.slab.get(self.values.entries[id.0].range.clone())
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
        &self.moments[slot][self.values.entries[id.0].range.clone()]
    }

    /// Optimizer state number `slot` of a parameter, to be changed.
    pub fn moments_mut(&mut self, slot: usize, id: ParameterId) -> &mut [E] {
        &mut self.moments[slot][self.values.entries[id.0].range.clone()]
    }

    /// Sets every gradient to zero, touching only what was written.
    pub fn clear_gradients(&mut self) {
        for idx in 0..self.len() {
            for range in self.gradients.written_ranges(idx) {
                self.gradients.slab[range].fill(E::ZERO);
            }
            self.gradients.forget(ParameterId(idx));
        }
    }

    /// The slabs an optimizer works on, and the places where a gradient was written, parameter by parameter.
    pub(crate) fn for_update(&mut self) -> (&mut [E], &mut Gradients<E>, &mut [Vec<E>]) {
        self.values.version = fresh_version();
        self.gradients.allocate(self.values.slab.len());
        (&mut self.values.slab, &mut self.gradients, &mut self.moments)
    }

    /// What a training tape reads and what it writes.
    pub(crate) fn for_training(&mut self) -> (&Values<E>, &mut Gradients<E>) {
        self.gradients.allocate(self.values.slab.len());
        (&self.values, &mut self.gradients)
    }
}

impl<E: Element> Default for Parameters<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> Values<E> {
    pub(crate) fn of(&self, id: ParameterId) -> &[E] {
        &self.slab[self.entries[id.0].range.clone()]
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
        match self.entries[id.0].shape[..] {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            ref shape => {
                panic!("parameter `{}` of shape {shape:?} is no matrix", self.entries[id.0].name)
            }
        }
    }
}

impl<E: Element> Gradients<E> {
    fn allocate(&mut self, len: usize) {
        if self.slab.len() < len {
            self.slab.reserve_exact(len - self.slab.len());
            prefer_large_pages(self.slab.spare_capacity_mut());
            self.slab.resize(len, E::ZERO);
        }
    }

    /// The whole gradient of a parameter, to be added to.
    pub(crate) fn of(&mut self, id: ParameterId) -> &mut [E] {
        self.written[id.0] = Written::Everything;
        self.squares[id.0].clear();
        &mut self.slab[self.ranges[id.0].clone()]
    }

    /// The whole gradients of a weight and a bias, written by one who knows the squares of the weight's `n_rows` rows.
    #[track_caller]
    pub(crate) fn of_layer(
        &mut self,
        weight: ParameterId,
        bias: ParameterId,
        n_rows: usize,
    ) -> LayerGradients<'_, E> {
        let mut write = |id: ParameterId| {
            std::mem::replace(&mut self.written[id.0], Written::Everything) != Written::Nothing
        };
        let hold = write(weight) | write(bias);
        self.squares[bias.0].clear();
        let squares = &mut self.squares[weight.0];
        squares.resize(n_rows, 0.0);
        let [d_weight, d_bias] = self
            .slab
            .get_disjoint_mut([self.ranges[weight.0].clone(), self.ranges[bias.0].clone()])
            .expect("two different parameters");
        LayerGradients { d_weight, d_bias, hold, squares }
    }

    /// The whole gradients of two weights and two biases, in this order, written by one who knows the squares of the weights'
    /// `n_rows` rows each; whether they hold a part to add to; and the place for the squares.
    #[track_caller]
    pub(crate) fn of_recurrent(
        &mut self,
        weights: [ParameterId; 2],
        biases: [ParameterId; 2],
        n_rows: usize,
    ) -> ([&mut [E]; 4], bool, [&mut [f64]; 2]) {
        let ids = [weights[0], weights[1], biases[0], biases[1]];
        let written = ids.map(|id| {
            std::mem::replace(&mut self.written[id.0], Written::Everything) != Written::Nothing
        });
        for (id, len) in ids.into_iter().zip([n_rows, n_rows, 0, 0]) {
            self.squares[id.0].resize(len, 0.0);
        }
        let squares = self.squares.get_disjoint_mut(weights.map(|id| id.0));
        let slices = self.slab.get_disjoint_mut(ids.map(|id| self.ranges[id.0].clone()));
        let (slices, squares) =
            (slices.expect("different parameters"), squares.expect("two weights"));
        (slices, written.contains(&true), squares.map(Vec::as_mut_slice))
    }

    /// Lets `add` add to the rows `ids` (in any order) of the gradient of an embedding.
    pub(crate) fn add_to_rows(
        &mut self,
        cpu: &Cpu,
        id: ParameterId,
        ids: &[u32],
        width: usize,
        add: impl FnOnce(&mut [E]),
    ) {
        let written = &mut self.written[id.0];
        if *written == Written::Nothing {
            *written = Written::Rows { rows: Vec::new(), width };
        }
        if let Written::Rows { rows, .. } = written {
            rows.extend_from_slice(ids);
            rows.sort_unstable();
            rows.dedup();
        }
        let gradient = &mut self.slab[self.ranges[id.0].clone()];
        add(gradient);
        let squares = &mut self.squares[id.0];
        if !squares.is_empty() {
            let mut rows = ids.to_vec();
            rows.sort_unstable();
            rows.dedup();
            update::squared_norms_at(cpu, gradient, &rows, squares);
        }
    }

    /// Σ g² of all of parameter `idx`.
    pub(crate) fn squared_norm(&self, cpu: &Cpu, idx: usize) -> f64 {
        let squares = &self.squares[idx];
        if squares.is_empty() {
            let norm = |range| update::squared_norm(cpu, &self.slab[range]);
            self.written_ranges(idx).into_iter().map(norm).sum()
        } else {
            squares.iter().sum()
        }
    }

    pub(crate) fn slab_mut(&mut self) -> &mut [E] {
        &mut self.slab
    }

    /// The range of every parameter in the slabs.
    pub(crate) fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// The ranges of the slab where the gradient of parameter `idx` may differ from zero, rising; neighbouring rows as one.
    pub(crate) fn written_ranges(&self, idx: usize) -> Vec<Range<usize>> {
        let range = &self.ranges[idx];
        match &self.written[idx] {
            Written::Nothing => Vec::new(),
            Written::Everything => vec![range.clone()],
            Written::Rows { rows, width } => rows
                .chunk_by(|a, b| a + 1 == *b)
                .map(|run| {
                    let start = range.start + run[0] as usize * width;
                    start..start + run.len() * width
                })
                .collect(),
        }
    }

    /// Says that the gradient of a parameter is zero again.
    pub(crate) fn forget(&mut self, id: ParameterId) {
        self.written[id.0] = Written::Nothing;
        self.squares[id.0].clear();
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
    use recurra_kernels::Isa;

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
    fn row_gradients_remember_which_rows() {
        let mut parameters = Parameters::<f32>::new();
        let table = parameters.declare("table", &[10, 2]);
        let (_, gradients) = parameters.for_training();
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        gradients.add_to_rows(&cpu, table, &[7, 3, 4, 7], 2, |table| table[14] = 2.0);
        gradients.add_to_rows(&cpu, table, &[0], 2, |_| {});
        assert_eq!(gradients.squared_norm(&cpu, 0), 4.0);
        assert_eq!(gradients.written_ranges(0), [0..2, 6..10, 14..16]);
        gradients.of(table)[5] = 1.0;
        assert_eq!(gradients.written_ranges(0).first(), Some(&(0..20)));
        parameters.clear_gradients();
        assert_eq!(parameters.gradient(table).unwrap(), [0.0; 20]);
        assert!(parameters.gradients.written_ranges(0).is_empty());
    }

    #[test]
    fn squares_follow_what_is_added_and_are_forgotten_by_who_does_not_say_them() {
        let mut parameters = Parameters::<f64>::new();
        let (weight, bias) = (parameters.declare("w", &[5, 2]), parameters.declare("b", &[5]));
        let (_, gradients) = parameters.for_training();
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let layer = gradients.of_layer(weight, bias, 5);
        assert!(!layer.hold);
        layer.d_weight.fill(3.0);
        layer.squares.fill(18.0);
        assert_eq!(gradients.squared_norm(&cpu, 0), 90.0);
        gradients.add_to_rows(&cpu, weight, &[4, 1, 4], 2, |d_weight| {
            d_weight[2..4].fill(1.0);
            d_weight[8..10].fill(0.0);
        });
        assert_eq!(gradients.squared_norm(&cpu, 0), 56.0);
        assert!(gradients.of_layer(weight, bias, 5).hold);
        gradients.of(weight)[0] = 0.0;
        assert_eq!(gradients.squared_norm(&cpu, 0), 47.0);
        parameters.clear_gradients();
        assert_eq!(parameters.gradients.squared_norm(&cpu, 0), 0.0);
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
