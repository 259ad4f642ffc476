//! A Mogrifier LSTM layer over a whole sequence.

use recurra_kernels::column_sum::column_sums;
use recurra_kernels::matmul::{Matrix, Start, matmul, matmul_packed};
use recurra_kernels::{Cpu, Element, mogrifier};

use super::Op;
use super::lstm::LstmForm;
use super::sweep::{RecurrentWeights, carry};
use crate::arena::Arena;
use crate::parameters::ParameterId;
use crate::tape::{Tape, Var, Window};

const N_GATES: usize = 4;

/// The most rounds that a layer has.
pub const MOST_ROUNDS: usize = 8;

/// The matrix of a round: what it gives is as wide as what it scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundWeights {
    /// (W, S), or (W, rank).
    pub left: ParameterId,
    /// (rank, S), where the matrix is a product of two.
    pub right: Option<ParameterId>,
}

/// The parameters of a Mogrifier LSTM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MogrifierWeights {
    /// Those of the LSTM.
    pub recurrent: RecurrentWeights,
    /// Those of each round: the first, third, … scale x by h, the others h by x.
    pub rounds: [Option<RoundWeights>; MOST_ROUNDS],
}

/// What a round leaves of all steps.
#[derive(Debug)]
struct Round<E> {
    weights: RoundWeights,
    width: usize,
    /// (T·B, W): its gate; on the way back the gradient of its product.
    gate: Vec<E>,
    /// (T·B, W): what it made of x or h.
    after: Vec<E>,
    inner: Option<Inner<E>>,
}

/// What stands between the two matrices of a round, of all steps.
#[derive(Debug)]
struct Inner<E> {
    rank: usize,
    /// (T·B, rank): the product with the right matrix.
    values: Vec<E>,
    /// (T·B, rank): their gradient.
    gradient: Vec<E>,
}

#[derive(Debug)]
pub(crate) struct Mogrifier<E> {
    x: Var,
    weights: RecurrentWeights,
    is_coupled: bool,
    window: Window,
    rounds: Vec<Round<E>>,
    gates: Vec<E>, // (T, B, 4H), i f g o, activated
    c: Vec<E>,     // (T + 1, B, H)
    /// The mask of the state (B, H), and what is left of h₋ through it (T·B, H).
    seen: Option<[Vec<E>; 2]>,
}

/// The product of one step with a weight, on the way there or back: what comes in, the weight, what the product is added to, and
/// where it goes.
type Product<'p, E> = dyn FnMut(&[E], ParameterId, Start<'_, E>, &mut [E]) + 'p;

impl<E: Element> Round<E> {
    /// 2σ(W·by) ⊙ v of one step.
    fn forward(
        &mut self,
        cpu: &Cpu,
        at: Rows,
        [v, by]: [&[E]; 2],
        product: &mut Product<'_, E>,
    ) -> &[E] {
        let RoundWeights { left, right } = self.weights;
        let [gate, after] =
            [&mut self.gate, &mut self.after].map(|all| &mut all[at.of(self.width)]);
        match (right, &mut self.inner) {
            (Some(right), Some(Inner { rank, values, .. })) => {
                let values = &mut values[at.of(*rank)];
                product(by, right, Start::Zero, values);
                product(values, left, Start::Zero, gate);
            }
            _ => product(by, left, Start::Zero, gate),
        }
        mogrifier::scale(cpu, gate, v, after);
        after
    }

    /// Makes of the gradient of what came out, in `d_v`, that of v, and adds to that of `by`.
    fn backward(
        &mut self,
        cpu: &Cpu,
        step: Rows,
        v: &[E],
        [d_v, d_by]: [&mut [E]; 2],
        product: &mut Product<'_, E>,
    ) {
        let RoundWeights { left, right } = self.weights;
        let gate = &mut self.gate[step.of(self.width)];
        mogrifier::scale_backward(cpu, gate, v, d_v);
        match (right, &mut self.inner) {
            (Some(right), Some(Inner { rank, gradient, .. })) => {
                let gradient = &mut gradient[step.of(*rank)];
                product(gate, left, Start::Zero, gradient);
                product(gradient, right, Start::Sum, d_by);
            }
            _ => product(gate, left, Start::Sum, d_by),
        }
    }

