//! Rows of a table picked by id.

use recurra_kernels::{Element, embedding};

use super::Op;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Embedding {
    table: ParameterId,
    ids: Vec<u32>,
}

impl<E: Element> Tape<'_, E> {
    /// y_n = table\[id_n\].
    ///
    /// # Shapes
    /// `table` (V, E), `ids` (N) → (N, E).
    ///
    /// # Panics
    /// When an id is not below V.
    #[track_caller]
    pub fn embedding(&mut self, table: ParameterId, ids: &[u32]) -> Var {
        let (_, cols) = self.values.matrix_shape(table);
        let mut out = self.workspace.arena.take(ids.len() * cols); // (N, E)
        embedding::forward(self.cpu, self.values.of(table), ids, &mut out);
        let ids = if self.is_training() { ids.to_vec() } else { Vec::new() };
        self.push(Op::Embedding(Embedding { table, ids }), cols, out, 0, true)
    }
}

impl Embedding {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, cols) = tape.shape(out);
        let d_out = tape.take_gradient(out);
        tape.add_to_rows(self.table, &self.ids, d_out, cols);
    }
}

impl<E: Element> Tape<'_, E> {
    /// Adds the gradients `d` (N, `cols`) to those of the rows `ids` of a table.
    pub(crate) fn add_to_rows(&mut self, table: ParameterId, ids: &[u32], d: Vec<E>, cols: usize) {
        let gradients = self.gradients.as_mut().expect("a training tape");
        gradients.add_to_rows(self.cpu, table, ids, cols, |d_table| {
            embedding::backward(self.cpu, ids, &d, d_table);
        });
        self.workspace.arena.give(d);
    }
}
