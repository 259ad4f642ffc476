//! Functions of single values, and gates.

use recurra_kernels::Element;
use recurra_kernels::activation::{self, Function};

use super::Op;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Activated {
    x: Var,
    function: Function,
    /// Whether a row is two halves, of which the first gates the second.
    is_gated: bool,
}

impl<E: Element> Tape<'_, E> {
    /// y = f(x).
    ///
    /// # Shapes
    /// `x` (N, F) → (N, F).
    pub fn activation(&mut self, x: Var, function: Function) -> Var {
        let (rows, cols) = self.shape(x);
        let mut out = self.workspace.arena.take(rows * cols);
        activation::forward(self.cpu, function, self.value(x), &mut out);
        self.push_activated(x, function, false, cols, out)
    }

    /// y = f(a) ⊙ b for every row (a, b) of x (Dauphin et al. 2017; Shazeer 2020).
    ///
    /// # Shapes
    /// `x` (N, 2·F) → (N, F).
    ///
    /// # Panics
    /// When a row has no two halves.
    #[track_caller]
    pub fn gated(&mut self, x: Var, function: Function) -> Var {
        let (rows, cols) = self.shape(x);
        assert!(cols.is_multiple_of(2), "a gate for rows of {cols} values");
        let width = cols / 2;
        let mut out = self.workspace.arena.take(rows * width);
        activation::gated_forward(self.cpu, function, self.value(x), width, &mut out);
        self.push_activated(x, function, true, width, out)
    }

    fn push_activated(
        &mut self,
        x: Var,
        function: Function,
        is_gated: bool,
        cols: usize,
        out: Vec<E>,
    ) -> Var {
        let needs_gradient = self.needs_gradient(x);
        let op = Op::Activated(Activated { x, function, is_gated });
        self.push(op, cols, out, 0, needs_gradient)
    }
}

impl Activated {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let Self { x, function, is_gated } = self;
        let (_, width) = tape.shape(out);
        let d_y = tape.take_gradient(out);
        let (mut d_x, adds) = tape.gradient_to_add(x);
        let (cpu, value) = (tape.cpu, tape.value(x));
        if is_gated {
            activation::gated_backward(cpu, function, value, width, &d_y, &mut d_x, adds);
        } else {
            activation::backward(cpu, function, value, &d_y, &mut d_x, adds);
        }
        tape.put_gradient(x, d_x);
        tape.workspace.arena.give(d_y);
    }
}