    /// Hands on each weight with the gradient of its product and with what it was multiplied by, of all steps.
    fn for_each_weight(
        &self,
        by: Sequence<'_, E>,
        mut each: impl FnMut(ParameterId, &[E], Sequence<'_, E>),
    ) {
        let RoundWeights { left, right } = self.weights;
        match (right, &self.inner) {
            (Some(right), Some(Inner { rank, values, gradient })) => {
                each(left, &self.gate, (values, *rank));
                each(right, gradient, by);
            }
            _ => each(left, &self.gate, by),
        }
    }
}

/// A vector over all steps: its values and its width.
type Sequence<'a, E> = (&'a [E], usize);

/// Of x and h_{t−1} over all steps, what round `idx` scales, and what it scales it by.
fn read_by<'a, E>(
    done: &'a [Round<E>],
    x: Sequence<'a, E>,
    h: Sequence<'a, E>,
) -> [Sequence<'a, E>; 2] {
    let after = |idx: usize| (&done[idx].after[..], done[idx].width);
    match done.len() {
        0 => [x, h],
        1 => [h, after(0)],
        idx => [after(idx - 2), after(idx - 1)],
    }
}

/// x and h_{t−1} over all steps, after all rounds.
fn mogrified<'a, E>(
    rounds: &'a [Round<E>],
    x: Sequence<'a, E>,
    h: Sequence<'a, E>,
) -> [Sequence<'a, E>; 2] {
    let [older, newer] = read_by(rounds, x, h);
    if rounds.len().is_multiple_of(2) { [older, newer] } else { [newer, older] }
}

