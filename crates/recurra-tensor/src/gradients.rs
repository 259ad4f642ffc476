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
    /// Whether some of them hold a part that is added to; else those whose squares are said are to be overwritten, and the
    /// others are zero.
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
    /// Everywhere, and an update has followed it: as good as zero for whoever overwrites it.
    Followed,
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

    /// The whole gradient of a parameter; `None` where there is none yet, or none since an update.
    pub(crate) fn get(&self, id: ParameterId) -> Option<&[E]> {
        if self.written[id.index()] == Written::Followed {
            return None;
        }
        self.slab.get(self.ranges[id.index()].clone())
    }

    /// The whole gradient of a parameter, to be added to.
    pub(crate) fn of(&mut self, id: ParameterId) -> &mut [E] {
        self.settle(id);
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
        for (id, _) in parameters {
            adds |= !matches!(self.written[id.index()], Written::Nothing | Written::Followed);
        }
        for (id, n_rows) in parameters {
            // Where nobody says squares, not everybody overwrites.
            if adds || n_rows == 0 {
                self.settle(id);
            }
            self.written[id.index()] = Written::Everything;
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
        self.settle(id);
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
            Written::Nothing | Written::Followed => Vec::new(),
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

    /// Makes a gradient that an update has followed zero.
    pub(crate) fn settle(&mut self, id: ParameterId) {
        if self.written[id.index()] == Written::Followed {
            self.slab[self.ranges[id.index()].clone()].fill(E::ZERO);
            self.written[id.index()] = Written::Nothing;
        }
    }

    /// Whether an update has to leave zeros: it need not where whoever wrote the gradient knew its squares, because he overwrites
    /// what he finds.
    pub(crate) fn clears(&self, id: ParameterId) -> bool {
        self.squares[id.index()].is_empty()
    }

    /// Says that an update has followed the gradient of a parameter, and cleared it where it had to.
    pub(crate) fn follow(&mut self, id: ParameterId) {
        let clears = self.clears(id);
        self.written[id.index()] = if clears { Written::Nothing } else { Written::Followed };
        self.squares[id.index()].clear();
    }

    /// Makes the gradient of a parameter zero, touching only what was written.
    pub(crate) fn clear(&mut self, id: ParameterId) {
        self.settle(id);
        for range in self.written_ranges(id) {
            self.slab[range].fill(E::ZERO);
        }
        self.written[id.index()] = Written::Nothing;
        self.squares[id.index()].clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Optimizer, Parameters};
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
    fn a_gradient_that_an_update_has_followed_is_zero_for_all_but_who_overwrites_it() {
        let mut parameters = Parameters::<f64>::new();
        let (weight, bias) = (parameters.declare("w", &[5, 2]), parameters.declare("b", &[5]));
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let mut write = |then: &dyn Fn(&mut Gradients<f64>)| {
            let (_, gradients, _) = parameters.for_training();
            let Writing { gradients: [d_weight, d_bias], adds, squares: [squares, _] } =
                gradients.written_by([(weight, 5), (bias, 0)]);
            assert!(!adds);
            assert_eq!(d_bias, [0.0; 5]);
            d_weight.fill(3.0);
            d_bias.fill(1.0);
            squares.fill(18.0);
            Optimizer::SGD.step(&cpu, &mut parameters, 1, 0.0, None);
            assert_eq!(
                (parameters.gradient(weight), parameters.gradient(bias)),
                (None, Some(&[0.0; 5][..]))
            );
            then(&mut parameters.gradients);
            parameters.clear_gradients();
            assert_eq!(parameters.gradient(weight), Some(&[0.0; 10][..]));
        };
        write(&|_| ());
        write(&|gradients| assert_eq!(gradients.of(weight), [0.0; 10]));
        write(&|gradients| {
            gradients
                .add_to_rows(&cpu, weight, &[2], 2, |d_weight| assert_eq!(d_weight, [0.0; 10]));
            assert_eq!(gradients.written_ranges(weight).first(), Some(&(4..6)));
        });
        write(&|gradients| {
            gradients.of(bias)[1] = 1.0;
            let Writing { gradients: [d_weight, _], adds, .. } =
                gradients.written_by([(weight, 5), (bias, 0)]);
            assert!(adds);
            assert_eq!(d_weight, [0.0; 10]);
        });
        write(&|_| ());
        // A weight that no batch used moves by its momentum alone.
        let mut parameters = parameters.clone();
        let (_, gradients, _) = parameters.for_training();
        let writing = gradients.written_by([(weight, 5)]);
        writing.gradients[0].fill(2.0);
        writing.squares[0].fill(8.0);
        let optimizer = Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 };
        optimizer.step(&cpu, &mut parameters, 1, 1.0, None);
        optimizer.step(&cpu, &mut parameters, 2, 1.0, None);
        assert_eq!(parameters.value(weight), [-3.0; 10]);
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
