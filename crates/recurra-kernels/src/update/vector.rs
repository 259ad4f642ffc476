//! The loops over vectors, written once. No closures: one is a function of its own, compiled without the instruction set
//! of the function around it, and every vector operation in it becomes a call (measured: twenty times slower).

use super::reference::SUMS;
use super::{AdamStep, DynamicStep, SgdStep};
use crate::recurrent::{load, store};
use crate::simd::Vector;

/// Σ g² of one block, in the reference's order: arrays that the compiler turns into vectors of `f64`.
#[inline(always)]
pub fn squared_norm(block: &[f32]) -> f64 {
    let mut sums = [0.0; SUMS];
    let (whole, rest) = block.as_chunks::<SUMS>();
    for values in whole {
        for (sum, &g) in sums.iter_mut().zip(values) {
            *sum += f64::from(g) * f64::from(g);
        }
    }
    for (sum, &g) in sums.iter_mut().zip(rest) {
        *sum += f64::from(g) * f64::from(g);
    }
    sums.iter().sum()
}

/// [`reference::sgd`](super::reference::sgd).
///
/// # Safety
/// That of [`Vector`]; all slices have one length.
#[inline(always)]
pub unsafe fn sgd<V: Vector>(
    step: SgdStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    momentum: Option<&mut [f32]>,
) {
    // SAFETY: by this function's contract; `at` + `n` stays within the length.
    unsafe {
        let (scale, weight_decay) = (V::splat(step.scale), V::splat(step.weight_decay));
        let (keep, minus_lr) = (V::splat(step.momentum), V::splat(-step.lr));
        let (len, value, gradient) = (value.len(), value.as_mut_ptr(), gradient.as_mut_ptr());
        let velocity = momentum.map(<[f32]>::as_mut_ptr);
        for at in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - at);
            let x: V = load(value.add(at), n);
            let g: V = load(gradient.add(at), n);
            let mut u = g.mul_add(scale, x.mul(weight_decay));
            if let Some(velocity) = velocity {
                u = load::<V>(velocity.add(at), n).mul_add(keep, u);
                store(u, velocity.add(at), n);
            }
            store(u.mul_add(minus_lr, x), value.add(at), n);
            store(V::splat(0.0), gradient.add(at), n);
        }
    }
}

/// [`reference::adam`](super::reference::adam).
///
/// # Safety
/// That of [`Vector`]; all slices have one length.
#[inline(always)]
pub unsafe fn adam<V: Vector>(
    step: AdamStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    m: Option<&mut [f32]>,
    v: &mut [f32],
) {
    // SAFETY: by this function's contract; `at` + `n` stays within the length.
    unsafe {
        let (scale, pull, keep) = (V::splat(step.scale), V::splat(step.pull), V::splat(step.keep));
        let (toward_m, keep_v) = (V::splat(step.toward_m), V::splat(step.keep_v));
        let (add_v, minus_rate) = (V::splat(step.add_v), V::splat(-step.rate));
        let (root_scale, epsilon) = (V::splat(step.root_scale), V::splat(step.epsilon));
        let (len, value, gradient) = (value.len(), value.as_mut_ptr(), gradient.as_mut_ptr());
        let (m, v) = (m.map(<[f32]>::as_mut_ptr), v.as_mut_ptr());
        for at in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - at);
            let x: V = load(value.add(at), n);
            let g = load::<V>(gradient.add(at), n).mul_add(scale, x.mul(pull));
            let mut first = g;
            if let Some(m) = m {
                let before: V = load(m.add(at), n);
                first = g.sub(before).mul_add(toward_m, before);
                store(first, m.add(at), n);
            }
            let second: V = load(v.add(at), n);
            let second = second.mul_add(keep_v, g.mul(g).mul(add_v));
            let below = second.sqrt().mul_add(root_scale, epsilon);
            store(first.div(below).mul_add(minus_rate, x.mul(keep)), value.add(at), n);
            store(second, v.add(at), n);
            store(V::splat(0.0), gradient.add(at), n);
        }
    }
}

