//! Output layer, softmax and cross-entropy as one operation, so that the logits never exist as a whole.

use recurra_kernels::Element;
use recurra_kernels::cross_entropy::{self, Arguments, Gradients};
use recurra_kernels::dropout::{self, Mask};

use super::Op;
use super::input::Input;
use crate::arena::Arena;
use crate::gradients::Writing;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

/// Rows of a masked copy: more would be another tensor beside the states, fewer another pass over W each.
const MASKED_ROWS: usize = 2048;

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
    /// `hidden` (N, H), as it lies or through dropout, `weight` (V, H), `bias` (V), `targets` (N) → a loss.
    #[track_caller]
    pub fn cross_entropy<'x>(
        &mut self,
        hidden: impl Into<Input<'x>>,
        weight: ParameterId,
        bias: ParameterId,
        targets: &[u32],
    ) -> Var {
        let (hidden, rate) = hidden.into().undropped(self);
        let (mean_nats, d_hidden) = if self.gradients.is_some() {
            let mask = self.next_mask(rate);
            self.nats_and_gradients(hidden, mask, weight, bias, targets)
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

    /// The mean of the nats, and the gradient of `hidden` before its mask.
    fn nats_and_gradients(
        &mut self,
        hidden: Var,
        mask: Option<Mask>,
        weight: ParameterId,
        bias: ParameterId,
        targets: &[u32],
    ) -> (f64, Vec<E>) {
        let scale = E::from_f64(self.loss_scale() / targets.len() as f64);
        let (n_rows, width) = self.shape(hidden);
        assert_eq!(targets.len(), n_rows, "targets of {n_rows} rows");
        // Through dropout some rows at a time, so that there is no copy of all of them.
        let by = if mask.is_some() { MASKED_ROWS } else { n_rows.max(1) };
        let copied = if mask.is_some() { by.min(n_rows) * width } else { 0 };
        let mut copy = self.workspace.arena.take(copied);
        let mut d_hidden = self.workspace.arena.take(n_rows * width); // (N, H)
        let all = self.workspace.nodes[hidden.0].value();
        let (weight_value, bias_value) = (self.values.of(weight), self.values.of(bias));
        let gradients = self.gradients.as_mut().expect("a training tape");
        let Writing { gradients: [d_weight, d_bias], adds, squares: [squares, _] } =
            gradients.written_by([(weight, bias_value.len()), (bias, 0)]);
        let nats = &mut self.workspace.row_nats;
        nats.resize(targets.len(), 0.0);
        for start in (0..n_rows.max(1)).step_by(by) {
            let rows = start..n_rows.min(start + by);
            let values = rows.start * width..rows.end * width;
            let (hidden, first) = (&all[values.clone()], values.start);
            let hidden = match mask {
                None => hidden,
                Some(mask) => {
                    let copy = &mut copy[..hidden.len()];
                    dropout::apply_to(self.cpu, mask, first, hidden, copy);
                    copy
                }
            };
            let targets = &targets[rows.clone()];
            let arguments = Arguments { hidden, weight: weight_value, bias: bias_value, targets };
            let d_hidden = &mut d_hidden[values];
            let gradients = Gradients {
                scale,
                d_hidden: &mut *d_hidden,
                d_weight: &mut *d_weight,
                d_bias: &mut *d_bias,
                adds: adds || start > 0,
                squares: &mut *squares,
            };
            cross_entropy::forward_backward(self.cpu, arguments, &mut nats[rows], gradients);
            if let Some(mask) = mask {
                dropout::apply(self.cpu, mask, first, d_hidden);
            }
        }
        let mean = mean(nats);
        self.workspace.arena.give(copy);
        (mean, d_hidden)
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
    let arguments = Arguments {
        hidden: tape.workspace.nodes[hidden.0].value(),
        weight: tape.values.of(weight),
        bias: tape.values.of(bias),
        targets,
    };
    let nats = &mut tape.workspace.row_nats;
    nats.resize(targets.len(), 0.0);
    cross_entropy::forward(tape.cpu, arguments, nats);
    nats
}

/// −ln p of every target where logits are divided by `temperature`: W·(h/T) + b/T.
pub(crate) fn tempered_row_nats<'t, E: Element>(
    tape: &'t mut Tape<'_, E>,
    hidden: Var,
    weight: ParameterId,
    bias: ParameterId,
    targets: &[u32],
    temperature: f64,
) -> &'t [f64] {
    let scale = E::from_f64(1.0 / temperature);
    let workspace = &mut *tape.workspace;
    let hidden = workspace.nodes[hidden.0].value();
    let [hidden, bias] = [hidden, tape.values.of(bias)].map(|values| {
        let mut scaled = workspace.arena.take_copy(values);
        scaled.iter_mut().for_each(|x| *x *= scale);
        scaled
    });
    let arguments =
        Arguments { hidden: &hidden, weight: tape.values.of(weight), bias: &bias, targets };
    workspace.row_nats.resize(targets.len(), 0.0);
    cross_entropy::forward(tape.cpu, arguments, &mut workspace.row_nats);
    [hidden, bias].into_iter().for_each(|scaled| workspace.arena.give(scaled));
    &workspace.row_nats
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Isa, Parameters, Random, Workspace};

    #[test]
    fn a_temperature_divides_the_logits() {
        let (n_rows, width, vocab) = (9, 5, 7);
        let cpu = Cpu::with_isa(Isa::Plain, 2);
        let mut parameters = Parameters::<f64>::new();
        let shapes: [(&str, &[usize]); 2] = [("weight", &[vocab, width]), ("bias", &[vocab])];
        let [weight, bias] = shapes.map(|(name, shape)| parameters.declare(name, shape));
        let mut random = Random::new(2, 0);
        for id in [weight, bias] {
            random.fill_uniform(parameters.value_mut(id), 2.0);
        }
        let mut rows = vec![0.0; n_rows * width];
        random.fill_uniform(&mut rows, 1.0);
        let targets: Vec<u32> = (0..n_rows).map(|n| (n * n % vocab) as u32).collect();
        let mut workspace = Workspace::new();
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let hidden = tape.constant(&rows, width);
        let logits = tape.linear(hidden, weight, Some(bias));
        let logits = tape.value(logits).to_vec();
        for temperature in [1.0, 0.8, 1.3] {
            let found = tape.row_nats(hidden, weight, bias, &targets, temperature);
            for (n, (&found, &target)) in found.iter().zip(&targets).enumerate() {
                let logits = logits[n * vocab..][..vocab].iter().map(|x| x / temperature);
                let sum: f64 = logits.clone().map(f64::exp).sum();
                let expected = sum.ln() - logits.clone().nth(target as usize).unwrap();
                assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn dropout_some_rows_at_a_time_is_that_of_a_whole_copy() {
        let (n_rows, width, vocab) = (MASKED_ROWS + 3, 5, 7);
        let cpu = Cpu::with_isa(Isa::Plain, 2);
        let ids: Vec<u32> = (0..n_rows).map(|n| (n % 11) as u32).collect();
        let targets: Vec<u32> = (0..n_rows).map(|n| (n * n % vocab) as u32).collect();
        let solve = |is_whole: bool| {
            let mut parameters = Parameters::<f64>::new();
            let shapes: [(&str, &[usize]); 3] =
                [("table", &[11, width]), ("weight", &[vocab, width]), ("bias", &[vocab])];
            let all = shapes.map(|(name, shape)| parameters.declare(name, shape));
            let mut random = Random::new(1, 0);
            for id in all {
                random.fill_uniform(parameters.value_mut(id), 1.0);
            }
            let [table, weight, bias] = all;
            let mut workspace = Workspace::new();
            let mut tape = Tape::training(&cpu, &mut parameters, &mut workspace, 9);
            let hidden = tape.embedding(table, &ids);
            let mut input = Input::from(hidden).with_dropout(0.3);
            if is_whole {
                input = tape.read(input).into();
            }
            let loss = tape.cross_entropy(input, weight, bias, &targets);
            let nats = tape.loss(loss);
            tape.backward(loss);
            (nats, all.map(|id| parameters.gradient(id).expect("each is learned").to_vec()))
        };
        let (nats, gradients) = solve(false);
        let (expected_nats, expected) = solve(true);
        assert_eq!(nats, expected_nats);
        for (found, expected) in gradients.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }
}
