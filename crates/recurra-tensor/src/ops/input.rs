//! What a recurrent layer reads: a variable or rows of a table, through dropout.

use recurra_kernels::Element;

use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

/// The input of a recurrent layer. Said in one piece, it is read where it lies: between a table, dropout and a layer in the
/// matrix unit no copy is made.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) dropout: f32,
}

/// Where the rows of an input lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Variable(Var),
    Table { table: ParameterId, ids: &'a [u32] },
}

impl<'a> Input<'a> {
    /// The rows `ids` (N) of a table (V, E).
    pub fn rows(table: ParameterId, ids: &'a [u32]) -> Self {
        Self { source: Source::Table { table, ids }, dropout: 0.0 }
    }

    /// The same through dropout (Srivastava et al. 2014) with probability `rate`.
    ///
    /// # Panics
    /// When `rate` is not in 0..1.
    #[must_use]
    #[track_caller]
    pub fn with_dropout(self, rate: f32) -> Self {
        assert!((0.0..1.0).contains(&rate), "dropout rate {rate} outside of 0..1");
        Self { dropout: rate, ..self }
    }
}

impl Input<'_> {
    /// The input as a variable before its dropout, and the rate of that.
    pub(crate) fn undropped<E: Element>(self, tape: &mut Tape<'_, E>) -> (Var, f32) {
        match self.source {
            Source::Variable(x) => (x, self.dropout),
            Source::Table { table, ids } => (tape.embedding(table, ids), self.dropout),
        }
    }
}

impl From<Var> for Input<'_> {
    fn from(x: Var) -> Self {
        Self { source: Source::Variable(x), dropout: 0.0 }
    }
}

impl<E: Element> Tape<'_, E> {
    /// The input as a variable, for operations that read nothing else.
    ///
    /// # Panics
    /// When an id has no row.
    #[track_caller]
    pub fn read(&mut self, input: Input<'_>) -> Var {
        let (x, rate) = input.undropped(self);
        self.dropout(x, rate)
    }

    /// How many rows an input has.
    pub(crate) fn rows_of(&self, input: &Input<'_>) -> usize {
        match input.source {
            Source::Variable(x) => self.shape(x).0,
            Source::Table { ids, .. } => ids.len(),
        }
    }
}
