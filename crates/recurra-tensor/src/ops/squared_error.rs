//! The loss of predicting numbers.

use recurra_kernels::{Element, squared_error};

use super::Op;
use crate::arena::Arena;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct SquaredError<E> {
    prediction: Var,
    /// The finished gradient; handed on by the backward pass.
    d_prediction: Vec<E>,
    pub(crate) mean_square: f64,
}

impl<E: Element> Tape<'_, E> {
    /// The mean over all values of (prediction − target)².
    ///
    /// # Shapes
    /// `prediction` (N, C), `targets` N·C values → a loss.
    #[track_caller]
    pub fn squared_error(&mut self, prediction: Var, targets: &[E]) -> Var {
        let mut d_prediction = self.workspace.arena.take(targets.len());
        let scale = E::from_f64(self.loss_scale());
        let mean_square = squared_error::forward_backward(
            self.value(prediction),
            targets,
            scale,
            &mut d_prediction,
        );
        let op = SquaredError { prediction, d_prediction, mean_square };
        self.push(Op::SquaredError(op), 1, Vec::new(), 0, true)
    }
}

impl<E: Element> SquaredError<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>) -> Self {
        let d_prediction = std::mem::take(&mut self.d_prediction);
        tape.add_gradient(self.prediction, d_prediction);
        self
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.d_prediction);
    }
}