impl<E: Element> Tape<'_, E> {
    /// A Mogrifier LSTM layer (Melis, Kočiský and Blunsom 2020): in rounds, x and h_{t−1} scale each other, and what has become of
    /// them goes into an LSTM.
    ///
    /// ```text
    /// x^i = 2σ(Q^i·h^{i−1}) ⊙ x^{i−2}   for odd i      h^i = 2σ(R^i·x^{i−1}) ⊙ h^{i−2}   for even i
    /// h_t, c_t = LSTM(the last x, c_{t−1}, the last h)
    /// ```
    ///
    /// where x^{−1} is x_t and h^0 is h_{t−1} (through a mask, with state dropout). Starts from the state `[h, c]` and leaves the last
    /// one there, cut off from its history.
    ///
    /// # Shapes
    /// `x` (T·B, E), weights with G = 4 gates in the order i, f, g, o, `h` and `c` (B, H) → (T·B, H).
    #[track_caller]
    pub fn mogrifier(
        &mut self,
        x: Var,
        weights: &MogrifierWeights,
        form: LstmForm,
        window: Window,
        state: [&mut [E]; 2],
    ) -> Var {
        let recurrent = weights.recurrent;
        let hidden = self.checked_hidden(&x.into(), &recurrent, N_GATES, window, &state);
        let (_, inputs) = self.shape(x);
        let (batch, is_training) = (window.batch, self.is_training());
        // Where nobody goes back, every step works in the same place.
        let kept = if is_training { window.len() } else { batch };
        let mut rounds: Vec<Round<E>> = Vec::with_capacity(MOST_ROUNDS);
        for (idx, weights) in weights.rounds.into_iter().flatten().enumerate() {
            let width = if idx % 2 == 0 { inputs } else { hidden };
            let arena = &mut self.workspace.arena;
            let [gate, after] = [(); 2].map(|()| arena.take(kept * width));
            let rank = weights.right.map(|right| self.values.matrix_shape(right).0);
            let inner = rank.map(|rank| {
                let [values, gradient] = [(); 2].map(|()| arena.take(kept * rank));
                Inner { rank, values, gradient }
            });
            rounds.push(Round { weights, width, gate, after, inner });
        }
        let mut gates = self.workspace.arena.take(kept * N_GATES * hidden);
        let mut h = self.states_from(window, state[0]); // (T + 1, B, H)
        let mut c = self.states_from(window, state[1]);
        let mut seen = self.next_mask(form.state_dropout).map(|mask| {
            let factors = self.state_factors(mask, batch * hidden);
            [factors, self.workspace.arena.take(kept * hidden)]
        });
        let bias = self.joint_bias(&recurrent, N_GATES * hidden);
        for t in 0..window.time {
            let step = Rows { first: t * batch, n: batch };
            let at = if is_training { step } else { Rows { first: 0, n: batch } };
            let (before, now) = h.split_at_mut((t + 1) * batch * hidden);
            let before = &before[step.of(hidden)];
            let before = match &mut seen {
                None => before,
                Some([mask, seen]) => {
                    let seen = &mut seen[at.of(hidden)];
                    recurra_kernels::pointwise::multiply(self.cpu, before, mask, seen);
                    &*seen
                }
            };
            let x = &self.workspace.nodes[x.0].value()[step.of(inputs)];
            let packed = &mut self.workspace.packed;
            let mut product = |a: &[E], weight, start: Start<'_, E>, out: &mut [E]| {
                let (_, cols) = self.values.matrix_shape(weight);
                let weight = packed.matrix(self.cpu, self.values, weight, true);
                matmul_packed(self.cpu, Matrix::new(a, batch, cols), weight, start, out);
            };
            let (mut x_now, mut h_now) = (x, before);
            let mut rest = &mut rounds[..];
            let mut is_of_x = true;
            while let Some((round, later)) = std::mem::take(&mut rest).split_first_mut() {
                rest = later;
                let read = if is_of_x { [x_now, h_now] } else { [h_now, x_now] };
                let after = round.forward(self.cpu, at, read, &mut product);
                *(if is_of_x { &mut x_now } else { &mut h_now }) = after;
                is_of_x = !is_of_x;
            }
            let gates = &mut gates[at.of(N_GATES * hidden)];
            product(x_now, recurrent.weight_ih, Start::Bias(&bias), gates);
            product(h_now, recurrent.weight_hh, Start::Sum, gates);
            let (c_before, c_now) = c.split_at_mut((t + 1) * batch * hidden);
            let (c_before, c_now) = (&c_before[step.of(hidden)], &mut c_now[..batch * hidden]);
            let now = &mut now[..batch * hidden];
            mogrifier::step(self.cpu, hidden, form.is_coupled, gates, c_before, c_now, now);
        }
        self.workspace.arena.give(bias);
        for (states, carried) in [&h, &c].into_iter().zip(state) {
            carry(states, carried);
        }
        let is_coupled = form.is_coupled;
        let op = Mogrifier { x, weights: recurrent, is_coupled, window, rounds, gates, c, seen };
        let op = if is_training {
            Op::Mogrifier(op)
        } else {
            op.recycle(&mut self.workspace.arena);
            Op::Constant
        };
        self.push(op, hidden, h, batch * hidden, true)
    }
}

/// The rows of a step in a sequence (T·B, ·).
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    n: usize,
}

impl Rows {
    /// Where their values are, `width` a row.
    fn of(self, width: usize) -> std::ops::Range<usize> {
        self.first * width..(self.first + self.n) * width
    }
}

