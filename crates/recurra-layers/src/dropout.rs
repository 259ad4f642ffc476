//! Dropout on a link between layers.

use recurra_tensor::{Element, Input, Tape, Var, Window};

/// Dropout (Srivastava et al. 2014), with one mask for a whole window where it is locked (Gal and Ghahramani 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// The share that is dropped, in 0..1.
    pub rate: f32,
    /// Whether a stream keeps its mask for a whole window.
    pub is_locked: bool,
}

impl Dropout {
    /// Of what was computed.
    ///
    /// # Shapes
    /// `x` (T·B, H) → (T·B, H).
    pub(crate) fn forward<E: Element>(self, tape: &mut Tape<'_, E>, x: Var, window: Window) -> Var {
        match self.is_locked {
            true => tape.locked_dropout(x, self.rate, window),
            false => tape.dropout(x, self.rate),
        }
    }

    /// Of what is going to be read: where it lies, unless the mask is kept.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    pub(crate) fn of_input<'x, E: Element>(
        self,
        tape: &mut Tape<'_, E>,
        x: Input<'x>,
        window: Window,
    ) -> Input<'x> {
        if self.is_locked && self.rate > 0.0 && tape.is_training() {
            let x = tape.read(x);
            self.forward(tape, x, window).into()
        } else {
            x.with_dropout(self.rate)
        }
    }
}
