//! The simple recurrent network over a whole sequence, forward and backward.
//!
//! Elman (1990), as PyTorch's `nn.RNN` with tanh or ReLU. With aₜ = W_ih·xₜ + b_ih + b_hh (given):
//!
//! ```text
//! h = φ(a + W_hh·h₋)        φ = tanh, or max(0, ·)
//! ```
//!
//! where h₋ is the state of the step before. Backpropagation through time (Werbos, 1990) goes from the last step to the
//! first; d_h is the gradient of the output plus what the step after sends back:
//!
//! ```text
//! d_a  = d_h ⊙ φ′           φ′ = 1 − h² for tanh; 1 where h > 0, else 0, for ReLU
//! d_h₋ = W_hhᵀ·d_a
//! ```
//!
//! The gradients of the weights and of x are large products over all steps, which the caller forms from d_a.

pub(crate) mod cell;
pub(crate) mod reference;
mod vector;

pub use crate::recurrent::{RecurrentWeight, Shape};
use crate::{Cpu, Element};

#[cfg(test)]
mod tests;

/// What bends the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
}

/// The states of all steps.
///
/// # Shapes
/// - `h` (T+1, B, H), in: the state before the sequence, then W_ih·x + b_ih + b_hh of every step; out: the states.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    activation: Activation,
    weight: &RecurrentWeight<E>,
    h: &mut [E],
) {
    check(cpu, shape, weight, h.len());
    if let Some(h) = E::as_f32_mut(h) {
        return vector::forward(cpu, shape, activation, weight.forward_panels(), h);
    }
    reference::forward(shape, activation, weight.plain(), h);
}

/// The gradients of all pre-activations and of the state before the sequence.
///
/// # Shapes
/// - `h` (T+1, B, H) as [`forward`] left it.
/// - `d_h` (T, B, H), in: the gradient of every output; out: of W_ih·x + b_ih + b_hh.
/// - `d_h_last` (B, H), in: the gradient of the last state beside that in `d_h`; out: of the first state.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set or for the forward sweep only.
#[track_caller]
pub fn backward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    activation: Activation,
    weight: &RecurrentWeight<E>,
    h: &[E],
    d_h: &mut [E],
    d_h_last: &mut [E],
) {
    check(cpu, shape, weight, h.len());
    shape.check("d_h", d_h.len(), shape.sequence(shape.hidden));
    shape.check("d_h_last", d_h_last.len(), shape.state());
    if let (Some(h), Some(d_h), Some(d_h_last)) =
        (E::as_f32(h), E::as_f32_mut(d_h), E::as_f32_mut(d_h_last))
    {
        let panels = weight.backward_panels();
        return vector::backward(cpu, shape, activation, panels, h, d_h, d_h_last);
    }
    reference::backward(shape, activation, weight.plain(), h, d_h, d_h_last);
}

#[track_caller]
fn check<E: Element>(cpu: &Cpu, shape: Shape, weight: &RecurrentWeight<E>, h: usize) {
    weight.check(cpu, shape, 1);
    shape.check("h", h, shape.states());
}
