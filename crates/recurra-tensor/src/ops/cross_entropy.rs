//! Output layer, softmax and cross-entropy as one operation, so that the logits never exist as a whole.

use recurra_kernels::Element;
use recurra_kernels::cross_entropy::{self, Arguments, Gradients};

use super::Op;
use crate::arena::Arena;
use crate::gradients::Writing;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct CrossEntropy<E> {
    hidden: Var,
    /// The finished gradient; handed on by the backward pass.
    d_hidden: Vec<E>,
    pub(crate) mean_nats: f64,
}

impl<E: Element> Tape<'_, E> {
    /// The mean over rows of −ln softmax(W·h_n + b)\[target_n\], in nats.
    ///
    /// On a training tape the gradients of `weight` and `bias` are added at once, while the logits of a block are at hand.
    ///
    /// # Shapes
    /// `hidden` (N, H), `weight` (V, H), `bias` (V), `targets` (N) → a loss.
    #[track_caller]
    pub fn cross_entropy(
        &mut self,
        hidden: Var,
        weight: ParameterId,
        bias: ParameterId,
        targets: &[u32],
    ) -> Var {
        let (mean_nats, d_hidden) = if self.gradients.is_some() {
            self.nats_and_gradients(hidden, weight, bias, targets)
        } else {
            (mean(row_nats(self, hidden, weight, bias, targets)), Vec::new())
        };
        self.push(
            Op::CrossEntropy(CrossEntropy { hidden, d_hidden, mean_nats }),
            1,
            Vec::new(),
            0,
            true,
        )
    }

    fn nats_and_gradients(
        &mut self,
        hidden: Var,
        weight: ParameterId,
        bias: ParameterId,
        targets: &[u32],
    ) -> (f64, Vec<E>) {
        let scale = E::from_f64(self.loss_scale() / targets.len() as f64);
        let mut d_hidden = self.workspace.arena.take(self.value(hidden).len()); // (N, H)
        let node = &self.workspace.nodes[hidden.0];
        let arguments = Arguments {
            hidden: &node.buffer[node.start..],
            weight: self.values.of(weight),
            bias: self.values.of(bias),
            targets,
        };
        let gradients = self.gradients.as_mut().expect("a training tape");
        let Writing { gradients: [d_weight, d_bias], adds, squares: [squares, _] } =
            gradients.written_by([(weight, arguments.bias.len()), (bias, 0)]);
        let nats = &mut self.workspace.row_nats;
        nats.resize(targets.len(), 0.0);
        let gradients =
            Gradients { scale, d_hidden: &mut d_hidden, d_weight, d_bias, adds, squares };
        cross_entropy::forward_backward(self.cpu, arguments, nats, gradients);
        (mean(nats), d_hidden)
    }
}

/// −ln p of every target.
pub(crate) fn row_nats<'t, E: Element>(
    tape: &'t mut Tape<'_, E>,
    hidden: Var,
    weight: ParameterId,
    bias: ParameterId,
    targets: &[u32],
) -> &'t [f64] {
    let node = &tape.workspace.nodes[hidden.0];
    let arguments = Arguments {
        hidden: &node.buffer[node.start..],
        weight: tape.values.of(weight),
        bias: tape.values.of(bias),
        targets,
    };
    let nats = &mut tape.workspace.row_nats;
    nats.resize(targets.len(), 0.0);
    cross_entropy::forward(tape.cpu, arguments, nats);
    nats
}

fn mean(nats: &[f64]) -> f64 {
    nats.iter().sum::<f64>() / nats.len() as f64
}

impl<E: Element> CrossEntropy<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>) -> Self {
        let d_hidden = std::mem::take(&mut self.d_hidden);
        tape.add_gradient(self.hidden, d_hidden);
        self
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        arena.give(self.d_hidden);
    }
}
