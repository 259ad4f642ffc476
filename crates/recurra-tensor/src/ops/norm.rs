//! Normalised rows.

use recurra_kernels::Element;
use recurra_kernels::norm::{self, Affine};

use super::Op;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Norm {
    x: Var,
    norm: norm::Norm,
    gain: ParameterId,
    bias: Option<ParameterId>,
}

impl<E: Element> Tape<'_, E> {
    /// y = x̂ ⊙ gain + bias, with x̂ the rows of x normalised as a whole or in groups, by their root mean square (Zhang and
    /// Sennrich 2019) or their deviation from their mean (Ba, Kiros and Hinton 2016).
    ///
    /// # Shapes
    /// `x` (N, C), `gain` and `bias` (C) → (N, C).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn norm(
        &mut self,
        x: Var,
        norm: norm::Norm,
        gain: ParameterId,
        bias: Option<ParameterId>,
    ) -> Var {
        let (rows, cols) = self.shape(x);
        let mut out = self.workspace.arena.take(rows * cols);
        norm::forward(self.cpu, norm, self.value(x), self.affine(gain, bias), &mut out);
        self.push(Op::Norm(Norm { x, norm, gain, bias }), cols, out, 0, true)
    }

    fn affine(&self, gain: ParameterId, bias: Option<ParameterId>) -> Affine<'_, E> {
        Affine { gain: self.values.of(gain), bias: bias.map(|bias| self.values.of(bias)) }
    }
}

impl Norm {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { x, norm, gain, bias } = self;
        let (rows, cols) = tape.shape(out);
        let d_y = tape.take_gradient(out);
        let (mut d_x, adds) = tape.gradient_to_add(x);
        let mut d_gain = tape.workspace.arena.take_zeros(cols);
        let mut d_bias = bias.map(|_| tape.workspace.arena.take_zeros(cols));
        let scratch_len = norm::scratch_len(rows, tape.affine(gain, bias));
        let mut scratch = tape.workspace.arena.take(scratch_len);
        let gradients = norm::Gradients {
            d_x: &mut d_x,
            adds,
            d_gain: &mut d_gain,
            d_bias: d_bias.as_deref_mut(),
        };
        let affine = tape.affine(gain, bias);
        norm::backward(tape.cpu, norm, tape.value(x), affine, &d_y, gradients, &mut scratch);
        tape.add_parameter_gradient(gain, d_gain);
        if let (Some(bias), Some(d_bias)) = (bias, d_bias) {
            tape.add_parameter_gradient(bias, d_bias);
        }
        tape.put_gradient(x, d_x);
        tape.workspace.arena.give(scratch);
        tape.workspace.arena.give(d_y);
    }
}

impl<E: Element> Tape<'_, E> {
    /// Adds a finished gradient to that of a small parameter.
    pub(crate) fn add_parameter_gradient(&mut self, id: ParameterId, d: Vec<E>) {
        let gradients = self.gradients.as_mut().expect("a training tape");
        gradients.of(id).iter_mut().zip(&d).for_each(|(sum, &part)| *sum += part);
        self.workspace.arena.give(d);
    }
}
