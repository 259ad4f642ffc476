//! An mLSTM over a whole sequence.

use recurra_kernels::Element;
use recurra_kernels::mlstm::{self, Gradients, Inputs, Shape};

use super::Op;
use crate::arena::Arena;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Mlstm<E> {
    /// q, k, v, gates.
    inputs: [Var; 4],
    shape: Shape,
    kept: Vec<E>,
}

impl<E: Element> Tape<'_, E> {
    /// An mLSTM (Beck et al. 2024, "xLSTM"): see [`recurra_kernels::mlstm`] for its equations.
    ///
    /// Starts from the state `[C, n, m]` and leaves the last one there, cut off from its history.
    ///
    /// # Shapes
    /// `inputs`: q, k, v (T·B, A·d) and the gates ĩ, f̃ (T·B, 2·A); `state`: C (B, A·d·d), n (B, A·d), m (B, A) →
    /// (T·B, A·d).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn mlstm(&mut self, inputs: [Var; 4], window: Window, state: [&mut [E]; 3]) -> Var {
        let (rows, cols) = self.shape(inputs[0]);
        let heads = self.shape(inputs[3]).1 / 2;
        let Window { time, batch } = window;
        assert_eq!(rows, window.len(), "q of {rows} rows for a window of {window:?}");
        let shape = Shape { time, batch, heads, units: cols / heads };
        let mut h = self.workspace.arena.take(rows * cols);
        let mut kept = self.is_training().then(|| self.workspace.arena.take(shape.kept()));
        let values = self.mlstm_inputs(inputs);
        mlstm::forward(self.cpu, shape, values, state, &mut h, kept.as_deref_mut());
        let op = kept.map_or(Op::Constant, |kept| Op::Mlstm(Mlstm { inputs, shape, kept }));
        let needs_gradient = inputs.into_iter().any(|input| self.needs_gradient(input));
        self.push(op, cols, h, 0, needs_gradient)
    }

    fn mlstm_inputs(&self, inputs: [Var; 4]) -> Inputs<'_, E> {
        let [q, k, v, gates] = inputs.map(|input| self.value(input));
        Inputs { q, k, v, gates }
    }
}

impl<E: Element> Mlstm<E> {
    pub(crate) fn backward(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { inputs, shape, kept } = self;
        let d_h = tape.take_gradient(out);
        let lens = inputs.map(|input| tape.value(input).len());
        let mut gradients = lens.map(|len| tape.workspace.arena.take(len));
        let [d_q, d_k, d_v, d_gates] = gradients.each_mut().map(Vec::as_mut_slice);
        let places = Gradients { d_q, d_k, d_v, d_gates };
        let values = tape.mlstm_inputs(inputs);
        mlstm::backward(tape.cpu, shape, values, &kept, tape.value(out), &d_h, places);
        for (input, gradient) in inputs.into_iter().zip(gradients) {
            if tape.needs_gradient(input) {
                tape.add_gradient(input, gradient);
            } else {
                tape.workspace.arena.give(gradient);
            }
        }
        tape.give_all([d_h, kept]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.kept);
    }
}
