//! A window from its last step to its first.

use recurra_kernels::Element;

use super::Op;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Reversed {
    x: Var,
    window: Window,
}

impl<E: Element> Tape<'_, E> {
    /// (x_T, …, x_1): the steps of every stream in reverse.
    ///
    /// # Shapes
    /// `x` (T·B, C) → (T·B, C).
    ///
    /// # Panics
    /// When there are not T·B rows.
    #[track_caller]
    pub fn reversed(&mut self, x: Var, window: Window) -> Var {
        let (rows, cols) = self.shape(x);
        assert_eq!(rows, window.len(), "x of {rows} rows for a window of {window:?}");
        let mut out = self.workspace.arena.take(rows * cols);
        copy_reversed(self.value(x), window.batch * cols, &mut out);
        let needs_gradient = self.needs_gradient(x);
        self.push(Op::Reversed(Reversed { x, window }), cols, out, 0, needs_gradient)
    }
}

/// Steps of `len` values each.
fn copy_reversed<E: Element>(from: &[E], len: usize, to: &mut [E]) {
    let steps = from.chunks_exact(len.max(1)).rev();
    to.chunks_exact_mut(len.max(1)).zip(steps).for_each(|(to, from)| to.copy_from_slice(from));
}

impl Reversed {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, cols) = tape.shape(out);
        let d_out = tape.take_gradient(out);
        let mut d_x = tape.workspace.arena.take(d_out.len());
        copy_reversed(&d_out, self.window.batch * cols, &mut d_x);
        tape.add_gradient(self.x, d_x);
        tape.workspace.arena.give(d_out);
    }
}
