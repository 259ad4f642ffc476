//! Long short-term memory over a whole sequence, forward and backward.
//!
//! Hochreiter & Schmidhuber (1997) with the forget gate of Gers, Schmidhuber & Cummins (2000), without peepholes, gates
//! in the order i, f, g, o as PyTorch's `nn.LSTM`. With aₜ = W_ih·xₜ + b_ih + b_hh (given) and ⊙ element by element:
//!
//! ```text
//! i = σ(a_i + W_hi·h₋)     f = σ(a_f + W_hf·h₋)     g = tanh(a_g + W_hg·h₋)     o = σ(a_o + W_ho·h₋)
//! c = f ⊙ c₋ + i ⊙ g
//! h = o ⊙ tanh(c)
//! ```
//!
//! where h₋ and c₋ are the state of the step before. Backpropagation through time (Werbos, 1990) goes from the last step
//! to the first; d_h is the gradient of the output plus what the step after sends back, d_c likewise:
//!
//! ```text
//! d_c   += d_h ⊙ o ⊙ (1 − tanh²(c))
//! d_a_i  = d_c ⊙ g ⊙ i ⊙ (1 − i)             d_a_f = d_c ⊙ c₋ ⊙ f ⊙ (1 − f)
//! d_a_g  = d_c ⊙ i ⊙ (1 − g²)                d_a_o = d_h ⊙ tanh(c) ⊙ o ⊙ (1 − o)
//! d_c₋   = d_c ⊙ f                           d_h₋  = W_hhᵀ·d_a
//! ```
//!
//! The gradients of the weights and of x are large products over all steps, which the caller forms from d_a.
//!
//! Melis, Dyer and Blunsom (2018) add two things, see [`Form`]. A *coupled* input gate lets in no more than is forgotten,
//! i = min(σ(…), 1 − f); of the two the smaller one has the gradient. *State dropout* shows the products h₋ ⊙ m in place of h₋,
//! with one m (B, H) for all steps (Gal and Ghahramani 2016); then d_h₋ = m ⊙ W_hhᵀ·d_a.

pub(crate) mod cell;
pub(crate) mod reference;
mod vector;

pub use crate::recurrent::{RecurrentWeight, Shape};
use crate::{Cpu, Element};

#[cfg(test)]
mod tests;

const GATES: usize = 4;

/// What an LSTM has beside the usual; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form<'a, E> {
    /// Whether the input gate lets in no more than 1 − f.
    pub is_coupled: bool,
    /// (B, H): what h is multiplied with before the products see it.
    pub state_mask: Option<&'a [E]>,
}

/// The states and gates of all steps.
///
/// # Shapes
/// - `gates` (T, B, 4H), in: W_ih·x + b_ih + b_hh; out: i, f, g, o after their activations.
/// - `h` and `c` (T+1, B, H): the first of each is the state before the sequence, the others are written.
/// - `seen` (T+1, B, H): with a mask of the state, h ⊙ mask is written there.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set.
#[track_caller]
#[allow(clippy::too_many_arguments)] // the cell has that many
pub fn forward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    form: Form<'_, E>,
    weight: &RecurrentWeight<E>,
    gates: &mut [E],
    h: &mut [E],
    c: &mut [E],
    mut seen: Option<&mut [E]>,
) {
    check(cpu, shape, form, weight, gates.len(), c.len());
    assert_eq!(
        seen.as_ref().map(|seen| seen.len()),
        form.state_mask.map(|_| h.len()),
        "states through a mask"
    );
    shape.check("h", h.len(), shape.states());
    if let (Some(mask), Some(seen)) = (form.state_mask, &mut seen) {
        seen.iter_mut().zip(&*h).zip(mask).for_each(|((seen, &h), &mask)| *seen = h * mask);
    }
    if let (Some(gates), Some(h), Some(c)) =
        (E::as_f32_mut(gates), E::as_f32_mut(h), E::as_f32_mut(c))
    {
        let (form, seen) = (form.as_f32(), seen.and_then(E::as_f32_mut));
        return vector::forward(cpu, shape, form, weight.forward_panels(), gates, h, c, seen);
    }
    reference::forward(shape, form, weight.plain(), gates, h, c, seen);
}

/// The gradients of all pre-activations and of the state before the sequence.
///
/// # Shapes
/// - `gates` (T, B, 4H), in: as [`forward`] left them; out: the gradients of W_ih·x + b_ih + b_hh.
/// - `c` (T+1, B, H) as [`forward`] left it; `d_h` (T, B, H) the gradient of every output.
/// - `d_h_last` and `d_c_last` (B, H), in: the gradient of the last state beside that in `d_h`; out: of the first state.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set or for the forward sweep only.
#[track_caller]
#[allow(clippy::too_many_arguments)] // the cell has that many
pub fn backward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    form: Form<'_, E>,
    weight: &RecurrentWeight<E>,
    gates: &mut [E],
    c: &[E],
    d_h: &[E],
    d_h_last: &mut [E],
    d_c_last: &mut [E],
) {
    check(cpu, shape, form, weight, gates.len(), c.len());
    shape.check("d_h", d_h.len(), shape.sequence(shape.hidden));
    shape.check("d_h_last", d_h_last.len(), shape.state());
    shape.check("d_c_last", d_c_last.len(), shape.state());
    if let (Some(gates), Some(c), Some(d_h), Some(d_h_last), Some(d_c_last)) = (
        E::as_f32_mut(gates),
        E::as_f32(c),
        E::as_f32(d_h),
        E::as_f32_mut(d_h_last),
        E::as_f32_mut(d_c_last),
    ) {
        let panels = weight.backward_panels();
        let form = form.as_f32();
        return vector::backward(cpu, shape, form, panels, gates, c, d_h, d_h_last, d_c_last);
    }
    reference::backward(shape, form, weight.plain(), gates, c, d_h, d_h_last, d_c_last);
}

impl<'a, E: Element> Form<'a, E> {
    fn as_f32(self) -> Form<'a, f32> {
        Form { is_coupled: self.is_coupled, state_mask: self.state_mask.and_then(E::as_f32) }
    }
}

#[track_caller]
fn check<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    form: Form<'_, E>,
    weight: &RecurrentWeight<E>,
    gates: usize,
    c: usize,
) {
    if let Some(mask) = form.state_mask {
        shape.check("state_mask", mask.len(), shape.state());
    }
    weight.check(cpu, shape, GATES);
    shape.check("gates", gates, shape.sequence(GATES * shape.hidden));
    shape.check("c", c, shape.states());
}
