//! The loss and its gradients as the formulas say it.

use super::{Arguments, Gradients};
use crate::Element;

/// Every row after the other, all of its logits at once. `h` is the size of a row of `hidden`.
pub(super) fn run<E: Element>(
    h: usize,
    arguments: Arguments<E>,
    nats: &mut [f64],
    mut gradients: Option<Gradients<E>>,
) {
    let Arguments { hidden, weight, bias, targets } = arguments;
    for (n, &target) in targets.iter().enumerate() {
        let target = target as usize;
        let row = &hidden[n * h..][..h];
        let logits: Vec<E> = bias
            .iter()
            .enumerate()
            .map(|(v, &bias)| {
                weight[v * h..][..h].iter().zip(row).fold(bias, |sum, (&w, &x)| sum + w * x)
            })
            .collect();
        let largest = logits.iter().fold(logits[0], |a, &b| if b > a { b } else { a });
        let finite = logits.iter().all(|logit| logit.to_f64().is_finite());
        let exps: Vec<E> = logits.iter().map(|&logit| (logit - largest).exp()).collect();
        let sum: E = exps.iter().copied().sum();
        nats[n] = if finite { (sum.ln() + largest - logits[target]).to_f64() } else { f64::NAN };

        let Some(gradients) = &mut gradients else { continue };
        gradients.d_hidden[n * h..][..h].fill(E::ZERO);
        for (v, &exp) in exps.iter().enumerate() {
            let one = if v == target { E::ONE } else { E::ZERO };
            let d_logit = (exp / sum - one) * gradients.scale;
            gradients.d_bias[v] += d_logit;
            for i in 0..h {
                gradients.d_hidden[n * h + i] += d_logit * weight[v * h + i];
                gradients.d_weight[v * h + i] += d_logit * row[i];
            }
        }
    }
}
