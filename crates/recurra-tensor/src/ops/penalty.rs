//! Penalties beside the loss, on what a layer hands up.

use recurra_kernels::{Element, penalty};

use super::Op;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Penalty {
    h: Var,
    factor: f64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Activation,
    Temporal(Window),
}

impl<E: Element> Tape<'_, E> {
    /// Lets a later backward pass add the gradient of α·mean(h²) (Merity, McCann and Socher 2017). No loss has it in its value.
    ///
    /// # Shapes
    /// `h` any.
    pub fn activation_penalty(&mut self, h: Var, alpha: f32) {
        self.penalty(h, alpha, Kind::Activation);
    }

    /// Lets a later backward pass add the gradient of β·mean((h_t − h_{t−1})²) over the steps of a window but the first
    /// (likewise). No loss has it in its value.
    ///
    /// # Shapes
    /// `h` (T·B, H).
    pub fn temporal_penalty(&mut self, h: Var, beta: f32, window: Window) {
        self.penalty(h, beta, Kind::Temporal(window));
    }

    fn penalty(&mut self, h: Var, factor: f32, kind: Kind) {
        if self.is_training() && factor != 0.0 {
            let op = Op::Penalty(Penalty { h, factor: f64::from(factor), kind });
            let needs_gradient = self.needs_gradient(h);
            self.push(op, 1, Vec::new(), 0, needs_gradient);
        }
    }
}

impl Penalty {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>) {
        let mut d_h = tape.take_gradient(self.h);
        let (h, scale) = (tape.value(self.h), self.factor * tape.loss_scale());
        match self.kind {
            Kind::Activation => penalty::activation(h, scale, &mut d_h),
            Kind::Temporal(window) => penalty::temporal(h, h.len() / window.time, scale, &mut d_h),
        };
        tape.put_gradient(self.h, d_h);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Isa, Parameters, Random, Workspace, finite_differences};

    #[test]
    fn penalties_join_the_gradient_of_the_loss_and_leave_its_value() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let window = Window { time: 3, batch: 2 };
        let mut parameters = Parameters::<f64>::new();
        let weight = parameters.declare("weight", &[4, 2]);
        Random::new(1, 0).fill_uniform(parameters.value_mut(weight), 1.0);
        let x: Vec<f64> = (0..12).map(|idx| (idx * 7 % 5) as f64 - 2.0).collect();
        let mut workspace = Workspace::new();
        let error = finite_differences::largest_error(&mut parameters, 100, |parameters, learn| {
            let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
            let x = tape.constant(&x, 2);
            let h = tape.linear(x, weight, None);
            tape.activation_penalty(h, 0.25);
            tape.temporal_penalty(h, 0.75, window);
            let loss = tape.squared_error(h, &[0.5; 24]);
            if learn {
                tape.backward(loss);
            }
            let h = tape.value(h).to_vec();
            let mean = |values: &mut dyn Iterator<Item = f64>| {
                let (mut sum, mut n) = (0.0, 0.0);
                values.for_each(|value| (sum, n) = (sum + value * value, n + 1.0));
                sum / n
            };
            let activation = mean(&mut h.iter().copied());
            let temporal = mean(&mut (8..24).map(|idx| h[idx] - h[idx - 8]));
            tape.loss(loss) + 0.25 * activation + 0.75 * temporal
        });
        assert!(error < 1e-8, "{error:e}");
    }
}
