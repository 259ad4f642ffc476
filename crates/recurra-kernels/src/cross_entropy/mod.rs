//! Linear layer, softmax and cross-entropy in one: the loss of a language model without its logits.
//!
//! With logits l_n = W·h_n + b, probabilities p_n = softmax(l_n) and the token t_n that came:
//!
//! - nats_n = log Σ_v exp(l_nv) − l_n,tₙ, the maximum taken out of the exponential;
//! - ∂nats_n/∂l_nv = p_nv − 1 where v = t_n, p_nv elsewhere; d_hidden, d_weight and d_bias are the linear layer's.
//!
//! Logits are held for a block at a time (`blocks` says how the blocks are chosen); memory is bounded whatever N and V.
//! A row whose logits are not all finite gets a loss that is not a number, and so do the gradients it reaches.

mod blocks;
mod reference;
mod vector;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use crate::{Cpu, Element};

/// What the loss is computed from.
///
/// # Shapes
/// `hidden` (N, H), `weight` (V, H), `bias` (V), `targets` (N), each below V.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a, E> {
    /// The hidden state at each place.
    pub hidden: &'a [E],
    /// One row a token of the vocabulary.
    pub weight: &'a [E],
    /// One value a token of the vocabulary.
    pub bias: &'a [E],
    /// The token that came at each place.
    pub targets: &'a [u32],
}

/// Where the gradients go.
struct Gradients<'a, E> {
    /// d loss / d nats of every row.
    scale: E,
    d_hidden: &'a mut [E],
    d_weight: &'a mut [E],
    d_bias: &'a mut [E],
}

/// The loss of every row in nats.
///
/// The same bits for a row whatever other rows there are, and as [`forward_backward`] gives.
///
/// # Shapes
/// As for [`Arguments`]; `nats` (N).
///
/// # Panics
/// When shapes do not fit each other or a target lies outside of the vocabulary.
#[track_caller]
pub fn forward<E: Element>(cpu: &Cpu, arguments: Arguments<E>, nats: &mut [f64]) {
    run(cpu, arguments, nats, None);
}

/// The loss of every row in nats, and its gradients.
///
/// `d_hidden` is overwritten; `d_weight` and `d_bias` are added to. `scale` is d loss / d nats of every row: 1/N for a mean.
///
/// # Shapes
/// As for [`Arguments`]; `nats` (N), `d_hidden` (N, H), `d_weight` (V, H), `d_bias` (V).
///
/// # Panics
/// When shapes do not fit each other or a target lies outside of the vocabulary.
#[track_caller]
pub fn forward_backward<E: Element>(
    cpu: &Cpu,
    arguments: Arguments<E>,
    scale: E,
    nats: &mut [f64],
    d_hidden: &mut [E],
    d_weight: &mut [E],
    d_bias: &mut [E],
) {
    run(cpu, arguments, nats, Some(Gradients { scale, d_hidden, d_weight, d_bias }));
}

#[track_caller]
fn run<E: Element>(
    cpu: &Cpu,
    arguments: Arguments<E>,
    nats: &mut [f64],
    gradients: Option<Gradients<E>>,
) {
    let Arguments { hidden, weight, bias, targets } = arguments;
    let (n, v) = (targets.len(), bias.len());
    let h = weight.len().checked_div(v).unwrap_or(0);
    assert!(
        weight.len() == v * h && hidden.len() == n * h && nats.len() == n,
        "cross-entropy of {n} targets over {v} tokens: {} hidden values, {} weights, {} losses",
        hidden.len(),
        weight.len(),
        nats.len()
    );
    if let Some(place) = targets.iter().position(|&target| target as usize >= v) {
        panic!("target {} at row {place} of {n} with a vocabulary of {v}", targets[place]);
    }
    if let Some(Gradients { d_hidden, d_weight, d_bias, .. }) = &gradients {
        assert!(
            (d_hidden.len(), d_weight.len(), d_bias.len()) == (n * h, v * h, v),
            "gradients of ({n}, {h}), ({v}, {h}) and ({v}) in {}, {} and {} values",
            d_hidden.len(),
            d_weight.len(),
            d_bias.len()
        );
    }
    let shape = blocks::Shape { n, h, v };
    match (E::as_f32(hidden), E::as_f32(weight), E::as_f32(bias)) {
        (Some(hidden), Some(weight), Some(bias)) => {
            let gradients = gradients.map(|all| Gradients {
                scale: all.scale.to_f64() as f32,
                d_hidden: E::as_f32_mut(all.d_hidden).expect("one type for all"),
                d_weight: E::as_f32_mut(all.d_weight).expect("one type for all"),
                d_bias: E::as_f32_mut(all.d_bias).expect("one type for all"),
            });
            blocks::run(cpu, shape, Arguments { hidden, weight, bias, targets }, nats, gradients);
        }
        _ => reference::run(h, arguments, nats, gradients),
    }
}

#[cfg(test)]
mod tests;
