//! Sums and products of two variables, value by value.

use recurra_kernels::{Element, pointwise};

use super::Op;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Sum {
    a: Var,
    b: Var,
}

#[derive(Debug)]
pub(crate) struct Product {
    a: Var,
    b: Var,
}

impl<E: Element> Tape<'_, E> {
    /// a + b: a residual link (He et al. 2016).
    ///
    /// # Shapes
    /// `a` and `b` (N, C) → (N, C).
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        let (out, cols) = self.of_two(a, b, pointwise::add);
        let needs_gradient = self.needs_gradient(a) || self.needs_gradient(b);
        self.push(Op::Sum(Sum { a, b }), cols, out, 0, needs_gradient)
    }

    /// a ⊙ b.
    ///
    /// # Shapes
    /// `a` and `b` (N, C) → (N, C).
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn multiply(&mut self, a: Var, b: Var) -> Var {
        let (out, cols) = self.of_two(a, b, pointwise::multiply);
        let needs_gradient = self.needs_gradient(a) || self.needs_gradient(b);
        self.push(Op::Product(Product { a, b }), cols, out, 0, needs_gradient)
    }

    #[track_caller]
    fn of_two(
        &mut self,
        a: Var,
        b: Var,
        combine: fn(&recurra_kernels::Cpu, &[E], &[E], &mut [E]),
    ) -> (Vec<E>, usize) {
        let (rows, cols) = self.shape(a);
        assert_eq!((rows, cols), self.shape(b), "two variables of one shape");
        let mut out = self.workspace.arena.take(rows * cols);
        combine(self.cpu, self.value(a), self.value(b), &mut out);
        (out, cols)
    }

    /// Adds a copy of a gradient to what has arrived at `var`, if anybody asks for it.
    fn add_gradient_copy(&mut self, var: Var, gradient: &[E]) {
        if !self.needs_gradient(var) {
            return;
        }
        let (mut sum, adds) = self.gradient_to_add(var);
        if adds {
            pointwise::add_to(self.cpu, gradient, &mut sum);
        } else {
            pointwise::copy(self.cpu, gradient, &mut sum);
        }
        self.put_gradient(var, sum);
    }
}

impl Sum {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let d_out = tape.take_gradient(out);
        tape.add_gradient_copy(self.a, &d_out);
        let is_first = tape.gradient(self.b).is_none();
        if tape.needs_gradient(self.b) && is_first {
            tape.put_gradient(self.b, d_out);
        } else {
            tape.add_gradient_copy(self.b, &d_out);
            tape.workspace.arena.give(d_out);
        }
    }
}

impl Product {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let d_out = tape.take_gradient(out);
        for (var, other) in [(self.a, self.b), (self.b, self.a)] {
            if !tape.needs_gradient(var) {
                continue;
            }
            let (mut sum, adds) = tape.gradient_to_add(var);
            let combine = if adds { pointwise::multiply_add } else { pointwise::multiply };
            combine(tape.cpu, &d_out, tape.value(other), &mut sum);
            tape.put_gradient(var, sum);
        }
        tape.workspace.arena.give(d_out);
    }
}

#[cfg(test)]
mod tests {
    use crate::activation::Function;
    use crate::norm::{Kind, Norm};
    use crate::{Cpu, Parameters, Random, Tape, Workspace, finite_differences};

    /// A small network of everything that a block is made of, with a link around each part.
    #[test]
    fn norms_gates_and_links_have_the_slopes_they_state() {
        const WIDTH: usize = 6;
        let cpu = Cpu::new(2).unwrap();
        let mut parameters = Parameters::<f64>::new();
        let first = parameters.declare("first", &[WIDTH, 2]);
        let gain = parameters.declare("gain", &[WIDTH]);
        let bias = parameters.declare("bias", &[WIDTH]);
        let wide = parameters.declare("wide", &[2 * WIDTH, WIDTH]);
        let mut random = Random::new(4, 0);
        for id in [first, gain, bias, wide] {
            random.fill_uniform(parameters.value_mut(id), 1.0);
        }
        let mut workspace = Workspace::new();
        for kind in [Kind::Rms, Kind::Layer] {
            for function in [Function::Gelu, Function::Silu] {
                let error =
                    finite_differences::largest_error(&mut parameters, 200, |parameters, learn| {
                        let mut tape = Tape::training(&cpu, parameters, &mut workspace, 0);
                        let x = tape.constant(&[0.5, -1.0, 2.0, 0.3, -0.7, 1.1], 2);
                        let x = tape.linear(x, first, None);
                        let norm = Norm { kind, groups: 2, epsilon: 1e-5 };
                        let y = tape.norm(x, norm, gain, Some(bias));
                        let y = tape.linear(y, wide, None);
                        let y = tape.gated(y, function);
                        let x = tape.add(x, y);
                        let y = tape.activation(x, function);
                        let y = tape.multiply(y, x);
                        let x = tape.add(y, x);
                        let x = tape.add(x, x);
                        let loss = tape.squared_error(x, &[0.4; 3 * WIDTH]);
                        if learn {
                            tape.backward(loss);
                        }
                        tape.loss(loss)
                    });
                assert!(error < 1e-7, "{kind:?} {function:?}: {error:e}");
            }
        }
    }
}
