//! The loops over rows, once for every vector type.

use super::{Back, Kind, Norm, Rows};
use crate::recurrent::{load, store};
use crate::simd::Vector;

/// Chains of a sum, which hide the latency of an addition.
const CHAINS: usize = 4;

/// Σ f(v) over the vectors of `n` values, lane by lane in four chains; f is asked for the place and how many lanes exist.
#[inline(always)]
unsafe fn sum<V: Vector>(n: usize, f: impl Fn(usize, usize) -> V) -> f32 {
    // SAFETY: by the contract of `Vector`.
    unsafe {
        let mut totals = [V::splat(0.0); CHAINS];
        let mut at = 0;
        while at + CHAINS * V::LANES <= n {
            for (chain, total) in totals.iter_mut().enumerate() {
                *total = total.add(f(at + chain * V::LANES, V::LANES));
            }
            at += CHAINS * V::LANES;
        }
        while at < n {
            totals[0] = totals[0].add(f(at, (n - at).min(V::LANES)));
            at += V::LANES;
        }
        totals[0].add(totals[1]).add(totals[2].add(totals[3])).sum()
    }
}

/// μ and r of a group.
#[inline(always)]
unsafe fn moments<V: Vector>(norm: Norm, x: &[f32]) -> (f32, f32) {
    let (from, n) = (x.as_ptr(), x.len());
    // SAFETY: places inside of `x`; a lane past the end stays zero.
    unsafe {
        let (mean, squares) = match norm.kind {
            Kind::Rms => {
                let square = |at, lanes| {
                    let x: V = load(from.add(at), lanes);
                    x.mul(x)
                };
                (0.0, sum::<V>(n, square))
            }
            Kind::Layer => {
                let mean = sum::<V>(n, |at, lanes| load(from.add(at), lanes)) / n as f32;
                let centre = V::splat(mean);
                let square = |at, lanes| {
                    let x: V = load::<V>(from.add(at), lanes).sub(centre);
                    if lanes == V::LANES { x.mul(x) } else { first(x.mul(x), lanes) }
                };
                (mean, sum::<V>(n, square))
            }
        };
        (mean, 1.0 / (squares / n as f32 + norm.epsilon).sqrt())
    }
}

/// The first lanes, zero in the others.
#[inline(always)]
unsafe fn first<V: Vector>(v: V, lanes: usize) -> V {
    let mut values = [0.0_f32; 16];
    // SAFETY: no vector has more than sixteen lanes.
    unsafe {
        v.store_first(values.as_mut_ptr(), lanes);
        V::load(values.as_ptr())
    }
}

/// y of some rows.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn forward<V: Vector>(rows: &Rows<'_>, y: &mut [f32]) {
    let &Rows { norm, x, affine } = rows;
    let size = (affine.gain.len() / norm.groups).max(1);
    for (idx, (x, y)) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)).enumerate() {
        let group = idx % norm.groups * size;
        let gain = affine.gain[group..group + size].as_ptr();
        let bias = affine.bias.map(|bias| bias[group..group + size].as_ptr());
        // SAFETY: places inside of slices of one length.
        unsafe {
            let (mean, r) = moments::<V>(norm, x);
            let (mean, r) = (V::splat(mean), V::splat(r));
            for at in (0..size).step_by(V::LANES) {
                let lanes = (size - at).min(V::LANES);
                let normal = load::<V>(x.as_ptr().add(at), lanes).sub(mean).mul(r);
                let gain = load::<V>(gain.add(at), lanes);
                let out = match bias {
                    Some(bias) => normal.mul_add(gain, load(bias.add(at), lanes)),
                    None => normal.mul(gain),
                };
                store(out, y.as_mut_ptr().add(at), lanes);
            }
        }
    }
}

/// The way back of some rows.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn backward<V: Vector>(rows: &Rows<'_>, d_y: &[f32], back: &mut Back<'_>) {
    let &Rows { norm, x, affine } = rows;
    let cols = affine.gain.len();
    let size = (cols / norm.groups).max(1);
    let (d_gain, d_bias) = back.sums.split_at_mut(cols);
    let chunks = x.chunks_exact(size).zip(d_y.chunks_exact(size));
    for (idx, ((x, d_y), d_x)) in chunks.zip(back.d_x.chunks_exact_mut(size)).enumerate() {
        let group = idx % norm.groups * size;
        let gain = affine.gain[group..group + size].as_ptr();
        let d_gain = d_gain[group..group + size].as_mut_ptr();
        let d_bias = (!d_bias.is_empty()).then(|| d_bias[group..group + size].as_mut_ptr());
        // SAFETY: places inside of slices of one length.
        unsafe {
            let (mean, r) = moments::<V>(norm, x);
            let (mean, r) = (V::splat(mean), V::splat(r));
            let normal = |at: usize, lanes| load::<V>(x.as_ptr().add(at), lanes).sub(mean).mul(r);
            let delta = |at: usize, lanes| {
                load::<V>(d_y.as_ptr().add(at), lanes).mul(load::<V>(gain.add(at), lanes))
            };
            // Lanes past the end are zero in δ.
            let along = sum::<V>(size, |at, lanes| delta(at, lanes).mul(normal(at, lanes)));
            let level = match norm.kind {
                Kind::Rms => 0.0,
                Kind::Layer => sum::<V>(size, delta) / size as f32,
            };
            let (along, level) = (V::splat(-along / size as f32), V::splat(level));
            for at in (0..size).step_by(V::LANES) {
                let lanes = (size - at).min(V::LANES);
                let normal = normal(at, lanes);
                let d = normal.mul_add(along, delta(at, lanes).sub(level)).mul(r);
                let to = d_x.as_mut_ptr().add(at);
                store(if back.adds { d.add(load(to, lanes)) } else { d }, to, lanes);
                let d_y = load::<V>(d_y.as_ptr().add(at), lanes);
                let to = d_gain.add(at);
                store(d_y.mul_add(normal, load(to, lanes)), to, lanes);
                if let Some(d_bias) = d_bias {
                    let to = d_bias.add(at);
                    store(d_y.add(load(to, lanes)), to, lanes);
                }
            }
        }
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        pub(super) static LOOPS: super::Loops = super::Loops { forward, backward };

        $(#[$feature])?
        unsafe fn forward(rows: &super::Rows<'_>, y: &mut [f32]) {
            // SAFETY: by this function's contract, which is that of `vector::forward`.
            unsafe { super::vector::forward::<$vector>(rows, y) }
        }

        $(#[$feature])?
        unsafe fn backward(rows: &super::Rows<'_>, d_y: &[f32], back: &mut super::Back<'_>) {
            // SAFETY: by this function's contract, which is that of `vector::backward`.
            unsafe { super::vector::backward::<$vector>(rows, d_y, back) }
        }
    };
}

pub(super) use loops;
