//! A recurrent layer in the matrix unit, products included: what every cell's operation becomes where there is one.

use recurra_kernels::Element;
use recurra_kernels::dropout::Mask;
use recurra_kernels::layer::{
    self, CellKind, Direction, InputGradient, LayerGradients, LayerShape,
};

use super::Op;
use super::input::{Input, Source};
use super::sweep::{RecurrentWeights, carry};
use crate::arena::Arena;
use crate::gradients::Writing;
use crate::packed::Wanted;
use crate::parameters::{ParameterId, Values};
use crate::tape::{Node, Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Layer<E> {
    cell: CellKind,
    shape: LayerShape,
    x: Rows,
    mask: Option<Mask>,
    weights: RecurrentWeights,
    /// What was dropped of W_hh.
    weight_mask: Option<Mask>,
    /// What the products do not see of h.
    state_mask: Option<Mask>,
    /// What the kernel keeps of the sequence.
    kept: Vec<E>,
}

/// Where the rows of x lie, for the way back.
#[derive(Debug)]
enum Rows {
    Variable(Var),
    Table { table: ParameterId, ids: Vec<u32> },
}

impl Rows {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Variable(x) => Source::Variable(*x),
            Self::Table { table, ids } => Source::Table { table: *table, ids },
        }
    }
}

impl<'a> Source<'a> {
    /// What the kernel reads.
    fn through<E: Element>(
        self,
        nodes: &'a [Node<E>],
        values: &'a Values<E>,
        mask: Option<Mask>,
    ) -> layer::Input<'a> {
        let (values, ids) = match self {
            Self::Variable(x) => (nodes[x.0].value(), None),
            Self::Table { table, ids } => (values.of(table), Some(ids)),
        };
        layer::Input { values: as_f32(values), ids, mask }
    }
}

impl From<Source<'_>> for Rows {
    fn from(source: Source<'_>) -> Self {
        match source {
            Source::Variable(x) => Self::Variable(x),
            Source::Table { table, ids } => Self::Table { table, ids: ids.to_vec() },
        }
    }
}

impl<E: Element> Tape<'_, E> {
    /// The layer as one operation, where the numbers and the machine are made for it. Starts from the state h (B, H) and,
    /// for an LSTM, c, and leaves the last ones there. A training tape drops h before the products with it, for a whole window
    /// the same.
    pub(crate) fn layer(
        &mut self,
        cell: CellKind,
        x: &Input<'_>,
        weights: RecurrentWeights,
        window: Window,
        state: &mut [&mut [E]],
        state_dropout: f32,
    ) -> Option<Var> {
        if !layer::is_available(self.cpu) || E::as_f32(&[]).is_none() {
            return None;
        }
        let (h_carried, memory) = state.split_first_mut().expect("a state with h");
        let (_, inputs) = self.values.matrix_shape(weights.weight_ih);
        let (_, hidden) = self.values.matrix_shape(weights.weight_hh);
        let Window { time, batch } = window;
        let shape = LayerShape { time, batch, inputs, hidden };
        let mask = self.next_mask(x.dropout);
        let weight_mask = self.next_mask(weights.dropout);
        let state_mask = self.next_mask(state_dropout);
        let mut h = self.states_from(window, h_carried); // (T + 1, B, H)
        let mut kept = self.workspace.arena.take(layer::kept_len(cell, shape));
        layer::forward(
            self.cpu,
            cell,
            shape,
            self.layers.laid_out(
                &mut self.workspace.packed.layers,
                self.cpu,
                self.values,
                Wanted {
                    cell,
                    direction: Direction::Forward,
                    weights: &weights,
                    mask: weight_mask,
                },
            ),
            [weights.bias_ih, weights.bias_hh].map(|bias| as_f32(self.values.of(bias))),
            x.source.through(&self.workspace.nodes, self.values, mask),
            as_f32_mut(&mut h),
            memory.first_mut().map(|c| as_f32_mut(c)),
            state_mask,
            as_f32_mut(&mut kept),
        );
        carry(&h, h_carried);
        let op = if self.is_training() {
            let x = x.source.into();
            Op::Layer(Layer { cell, shape, x, mask, weights, weight_mask, state_mask, kept })
        } else {
            self.workspace.arena.give(kept);
            Op::Constant
        };
        Some(self.push(op, hidden, h, batch * hidden, true))
    }
}

impl<E: Element> Layer<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { cell, shape, x, mask, weights, weight_mask, state_mask, .. } = self;
        let mut d_h = tape.take_gradient(out);
        let (wants, mut sum) = match x {
            Rows::Variable(x) => {
                (tape.needs_gradient(x), tape.workspace.nodes[x.0].gradient.take())
            }
            Rows::Table { .. } => (true, None),
        };
        // Without a sum to add to, d_x takes the place of d_h where it has its size.
        let is_apart = wants && sum.is_none() && shape.inputs != shape.hidden;
        let len = shape.time * shape.batch * shape.inputs;
        let mut new = is_apart.then(|| tape.workspace.arena.take(len));
        let d_x = match (&mut sum, &mut new) {
            _ if !wants => InputGradient::Nowhere,
            (Some(sum), _) => InputGradient::AddedTo(as_f32_mut(sum)),
            (None, Some(new)) => InputGradient::To(as_f32_mut(new)),
            (None, None) => InputGradient::InPlace,
        };
        let bias_len = tape.values.of(weights.bias_ih).len();
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = weights;
        let aside = tape.set_gradient_aside(weight_hh, weight_mask);
        let gradients = tape.gradients.as_mut().expect("a training tape");
        let Writing { gradients, adds, squares: [of_ih, of_hh, ..] } = gradients.written_by([
            (weight_ih, bias_len),
            (weight_hh, bias_len),
            (bias_ih, 0),
            (bias_hh, 0),
        ]);
        let [weight_ih, weight_hh, bias_ih, bias_hh] = gradients.map(as_f32_mut);
        let squares = [of_ih, of_hh];
        layer::backward(
            tape.cpu,
            cell,
            shape,
            tape.layers.laid_out(
                &mut tape.workspace.packed.layers,
                tape.cpu,
                tape.values,
                Wanted {
                    cell,
                    direction: Direction::Backward,
                    weights: &weights,
                    mask: weight_mask,
                },
            ),
            as_f32_mut(&mut self.kept),
            x.source().through(&tape.workspace.nodes, tape.values, mask),
            as_f32(&tape.workspace.nodes[out.0].buffer),
            state_mask,
            as_f32_mut(&mut d_h),
            d_x,
            LayerGradients { weight_ih, weight_hh, bias_ih, bias_hh, adds, squares },
        );
        tape.forget_dropped(weights.weight_hh, weight_mask, aside);
        if wants {
            let d_x = sum.or(new).unwrap_or_else(|| std::mem::take(&mut d_h));
            match x {
                Rows::Variable(x) => tape.put_gradient(x, d_x),
                Rows::Table { table, ids } => tape.add_to_rows(table, &ids, d_x, shape.inputs),
            }
        }
        tape.give_all([d_h, self.kept]);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.kept);
    }
}

fn as_f32<E: Element>(values: &[E]) -> &[f32] {
    E::as_f32(values).expect("layers in the matrix unit are `f32`")
}

fn as_f32_mut<E: Element>(values: &mut [E]) -> &mut [f32] {
    E::as_f32_mut(values).expect("layers in the matrix unit are `f32`")
}
