//! Dropout of whole words.

use recurra_kernels::{Element, dropout, row_scale};

use super::Op;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct WordDropout<E> {
    x: Var,
    /// One a row: 0 or 1 / keep.
    scales: Vec<E>,
}

impl<E: Element> Tape<'_, E> {
    /// Sets all rows of a word to zero with probability `rate`, wherever it stands in the window, and divides those of the
    /// others by 1 − `rate`: dropout of the embedding's rows (Gal and Ghahramani 2016). On a tape for inference, or with a
    /// rate of zero, the variable itself.
    ///
    /// # Shapes
    /// `x` (N, E), `ids` (N) below `vocab_size` → (N, E).
    ///
    /// # Panics
    /// When `rate` is not in 0..1 or an id not below `vocab_size`.
    #[track_caller]
    pub fn word_dropout(&mut self, x: Var, ids: &[u32], vocab_size: usize, rate: f32) -> Var {
        assert!((0.0..1.0).contains(&rate), "dropout rate {rate} outside of 0..1");
        let Some(mask) = self.next_mask(rate) else { return x };
        let cols = self.workspace.nodes[x.0].cols;
        let mut kept = self.workspace.arena.take(vocab_size); // (V)
        kept.fill(E::ONE);
        dropout::apply(self.cpu, mask, 0, &mut kept);
        let mut scales = self.workspace.arena.take(ids.len()); // (N)
        for (scale, &id) in scales.iter_mut().zip(ids) {
            *scale = kept[id as usize];
        }
        self.workspace.arena.give(kept);
        let mut out = self.workspace.arena.take_copy(self.workspace.nodes[x.0].value());
        row_scale::apply(self.cpu, &scales, &mut out);
        let needs_gradient = self.needs_gradient(x);
        self.push(Op::WordDropout(WordDropout { x, scales }), cols, out, 0, needs_gradient)
    }
}

impl<E: Element> WordDropout<E> {
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) {
        let mut gradient = tape.take_gradient(out);
        row_scale::apply(tape.cpu, &self.scales, &mut gradient);
        tape.add_gradient(self.x, gradient);
        tape.workspace.arena.give(self.scales);
    }

    pub(crate) fn recycle(self, arena: &mut crate::Arena<E>) {
        arena.give(self.scales);
    }
}
