//! The sLSTM over a whole sequence, forward and backward: an LSTM whose input gate is an exponential, with a normaliser, and
//! with heads that do not see each other.
//!
//! Beck et al. (2024), "xLSTM", equations 8 to 17. With a = W·x of each gate (given), bias b, the recurrent matrix R of a
//! head, and h₋, c₋, n₋, m₋ the state of the step before:
//!
//! ```text
//! ĩ = a_i + R_i·h₋ + b_i     f̃ = a_f + R_f·h₋ + b_f     z = tanh(a_z + R_z·h₋ + b_z)     o = σ(a_o + R_o·h₋ + b_o)
//! m = max(log σ(f̃) + m₋, ĩ)                      the stabiliser: the largest exponent so far
//! i = exp(ĩ − m)         f = exp(log σ(f̃) + m₋ − m)
//! c = f ⊙ c₋ + i ⊙ z     n = f ⊙ n₋ + i          h = o ⊙ c / n
//! ```
//!
//! The forget gate is σ, which the authors' program has too (the paper allows exp). Where n₋ is 0, nothing has come in yet
//! and m = ĩ. One of i and f is 1, so n ≥ 1 from the first step on, and h is o times a weighted mean of all z so far.
//!
//! h does not depend on m, which only scales c and n alike; so on the way back m is a constant:
//!
//! ```text
//! d_c += d_h ⊙ o / n                      d_n −= d_h ⊙ h / n
//! d_ĩ  = (d_c ⊙ z + d_n) ⊙ i              d_f̃  = (d_c ⊙ c₋ + d_n ⊙ n₋) ⊙ f ⊙ (1 − σ(f̃))
//! d_z̃  = d_c ⊙ i ⊙ (1 − z²)               d_õ  = d_h ⊙ c / n ⊙ o ⊙ (1 − o)
//! d_c₋ = d_c ⊙ f     d_n₋ = d_n ⊙ f       d_h₋ = Rᵀ·d_a
//! ```
//!
//! Heads exchange nothing, so a member of the team has whole heads (or rows of the batch) for all steps and nobody waits.

pub(crate) mod reference;
mod vector;

use crate::recurrent::RecurrentWeight;
use crate::{Cpu, Element, SharedSlice};

#[cfg(test)]
mod tests;

pub(crate) const GATES: usize = 4;

/// The sizes of a layer over a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T, time steps.
    pub time: usize,
    /// B, sequences side by side.
    pub batch: usize,
    /// A, heads.
    pub heads: usize,
    /// D, units of a head.
    pub units: usize,
}

// Sizes that no memory has stay so, and no slice passes for one of them.
impl Shape {
    /// H = A·D.
    pub fn hidden(self) -> usize {
        self.heads.saturating_mul(self.units)
    }

    /// B·H: values of a part of the state.
    pub fn state(self) -> usize {
        self.batch.saturating_mul(self.hidden())
    }

    /// T·B·H.
    pub fn sequence(self) -> usize {
        self.time.saturating_mul(self.state())
    }

    /// (T + 1)·B·H: values of a part of the states, the first one among them.
    fn states(self) -> usize {
        self.sequence().saturating_add(self.state())
    }

    #[track_caller]
    fn check(self, name: &str, len: usize, expected: usize) {
        assert!(len == expected, "`{name}` holds {len} values; {expected} expected for {self:?}");
    }
}

/// The recurrent matrices of all heads, packed for the sweeps.
#[derive(Clone, Debug)]
pub struct HeadWeights<E>(Vec<RecurrentWeight<E>>);

impl<E: Element> HeadWeights<E> {
    /// Packs R (A, 4·D, D), in each head the gates i, f, z, o one after the other.
    ///
    /// # Panics
    /// When the sizes disagree or are zero.
    #[track_caller]
    pub fn pack(cpu: &Cpu, weight: &[E], units: usize) -> Self {
        let heads = weight.chunks(GATES * units * units);
        Self(heads.map(|head| RecurrentWeight::pack(cpu, head, units, GATES)).collect())
    }

    /// Packs other matrices of the same shape into the same memory.
    ///
    /// # Panics
    /// When the shape is another, or `cpu` has another instruction set.
    #[track_caller]
    pub fn repack(&mut self, cpu: &Cpu, weight: &[E]) {
        let heads = weight.chunks(weight.len().div_ceil(self.0.len()));
        self.0.iter_mut().zip(heads).for_each(|(packed, head)| packed.repack(cpu, head));
    }

