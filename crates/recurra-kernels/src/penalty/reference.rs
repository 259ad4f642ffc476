//! Plain loops.

use crate::Element;

pub(super) fn activation<E: Element>(h: &[E], scale: f64, d_h: &mut [E]) -> f64 {
    let n = h.len().max(1) as f64;
    let slope = E::from_f64(2.0 * scale / n);
    let mut sum = 0.0;
    for (&h, d_h) in h.iter().zip(d_h) {
        sum += (h * h).to_f64();
        *d_h += slope * h;
    }
    sum / n
}

pub(super) fn temporal<E: Element>(h: &[E], step: usize, scale: f64, d_h: &mut [E]) -> f64 {
    let n = h.len() - step.min(h.len());
    if n == 0 {
        return 0.0;
    }
    let slope = E::from_f64(2.0 * scale / n as f64);
    let mut sum = 0.0;
    for now in step..h.len() {
        let change = h[now] - h[now - step];
        sum += (change * change).to_f64();
        d_h[now] += slope * change;
        d_h[now - step] += E::ZERO - slope * change;
    }
    sum / n as f64
}