impl<E: Element> Mogrifier<E> {
    pub(crate) fn backward(mut self, tape: &mut Tape<'_, E>, out: Var) {
        let (_, hidden) = tape.shape(out);
        let (_, inputs) = tape.shape(self.x);
        let Window { time, batch } = self.window;
        let RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self.weights;
        let d_out = tape.take_gradient(out);
        let arena = &mut tape.workspace.arena;
        let mut d_x = arena.take(time * batch * inputs); // (T·B, E)
        let mut d_h = arena.take(batch * hidden);
        let mut d_before = arena.take_zeros(batch * hidden);
        let mut d_c = arena.take_zeros(batch * hidden);
        let nodes = &tape.workspace.nodes;
        let x = (nodes[self.x.0].value(), inputs);
        let h = match &self.seen {
            Some([_, seen]) => (&seen[..], hidden),
            None => (&nodes[out.0].buffer[..], hidden),
        };
        for t in (0..time).rev() {
            let step = Rows { first: t * batch, n: batch };
            let packed = &mut tape.workspace.packed;
            let mut product = |d: &[E], weight, start: Start<'_, E>, out: &mut [E]| {
                let (rows, _) = tape.values.matrix_shape(weight);
                let weight = packed.matrix(tape.cpu, tape.values, weight, false);
                matmul_packed(tape.cpu, Matrix::new(d, batch, rows), weight, start, out);
            };
            let (values, gates) = (step.of(hidden), &mut self.gates[step.of(N_GATES * hidden)]);
            recurra_kernels::pointwise::add(tape.cpu, &d_out[values.clone()], &d_before, &mut d_h);
            let c_before = &self.c[values.clone()];
            let c = &self.c[values.start + batch * hidden..values.end + batch * hidden];
            mogrifier::step_backward(
                tape.cpu,
                hidden,
                self.is_coupled,
                gates,
                c_before,
                c,
                &d_h,
                &mut d_c,
            );
            let d_x = &mut d_x[step.of(inputs)];
            product(gates, weight_ih, Start::Zero, d_x);
            product(gates, weight_hh, Start::Zero, &mut d_before);
            for idx in (0..self.rounds.len()).rev() {
                let (done, rest) = self.rounds.split_at_mut(idx);
                let round = &mut rest[0];
                let [(v, width), _] = read_by(done, x, h);
                let (d_v, d_by) = match idx % 2 {
                    0 => (&mut *d_x, &mut d_before[..]),
                    _ => (&mut d_before[..], &mut *d_x),
                };
                round.backward(tape.cpu, step, &v[step.of(width)], [d_v, d_by], &mut product);
            }
            if let Some([mask, _]) = &self.seen {
                d_before.iter_mut().zip(mask).for_each(|(d, &mask)| *d *= mask);
            }
        }
        // The weights' gradients are products over all steps.
        let rows = time * batch;
        let gradients = tape.gradients.as_mut().expect("a training tape");
        let mut add = |weight, d: &[E], (of, width): Sequence<'_, E>| {
            let d = Matrix::new(d, rows, d.len() / rows);
            let of = Matrix::new(&of[..rows * width], rows, width);
            matmul(tape.cpu, d.transposed(), of, Start::Sum, gradients.of(weight));
        };
        for (idx, round) in self.rounds.iter().enumerate() {
            let [_, by] = read_by(&self.rounds[..idx], x, h);
            round.for_each_weight(by, &mut add);
        }
        let [x_last, h_last] = mogrified(&self.rounds, x, h);
        add(weight_ih, &self.gates, x_last);
        add(weight_hh, &self.gates, h_last);
        for bias in [bias_ih, bias_hh] {
            let d = Matrix::new(&self.gates, rows, N_GATES * hidden);
            column_sums(tape.cpu, d, gradients.of(bias));
        }
        if tape.needs_gradient(self.x) {
            tape.add_gradient(self.x, d_x);
        } else {
            tape.workspace.arena.give(d_x);
        }
        tape.give_all([d_out, d_h, d_before, d_c]);
        self.recycle(&mut tape.workspace.arena);
    }

    pub(crate) fn recycle(self, arena: &mut Arena<E>) {
        for round in self.rounds {
            let buffers = [round.gate, round.after].into_iter();
            let inner = round.inner.into_iter().flat_map(|inner| [inner.values, inner.gradient]);
            buffers.chain(inner).for_each(|it| arena.give(it));
        }
        let buffers = [self.gates, self.c].into_iter();
        buffers.chain(self.seen.into_iter().flatten()).for_each(|it| arena.give(it));
    }
}
