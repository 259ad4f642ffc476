//! Dropout with masks that are computed, never stored.

use recurra_kernels::Element;
use recurra_kernels::dropout::{self, Mask};

use super::Op;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Dropout {
    x: Var,
    mask: Mask,
    /// Values that the mask covers before it begins again.
    period: usize,
}

impl<E: Element> Tape<'_, E> {
    /// Sets each value to zero with probability `rate` and divides the others by 1 − `rate` (Srivastava et al. 2014);
    /// on a tape for inference, or with a rate of zero, the variable itself.
    ///
    /// # Panics
    /// When `rate` is not in 0..1.
    #[track_caller]
    pub fn dropout(&mut self, x: Var, rate: f32) -> Var {
        let (rows, _) = self.shape(x);
        self.dropout_again(x, rate, rows)
    }

    /// The same with one mask for all time steps of a window: a stream drops the same units at each of them (Gal and
    /// Ghahramani 2016).
    ///
    /// # Shapes
    /// `x` (T·B, H) → (T·B, H); the mask is (B, H).
    ///
    /// # Panics
    /// When `rate` is not in 0..1.
    #[track_caller]
    pub fn locked_dropout(&mut self, x: Var, rate: f32, window: Window) -> Var {
        self.dropout_again(x, rate, window.batch)
    }

    /// Dropout with a mask of some rows, which begins again after them.
    #[track_caller]
    fn dropout_again(&mut self, x: Var, rate: f32, mask_rows: usize) -> Var {
        assert!((0.0..1.0).contains(&rate), "dropout rate {rate} outside of 0..1");
        let Some(mask) = self.next_mask(rate) else { return x };
        let (rows, cols) = self.shape(x);
        let period = (mask_rows * cols).max(1);
        let mut out = self.workspace.arena.take(rows * cols);
        for (from, to) in self.value(x).chunks(period).zip(out.chunks_mut(period)) {
            dropout::apply_to(self.cpu, mask, 0, from, to);
        }
        let needs_gradient = self.needs_gradient(x);
        self.push(Op::Dropout(Dropout { x, mask, period }), cols, out, 0, needs_gradient)
    }
}

impl Dropout {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let mut gradient = tape.take_gradient(out);
        for part in gradient.chunks_mut(self.period) {
            dropout::apply(tape.cpu, self.mask, 0, part);
        }
        tape.add_gradient(self.x, gradient);
    }
}
