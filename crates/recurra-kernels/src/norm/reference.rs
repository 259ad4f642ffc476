//! The formulas, row by row.

use super::{Affine, Gradients, Kind, Norm};
use crate::Element;

/// x̂ of a group, and r.
fn normalised<E: Element>(norm: Norm, x: &[E]) -> (Vec<E>, E) {
    let n = E::from_f64(x.len() as f64);
    let mean = match norm.kind {
        Kind::Rms => E::ZERO,
        Kind::Layer => x.iter().copied().sum::<E>() / n,
    };
    let square = x.iter().map(|&x| (x - mean) * (x - mean)).sum::<E>() / n;
    let r = E::ONE / (square + E::from_f64(norm.epsilon.into())).sqrt();
    (x.iter().map(|&x| (x - mean) * r).collect(), r)
}

pub(super) fn forward<E: Element>(norm: Norm, x: &[E], affine: Affine<'_, E>, y: &mut [E]) {
    let cols = affine.gain.len();
    let size = (cols / norm.groups).max(1);
    for (idx, (x, y)) in x.chunks(size).zip(y.chunks_mut(size)).enumerate() {
        let (normal, _) = normalised(norm, x);
        let first = idx % norm.groups * size;
        for (i, (&normal, y)) in normal.iter().zip(y).enumerate() {
            *y = normal * affine.gain[first + i];
            if let Some(bias) = affine.bias {
                *y += bias[first + i];
            }
        }
    }
}

pub(super) fn backward<E: Element>(
    norm: Norm,
    x: &[E],
    affine: Affine<'_, E>,
    d_y: &[E],
    mut gradients: Gradients<'_, E>,
) {
    let cols = affine.gain.len();
    let size = (cols / norm.groups).max(1);
    let n = E::from_f64(size as f64);
    let chunks = x.chunks(size).zip(d_y.chunks(size)).zip(gradients.d_x.chunks_mut(size));
    for (idx, ((x, d_y), d_x)) in chunks.enumerate() {
        let (normal, r) = normalised(norm, x);
        let first = idx % norm.groups * size;
        let delta: Vec<E> =
            d_y.iter().zip(&affine.gain[first..]).map(|(&d, &gain)| d * gain).collect();
        let along = delta.iter().zip(&normal).map(|(&d, &x)| d * x).sum::<E>() / n;
        let mean = match norm.kind {
            Kind::Rms => E::ZERO,
            Kind::Layer => delta.iter().copied().sum::<E>() / n,
        };
        for i in 0..size {
            let d = r * (delta[i] - mean - normal[i] * along);
            d_x[i] = if gradients.adds { d_x[i] + d } else { d };
            gradients.d_gain[first + i] += d_y[i] * normal[i];
            if let Some(d_bias) = &mut gradients.d_bias {
                d_bias[first + i] += d_y[i];
            }
        }
    }
}
