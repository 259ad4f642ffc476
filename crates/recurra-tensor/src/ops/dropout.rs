//! Dropout with masks that are computed, never stored.

use recurra_kernels::Element;
use recurra_kernels::dropout::{self, Mask};

use super::Op;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Dropout {
    x: Var,
    mask: Mask,
}

impl<E: Element> Tape<'_, E> {
    /// Sets each value to zero with probability `rate` and divides the others by 1 − `rate` (Srivastava et al. 2014);
    /// on a tape for inference, or with a rate of zero, the variable itself.
    ///
    /// # Panics
    /// When `rate` is not in 0..1.
    #[track_caller]
    pub fn dropout(&mut self, x: Var, rate: f32) -> Var {
        assert!((0.0..1.0).contains(&rate), "dropout rate {rate} outside of 0..1");
        let Some(mask) = self.next_mask(rate) else { return x };
        let (rows, cols) = self.shape(x);
        let mut out = self.workspace.arena.take(rows * cols);
        dropout::apply_to(self.cpu, mask, 0, self.value(x), &mut out);
        let needs_gradient = self.needs_gradient(x);
        self.push(Op::Dropout(Dropout { x, mask }), cols, out, 0, needs_gradient)
    }
}

impl Dropout {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let mut gradient = tape.take_gradient(out);
        dropout::apply(tape.cpu, self.mask, 0, &mut gradient);
        tape.add_gradient(self.x, gradient);
    }
}