    #[track_caller]
    fn check(&self, cpu: &Cpu, shape: Shape) {
        assert!(self.0.len() == shape.heads, "weights of {} heads for {shape:?}", self.0.len());
        let Shape { time, batch, units, .. } = shape;
        let head = crate::recurrent::Shape { time, batch, hidden: units };
        self.0.iter().for_each(|weight| weight.check(cpu, head, GATES));
    }
}

/// The states before the first step and after each.
///
/// # Shapes
/// (T+1, B, H) each.
#[derive(Debug)]
pub struct States<S> {
    /// What is handed up.
    pub h: S,
    /// The memory.
    pub c: S,
    /// Its normaliser.
    pub n: S,
    /// The exponent that both are divided by.
    pub m: S,
}

/// The states and gates of all steps.
///
/// # Shapes
/// - `bias` (A, 4, D); `inputs`: W·x of the gates i and f, then of z and o, each (T, B, A, 2, D).
/// - `gates`, as the inputs, is written: i and f̃, z and o, of which [`backward`] makes gradients.
/// - `states`: the first of each is the state before the sequence, the others are written.
///
/// # Panics
/// When a size disagrees or is zero, or the weights were packed for another instruction set.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    weights: &HeadWeights<E>,
    bias: &[E],
    inputs: [&[E]; 2],
    gates: [&mut [E]; 2],
    states: States<&mut [E]>,
) {
    weights.check(cpu, shape);
    shape.check("bias", bias.len(), GATES * shape.hidden());
    for (input, gates) in inputs.iter().zip(&gates) {
        shape.check("inputs", input.len(), 2 * shape.sequence());
        shape.check("gates", gates.len(), 2 * shape.sequence());
    }
    let States { h, c, n, m } = states;
    for (name, part) in [("h", &h), ("c", &c), ("n", &n), ("m", &m)] {
        shape.check(name, part.len(), shape.states());
    }
    let [a_if, a_zo] = inputs;
    let (Some(bias), Some(a_if), Some(a_zo)) = (E::as_f32(bias), E::as_f32(a_if), E::as_f32(a_zo))
    else {
        let weights: Vec<&[E]> = weights.0.iter().map(RecurrentWeight::plain).collect();
        return reference::forward(shape, &weights, bias, inputs, gates, States { h, c, n, m });
    };
    let panels = weights.0.iter().map(RecurrentWeight::forward_panels).collect();
    let [h, c, n, m] = [h, c, n, m].map(SharedSlice::of_f32);
    let states = States { h, c, n, m };
    vector::forward(cpu, shape, panels, bias, [a_if, a_zo], gates.map(SharedSlice::of_f32), states);
}

/// The gradients of all gates and of the state before the sequence.
///
/// # Shapes
/// - `gates` (T, B, A, 2, D) each, in: as [`forward`] left them; out: the gradients of a + b.
/// - `states` as [`forward`] left them; `d_h` (T, B, H) the gradient of every output.
/// - `d_last` (B, H) each for h, c and n, in: the gradient of the last state beside that in `d_h`; out: of the first.
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    weights: &HeadWeights<E>,
    gates: [&mut [E]; 2],
    states: States<&[E]>,
    d_h: &[E],
    d_last: [&mut [E]; 3],
) {
    weights.check(cpu, shape);
    for gates in &gates {
        shape.check("gates", gates.len(), 2 * shape.sequence());
    }
    let States { h, c, n, m } = states;
    for (name, part) in [("h", h), ("c", c), ("n", n), ("m", m)] {
        shape.check(name, part.len(), shape.states());
    }
    shape.check("d_h", d_h.len(), shape.sequence());
    for part in &d_last {
        shape.check("d_last", part.len(), shape.state());
    }
    let (Some(c), Some(n), Some(m), Some(d_h)) =
        (E::as_f32(c), E::as_f32(n), E::as_f32(m), E::as_f32(d_h))
    else {
        let weights: Vec<&[E]> = weights.0.iter().map(RecurrentWeight::plain).collect();
        return reference::backward(shape, &weights, gates, [c, n, m], d_h, d_last);
    };
    let panels = weights.0.iter().map(RecurrentWeight::backward_panels).collect();
    let (gates, d_last) = (gates.map(SharedSlice::of_f32), d_last.map(SharedSlice::of_f32));
    vector::backward(cpu, shape, panels, gates, [c, n, m], d_h, d_last);
}
