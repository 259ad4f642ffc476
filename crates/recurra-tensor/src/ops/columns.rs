//! Two variables side by side.

use recurra_kernels::Element;

use super::Op;
use crate::tape::{Tape, Var};

#[derive(Debug)]
pub(crate) struct Beside {
    parts: [Var; 2],
}

impl<E: Element> Tape<'_, E> {
    /// (a, b): the columns of one before those of the other.
    ///
    /// # Shapes
    /// `a` (N, C), `b` (N, D) → (N, C + D).
    ///
    /// # Panics
    /// When they have not as many rows.
    #[track_caller]
    pub fn beside(&mut self, a: Var, b: Var) -> Var {
        let [(rows, left), (rows_b, right)] = [a, b].map(|part| self.shape(part));
        assert_eq!(rows, rows_b, "{rows} rows beside {rows_b}");
        let width = left + right;
        let mut out = self.workspace.arena.take(rows * width);
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let (to_a, to_b) = out.split_at_mut(left);
            to_a.copy_from_slice(&self.value(a)[row * left..][..left]);
            to_b.copy_from_slice(&self.value(b)[row * right..][..right]);
        }
        let needs_gradient = self.needs_gradient(a) || self.needs_gradient(b);
        self.push(Op::Beside(Beside { parts: [a, b] }), width, out, 0, needs_gradient)
    }
}

impl Beside {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (rows, width) = tape.shape(out);
        let d_out = tape.take_gradient(out);
        let mut first = 0;
        for part in self.parts {
            let (_, cols) = tape.shape(part);
            if tape.needs_gradient(part) {
                let mut d_part = tape.workspace.arena.take(rows * cols);
                for (row, d_part) in d_part.chunks_exact_mut(cols).enumerate() {
                    d_part.copy_from_slice(&d_out[row * width + first..][..cols]);
                }
                tape.add_gradient(part, d_part);
            }
            first += cols;
        }
        tape.workspace.arena.give(d_out);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Isa, Parameters, Tape, Window, Workspace, finite_differences};

    #[test]
    fn steps_turn_around_and_columns_stand_side_by_side() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let parameters = Parameters::<f64>::new();
        let mut workspace = Workspace::new();
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let x = tape.constant(&[1.0, 11.0, 2.0, 12.0, 3.0, 13.0], 1);
        let back = tape.reversed(x, Window { time: 3, batch: 2 });
        assert_eq!(tape.value(back), [3.0, 13.0, 2.0, 12.0, 1.0, 11.0]);
        let both = tape.beside(x, back);
        let pair = tape.beside(back, both);
        assert_eq!(tape.shape(pair), (6, 3));
        assert_eq!(tape.value(pair)[..6], [3.0, 1.0, 3.0, 13.0, 11.0, 13.0]);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let error = finite_differences::error_behind_a_product(|tape, [x, y], window| {
            let back = tape.reversed(y, window);
            let both = tape.beside(x, back);
            tape.beside(both, y)
        });
        assert!(error < 1e-8, "{error:e}");
    }
}
