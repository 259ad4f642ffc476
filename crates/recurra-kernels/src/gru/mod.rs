//! Gated recurrent unit over a whole sequence, forward and backward.
//!
//! Cho et al. (2014), in the variant of PyTorch's `nn.GRU` (and cuDNN): the reset gate multiplies the candidate's
//! recurrent term with its own bias, W_hn·h₋ + b_hn, after the product. Gates in the order r, z, n. With
//! aₜ = W_ih·xₜ + b_ih, and b_hh added for r and z (given), and ⊙ element by element:
//!
//! ```text
//! r = σ(a_r + W_hr·h₋)          z = σ(a_z + W_hz·h₋)
//! q = W_hn·h₋ + b_hn            n = tanh(a_n + r ⊙ q)
//! h = (1 − z) ⊙ n + z ⊙ h₋
//! ```
//!
//! where h₋ is the state of the step before. Backpropagation through time (Werbos, 1990) goes from the last step to the
//! first; d_h is the gradient of the output plus what the step after sends back:
//!
//! ```text
//! d_a_n = d_h ⊙ (1 − z) ⊙ (1 − n²)
//! d_a_z = d_h ⊙ (h₋ − n) ⊙ z ⊙ (1 − z)
//! d_a_r = d_a_n ⊙ q ⊙ r ⊙ (1 − r)
//! d_q   = d_a_n ⊙ r
//! d_h₋  = d_h ⊙ z + W_hrᵀ·d_a_r + W_hzᵀ·d_a_z + W_hnᵀ·d_q
//! ```
//!
//! The gradients of the weights and of x are large products over all steps, which the caller forms from d_a and d_q.

pub(crate) mod cell;
pub(crate) mod reference;
mod vector;

pub use crate::recurrent::{RecurrentWeight, Shape};
use crate::{Cpu, Element};

#[cfg(test)]
mod tests;

const GATES: usize = 3;

/// The states and gates of all steps.
///
/// # Shapes
/// - `bias_hn` (H): the bias inside the reset gate's reach, b_hn.
/// - `gates` (T, B, 3H), in: W_ih·x + b_ih, and + b_hh for r and z; out: r, z, n after their activations.
/// - `hn` (T, B, H), out: q = W_hn·h₋ + b_hn.
/// - `h` (T+1, B, H): the first is the state before the sequence, the others are written.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set.
#[track_caller]
pub fn forward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    weight: &RecurrentWeight<E>,
    bias_hn: &[E],
    gates: &mut [E],
    hn: &mut [E],
    h: &mut [E],
) {
    shape.check("bias_hn", bias_hn.len(), shape.hidden);
    check(cpu, shape, weight, gates.len(), hn.len(), h.len());
    if let (Some(bias_hn), Some(gates), Some(hn), Some(h)) =
        (E::as_f32(bias_hn), E::as_f32_mut(gates), E::as_f32_mut(hn), E::as_f32_mut(h))
    {
        return vector::forward(cpu, shape, weight.forward_panels(), bias_hn, gates, hn, h);
    }
    reference::forward(shape, weight.plain(), bias_hn, gates, hn, h);
}

/// The gradients of all pre-activations and of the state before the sequence.
///
/// # Shapes
/// - `gates` (T, B, 3H), in: as [`forward`] left them; out: the gradients of a: of W_ih·x + b_ih (and of b_hh for r, z).
/// - `hn` (T, B, H), in: as [`forward`] left it; out: d_q, the gradient of W_hn·h₋ + b_hn.
/// - `h` (T+1, B, H) as [`forward`] left it; `d_h` (T, B, H) the gradient of every output.
/// - `d_h_last` (B, H), in: the gradient of the last state beside that in `d_h`; out: of the first state.
///
/// # Panics
/// When a size disagrees or is zero, or the weight was packed for another instruction set or for the forward sweep only.
#[track_caller]
#[allow(clippy::too_many_arguments)] // the cell has that many
pub fn backward<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    weight: &RecurrentWeight<E>,
    gates: &mut [E],
    hn: &mut [E],
    h: &[E],
    d_h: &[E],
    d_h_last: &mut [E],
) {
    check(cpu, shape, weight, gates.len(), hn.len(), h.len());
    shape.check("d_h", d_h.len(), shape.sequence(shape.hidden));
    shape.check("d_h_last", d_h_last.len(), shape.state());
    if let (Some(gates), Some(hn), Some(h), Some(d_h), Some(d_h_last)) = (
        E::as_f32_mut(gates),
        E::as_f32_mut(hn),
        E::as_f32(h),
        E::as_f32(d_h),
        E::as_f32_mut(d_h_last),
    ) {
        return vector::backward(cpu, shape, weight.backward_panels(), gates, hn, h, d_h, d_h_last);
    }
    reference::backward(shape, weight.plain(), gates, hn, h, d_h, d_h_last);
}

#[track_caller]
fn check<E: Element>(
    cpu: &Cpu,
    shape: Shape,
    weight: &RecurrentWeight<E>,
    gates: usize,
    hn: usize,
    h: usize,
) {
    weight.check(cpu, shape, GATES);
    shape.check("gates", gates, shape.sequence(GATES * shape.hidden));
    shape.check("hn", hn, shape.sequence(shape.hidden));
    shape.check("h", h, shape.states());
}
