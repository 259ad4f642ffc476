//! A window that slides over the steps: each row beside the rows of the steps before it.

use recurra_kernels::Element;

use super::Op;
use crate::tape::{Tape, Var, Window};

#[derive(Debug)]
pub(crate) struct Unfold {
    x: Var,
    batch: usize,
}

impl<E: Element> Tape<'_, E> {
    /// (x_t, x_{t−1}, …, x_{t−k+1}) for each step: a product with it is a convolution over time that sees nothing ahead.
    ///
    /// `before` holds what came before the window in the same order, and afterwards the last of it, cut off from its history.
    /// Its width says k.
    ///
    /// # Shapes
    /// `x` (T·B, E), `before` (B, (k−1)·E) → (T·B, k·E).
    #[track_caller]
    pub fn unfold(&mut self, x: Var, window: Window, before: &mut [E]) -> Var {
        let (rows, cols) = self.shape(x);
        let batch = window.batch;
        assert_eq!(rows, window.len(), "x of {rows} rows for a window of {window:?}");
        assert!(
            before.len().is_multiple_of(batch * cols),
            "{} values before x for {window:?} of {cols} columns",
            before.len()
        );
        let past = before.len() / batch; // (k−1)·E
        let width = cols + past;
        let mut out = self.workspace.arena.take(rows * width); // (T·B, k·E)
        for row in 0..rows {
            let (done, rest) = out.split_at_mut(row * width);
            let (now, earlier) = rest[..width].split_at_mut(cols);
            now.copy_from_slice(&self.value(x)[row * cols..(row + 1) * cols]);
            earlier.copy_from_slice(match row.checked_sub(batch) {
                Some(row_before) => &done[row_before * width..][..past],
                None => &before[row * past..(row + 1) * past],
            });
        }
        for (row, before) in before.chunks_exact_mut(past.max(1)).enumerate() {
            before.copy_from_slice(&out[(rows - batch + row) * width..][..past]);
        }
        let needs_gradient = self.needs_gradient(x);
        self.push(Op::Unfold(Unfold { x, batch }), width, out, 0, needs_gradient)
    }
}

impl Unfold {
    pub(crate) fn backward<E: Element>(self, tape: &mut Tape<'_, E>, out: Var) {
        let (rows, width) = tape.shape(out);
        let (_, cols) = tape.shape(self.x);
        let d_out = tape.take_gradient(out);
        let mut d_x = tape.workspace.arena.take(rows * cols);
        for (row, d_x) in d_x.chunks_exact_mut(cols).enumerate() {
            d_x.copy_from_slice(&d_out[row * width..][..cols]);
            let later = (row + self.batch..rows).step_by(self.batch);
            for (step, later) in (1..width / cols).zip(later) {
                let d_later = &d_out[later * width + step * cols..][..cols];
                d_x.iter_mut().zip(d_later).for_each(|(sum, &part)| *sum += part);
            }
        }
        tape.add_gradient(self.x, d_x);
        tape.workspace.arena.give(d_out);
    }
}

#[cfg(test)]
mod tests {
    use recurra_kernels::{Cpu, Isa};

    use crate::{Parameters, Tape, Window, Workspace, finite_differences};

    #[test]
    fn each_row_stands_beside_those_before_it() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let parameters = Parameters::<f64>::new();
        let mut workspace = Workspace::new();
        let window = Window { time: 2, batch: 2 };
        let mut before = vec![-1.0, -2.0, -11.0, -12.0]; // k = 3
        let mut tape = Tape::inference(&cpu, &parameters, &mut workspace);
        let x = tape.constant(&[1.0, 11.0, 2.0, 12.0], 1);
        let out = tape.unfold(x, window, &mut before);
        assert_eq!(tape.shape(out), (4, 3));
        let rows = [1.0, -1.0, -2.0, 11.0, -11.0, -12.0, 2.0, 1.0, -1.0, 12.0, 11.0, -11.0];
        assert_eq!(tape.value(out), rows);
        assert_eq!(before, [2.0, 1.0, 12.0, 11.0]);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let error = finite_differences::error_behind_a_product(|tape, [_, y], window| {
            tape.unfold(y, window, &mut [0.5; 2 * 2 * 2]) // k = 3
        });
        assert!(error < 1e-8, "{error:e}");
    }
}