/// [`reference::dynamic`](super::reference::dynamic).
///
/// # Safety
/// That of [`Vector`]; all slices have one length.
#[inline(always)]
pub unsafe fn dynamic<V: Vector>(
    step: DynamicStep<f32>,
    value: &mut [f32],
    gradient: &mut [f32],
    [root, origin]: [&[f32]; 2],
) {
    // SAFETY: by this function's contract; `at` + `n` stays within the length.
    unsafe {
        let (minus_lr, decay) = (V::splat(-step.lr), V::splat(step.decay));
        let (epsilon, one) = (V::splat(step.epsilon), V::splat(1.0));
        let (len, x, gradient) = (value.len(), value.as_mut_ptr(), gradient.as_mut_ptr());
        let (root, origin) = (root.as_ptr(), origin.as_ptr());
        for at in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - at);
            let (g, r): (V, V) = (load(gradient.add(at), n), load(root.add(at), n));
            let (now, before): (V, V) = (load(x.add(at), n), load(origin.add(at), n));
            let back = before.sub(now).mul_add(r.mul(decay).min(one), now);
            let next = g.div(r.add(epsilon)).mul_add(minus_lr, back);
            store(next, x.add(at), n);
            store(V::splat(0.0), gradient.add(at), n);
        }
    }
}

/// [`reference::average`](super::reference::average).
///
/// # Safety
/// That of [`Vector`]; both slices have one length.
#[inline(always)]
pub unsafe fn average<V: Vector>(weight: f32, value: &[f32], average: &mut [f32]) {
    // SAFETY: by this function's contract; `at` + `n` stays within the length.
    unsafe {
        let weight = V::splat(weight);
        let (len, value, average) = (value.len(), value.as_ptr(), average.as_mut_ptr());
        for at in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - at);
            let mean: V = load(average.add(at), n);
            let x: V = load(value.add(at), n);
            store(x.sub(mean).mul_add(weight, mean), average.add(at), n);
        }
    }
}

/// [`reference::add_squares`](super::reference::add_squares).
///
/// # Safety
/// That of [`Vector`]; both slices have one length.
#[inline(always)]
pub unsafe fn add_squares<V: Vector>(gradient: &mut [f32], sum: &mut [f32]) {
    // SAFETY: by this function's contract; `at` + `n` stays within the length.
    unsafe {
        let (len, gradient, sum) = (sum.len(), gradient.as_mut_ptr(), sum.as_mut_ptr());
        for at in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - at);
            let g: V = load(gradient.add(at), n);
            store(g.mul_add(g, load(sum.add(at), n)), sum.add(at), n);
            store(V::splat(0.0), gradient.add(at), n);
        }
    }
}

/// The loops of one instruction set, compiled with its features.
macro_rules! loops {
    ($vector:ty, [$($feature:meta)?]) => {
        /// [`super::vector::squared_norm`].
        $(#[$feature])?
        pub fn squared_norm(block: &[f32]) -> f64 {
            super::vector::squared_norm(block)
        }

        /// [`super::vector::sgd`].
        ///
        /// # Safety
        /// As there.
        $(#[$feature])?
        pub unsafe fn sgd(
            step: super::SgdStep<f32>,
            value: &mut [f32],
            gradient: &mut [f32],
            momentum: Option<&mut [f32]>,
        ) {
            // SAFETY: by the contract of this function.
            unsafe { super::vector::sgd::<$vector>(step, value, gradient, momentum) }
        }

        /// [`super::vector::adam`].
        ///
        /// # Safety
        /// As there.
        $(#[$feature])?
        pub unsafe fn adam(
            step: super::AdamStep<f32>,
            value: &mut [f32],
            gradient: &mut [f32],
            m: Option<&mut [f32]>,
            v: &mut [f32],
        ) {
            // SAFETY: by the contract of this function.
            unsafe { super::vector::adam::<$vector>(step, value, gradient, m, v) }
        }

        /// [`super::vector::average`].
        ///
        /// # Safety
        /// As there.
        $(#[$feature])?
        pub unsafe fn average(weight: f32, value: &[f32], average: &mut [f32]) {
            // SAFETY: by the contract of this function.
            unsafe { super::vector::average::<$vector>(weight, value, average) }
        }

        /// [`super::vector::dynamic`].
        ///
        /// # Safety
        /// As there.
        $(#[$feature])?
        pub unsafe fn dynamic(
            step: super::DynamicStep<f32>,
            value: &mut [f32],
            gradient: &mut [f32],
            moments: [&[f32]; 2],
        ) {
            // SAFETY: by the contract of this function.
            unsafe { super::vector::dynamic::<$vector>(step, value, gradient, moments) }
        }

        /// [`super::vector::add_squares`].
        ///
        /// # Safety
        /// As there.
        $(#[$feature])?
        pub unsafe fn add_squares(gradient: &mut [f32], sum: &mut [f32]) {
            // SAFETY: by the contract of this function.
            unsafe { super::vector::add_squares::<$vector>(gradient, sum) }
        }
    };
}

pub(super) use loops;
