//! The gradients of all parameters: where they were written, and the squares that the norm wants.

use std::ops::Range;

use recurra_kernels::{Cpu, Element, prefer_large_pages, update};

use crate::parameters::ParameterId;

/// The part that a backward pass writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradients<E> {
    slab: Vec<E>,
    ranges: Vec<Range<usize>>,
    written: Vec<Written>,
    /// Σ g² of each row of a parameter, where whoever wrote its gradient said so; else empty.
    squares: Vec<Vec<f64>>,
}

/// The whole gradients of some parameters, for one who knows the squares of what he writes.
#[derive(Debug)]
pub(crate) struct Writing<'a, E, const N: usize> {
    pub gradients: [&'a mut [E]; N],
    /// Whether some of them hold a part that is added to; else they are zero.
    pub adds: bool,
    /// Σ g² of each row, which whoever writes is to say.
    pub squares: [&'a mut [f64]; N],
}

/// Where a gradient may differ from zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Written {
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

impl<E: Element> Gradients<E> {
    /// Makes a place for one more parameter, which lies there in the slabs.
    pub(crate) fn declare(&mut self, range: Range<usize>) {
        self.ranges.push(range);
        self.written.push(Written::Nothing);
        self.squares.push(Vec::new());
    }

    /// Makes the slab at least so long.
    pub(crate) fn allocate(&mut self, len: usize) {
        if self.slab.len() < len {
            self.slab.reserve_exact(len - self.slab.len());
            prefer_large_pages(self.slab.spare_capacity_mut());
            self.slab.resize(len, E::ZERO);
        }
    }

    /// The whole gradient of a parameter; `None` before there are any.
    pub(crate) fn get(&self, id: ParameterId) -> Option<&[E]> {
        self.slab.get(self.ranges[id.index()].clone())
    }

    /// The whole gradient of a parameter, to be added to.
    pub(crate) fn of(&mut self, id: ParameterId) -> &mut [E] {
        self.written[id.index()] = Written::Everything;
        self.squares[id.index()].clear();
        &mut self.slab[self.ranges[id.index()].clone()]
    }

    /// The whole gradients of some parameters, written by one who says the squares of so many rows of each: of all, or of none.
    #[track_caller]
    pub(crate) fn written_by<const N: usize>(
        &mut self,
        parameters: [(ParameterId, usize); N],
    ) -> Writing<'_, E, N> {
        let mut adds = false;
        for (id, n_rows) in parameters {
            let before = std::mem::replace(&mut self.written[id.index()], Written::Everything);
            adds |= before != Written::Nothing;
            self.squares[id.index()].resize(n_rows, 0.0);
        }
        let ranges = parameters.map(|(id, _)| self.ranges[id.index()].clone());
        let gradients = self.slab.get_disjoint_mut(ranges).expect("different parameters");
        let squares = self.squares.get_disjoint_mut(parameters.map(|(id, _)| id.index()));
        let squares = squares.expect("different parameters").map(Vec::as_mut_slice);
        Writing { gradients, adds, squares }
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
        let written = &mut self.written[id.index()];
        if *written == Written::Nothing {
            *written = Written::Rows { rows: Vec::new(), width };
        }
        if let Written::Rows { rows, .. } = written {
            rows.extend_from_slice(ids);
            rows.sort_unstable();
            rows.dedup();
        }
        let gradient = &mut self.slab[self.ranges[id.index()].clone()];
        add(gradient);
        let squares = &mut self.squares[id.index()];
        if !squares.is_empty() {
            let mut rows = ids.to_vec();
            rows.sort_unstable();
            rows.dedup();
            update::squared_norms_at(cpu, gradient, &rows, squares);
        }
    }

    /// Whether something was written to the gradient of a parameter.
    pub(crate) fn is_written(&self, id: ParameterId) -> bool {
        self.written[id.index()] != Written::Nothing
    }

    /// Σ g² of a parameter.
    pub(crate) fn squared_norm(&self, cpu: &Cpu, id: ParameterId) -> f64 {
        let squares = &self.squares[id.index()];
        if squares.is_empty() {
            let norm = |range| update::squared_norm(cpu, &self.slab[range]);
            self.written_ranges(id).into_iter().map(norm).sum()
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

    /// The ranges of the slab where the gradient of a parameter may differ from zero, rising; neighbouring rows as one.
    pub(crate) fn written_ranges(&self, id: ParameterId) -> Vec<Range<usize>> {
        let range = &self.ranges[id.index()];
        match &self.written[id.index()] {
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
        self.written[id.index()] = Written::Nothing;
        self.squares[id.index()].clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use recurra_kernels::Isa;

    #[test]
    fn row_gradients_remember_which_rows() {
        let mut parameters = Parameters::<f32>::new();
        let table = parameters.declare("table", &[10, 2]);
        let (_, gradients, _) = parameters.for_training();
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        gradients.add_to_rows(&cpu, table, &[7, 3, 4, 7], 2, |table| table[14] = 2.0);
        gradients.add_to_rows(&cpu, table, &[0], 2, |_| {});
        assert_eq!(gradients.squared_norm(&cpu, table), 4.0);
        assert_eq!(gradients.written_ranges(table), [0..2, 6..10, 14..16]);
        gradients.of(table)[5] = 1.0;
        assert_eq!(gradients.written_ranges(table).first(), Some(&(0..20)));
        parameters.clear_gradients();
        assert_eq!(parameters.gradient(table).unwrap(), [0.0; 20]);
        assert!(parameters.gradients.written_ranges(table).is_empty());
    }

    #[test]
    fn squares_follow_what_is_added_and_are_forgotten_by_who_does_not_say_them() {
        let mut parameters = Parameters::<f64>::new();
        let (weight, bias) = (parameters.declare("w", &[5, 2]), parameters.declare("b", &[5]));
        let (_, gradients, _) = parameters.for_training();
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let Writing { gradients: [d_weight, _], adds, squares: [squares, of_bias] } =
            gradients.written_by([(weight, 5), (bias, 0)]);
        assert!(!adds && of_bias.is_empty());
        d_weight.fill(3.0);
        squares.fill(18.0);
        assert_eq!(gradients.squared_norm(&cpu, weight), 90.0);
        gradients.add_to_rows(&cpu, weight, &[4, 1, 4], 2, |d_weight| {
            d_weight[2..4].fill(1.0);
            d_weight[8..10].fill(0.0);
        });
        assert_eq!(gradients.squared_norm(&cpu, weight), 56.0);
        assert!(gradients.written_by([(weight, 5), (bias, 0)]).adds);
        gradients.of(weight)[0] = 0.0;
        assert_eq!(gradients.squared_norm(&cpu, weight), 47.0);
        parameters.clear_gradients();
        assert_eq!(parameters.gradients.squared_norm(&cpu, weight), 0.0);
    }
}
