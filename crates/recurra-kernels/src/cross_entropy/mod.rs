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
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod exponentials;
#[cfg(target_arch = "x86_64")]
mod first_pass;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
mod second_pass;
#[cfg(target_arch = "x86_64")]
mod stretches;
#[cfg(target_arch = "x86_64")]
mod tiles;

#[cfg(target_arch = "x86_64")]
use crate::tiles::Unit;
use crate::update::squared_norms;
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
///
/// # Shapes
/// As for [`Arguments`]; `d_hidden` (N, H), `d_weight` (V, H), `d_bias` (V), `squares` (V).
#[derive(Debug)]
pub struct Gradients<'a, E> {
    /// d loss / d nats of every row: 1/N for a mean.
    pub scale: E,
    /// Overwritten.
    pub d_hidden: &'a mut [E],
    /// Added to or overwritten, as `adds` says.
    pub d_weight: &'a mut [E],
    /// Added to or overwritten, as `adds` says.
    pub d_bias: &'a mut [E],
    /// Whether `d_weight` and `d_bias` hold something that is added to; else it does not matter what they hold.
    pub adds: bool,
    /// Overwritten: Σᵢ d_weight²ᵥᵢ of each row as it is in the end, for the norm that gradients are clipped by.
    pub squares: &'a mut [f64],
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
/// # Shapes
/// As for [`Arguments`] and [`Gradients`]; `nats` (N).
///
/// # Panics
/// When shapes do not fit each other or a target lies outside of the vocabulary.
#[track_caller]
pub fn forward_backward<E: Element>(
    cpu: &Cpu,
    arguments: Arguments<E>,
    nats: &mut [f64],
    gradients: Gradients<E>,
) {
    run(cpu, arguments, nats, Some(gradients));
}

#[track_caller]
fn run<E: Element>(
    cpu: &Cpu,
    arguments: Arguments<E>,
    nats: &mut [f64],
    mut gradients: Option<Gradients<E>>,
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
    if let Some(Gradients { d_hidden, d_weight, d_bias, squares, .. }) = &gradients {
        assert!(
            (d_hidden.len(), d_weight.len(), d_bias.len(), squares.len()) == (n * h, v * h, v, v),
            "gradients of ({n}, {h}), ({v}, {h}) and ({v}) in {}, {} and {} values, {} squares",
            d_hidden.len(),
            d_weight.len(),
            d_bias.len(),
            squares.len()
        );
    }
    let shape = blocks::Shape { n, h, v };
    #[cfg(target_arch = "x86_64")]
    if let (Some(unit), true, Some(hidden), Some(weight), Some(bias)) = (
        Unit::of(cpu.isa()),
        stretches::pays(shape),
        E::as_f32(hidden),
        E::as_f32(weight),
        E::as_f32(bias),
    ) {
        let arguments = Arguments { hidden, weight, bias, targets };
        return stretches::run(
            cpu,
            unit,
            shape,
            arguments,
            nats,
            gradients.map(Gradients::into_f32),
        );
    }
    if let Some(Gradients { d_weight, d_bias, adds: false, .. }) = &mut gradients {
        // In `f32` the first rows overwrite what is there.
        if n == 0 || E::as_f32(hidden).is_none() {
            d_weight.fill(E::ZERO);
        }
        d_bias.fill(E::ZERO);
    }
    match (E::as_f32(hidden), E::as_f32(weight), E::as_f32(bias)) {
        (Some(hidden), Some(weight), Some(bias)) => {
            let arguments = Arguments { hidden, weight, bias, targets };
            let gradients = gradients.as_mut().map(|all| all.reborrow().into_f32());
            blocks::run(cpu, shape, arguments, nats, gradients);
        }
        _ => reference::run(h, arguments, nats, gradients.as_mut().map(Gradients::reborrow)),
    }
    if let Some(Gradients { d_weight, squares, .. }) = gradients {
        squared_norms(cpu, d_weight, squares);
    }
}

impl<E: Element> Gradients<'_, E> {
    fn reborrow(&mut self) -> Gradients<'_, E> {
        Gradients {
            scale: self.scale,
            d_hidden: self.d_hidden,
            d_weight: self.d_weight,
            d_bias: self.d_bias,
            adds: self.adds,
            squares: self.squares,
        }
    }
}

impl<'a, E: Element> Gradients<'a, E> {
    /// The same as what `E` is known to be.
    fn into_f32(self) -> Gradients<'a, f32> {
        let f32s = |values: &'a mut [E]| E::as_f32_mut(values).expect("gradients of `f32`");
        Gradients {
            scale: self.scale.to_f64() as f32,
            d_hidden: f32s(self.d_hidden),
            d_weight: f32s(self.d_weight),
            d_bias: f32s(self.d_bias),
            adds: self.adds,
            squares: self.squares,
        }
    }
}

#[cfg(test)]
mod tests;
