//! The mLSTM as plain loops, step by step: reads as the recurrence of this folder's documentation.

use super::{CHUNK, Gradients, Inputs, Shape};
use crate::Element;
use crate::slstm::reference::{larger, log_sigmoid};

/// The state of one head of one stream.
#[derive(Clone)]
struct State<E> {
    /// (d, d): a row a key, a column a value.
    c: Vec<E>,
    /// (d)
    n: Vec<E>,
    m: E,
}

/// The inputs of one head of one stream at one step, k divided by √d.
struct Step<'a, E> {
    q: &'a [E],
    k: Vec<E>,
    v: &'a [E],
    i: E,
    f: E,
}

/// Where the values and the input gate of a head of a stream are at a step.
fn place(shape: Shape, step: usize, head: usize) -> (usize, usize) {
    let Shape { batch, heads, units, .. } = shape;
    let (stream, in_stream) = (head / heads, head % heads);
    ((step * batch * heads + head) * units, (step * batch + stream) * 2 * heads + in_stream)
}

fn step_of<'a, E: Element>(
    shape: Shape,
    inputs: Inputs<'a, E>,
    step: usize,
    head: usize,
) -> Step<'a, E> {
    let (first, gate) = place(shape, step, head);
    let values = first..first + shape.units;
    let scale = E::ONE / E::from_f64(shape.units as f64).sqrt();
    Step {
        q: &inputs.q[values.clone()],
        k: inputs.k[values.clone()].iter().map(|&k| k * scale).collect(),
        v: &inputs.v[values],
        i: inputs.gates[gate],
        f: inputs.gates[gate + shape.heads],
    }
}

/// The new state, and what i and f became.
fn next<E: Element>(before: &State<E>, step: &Step<'_, E>) -> (State<E>, E, E) {
    let carried = log_sigmoid(step.f) + before.m;
    let m = larger(carried, step.i);
    let (i, f) = ((step.i - m).exp(), (carried - m).exp());
    let d = step.v.len();
    let c = (0..d * d).map(|at| f * before.c[at] + i * step.k[at / d] * step.v[at % d]).collect();
    let n = (0..d).map(|at| f * before.n[at] + i * step.k[at]).collect();
    (State { c, n, m }, i, f)
}

fn dot<E: Element>(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

/// nᵀ·q and exp(−m), whose larger magnitude h is divided by.
fn divisors<E: Element>(state: &State<E>, q: &[E]) -> (E, E) {
    (dot(&state.n, q), (-state.m).exp())
}

fn state_at<E: Element>(shape: Shape, values: [&[E]; 3], head: usize) -> State<E> {
    let d = shape.units;
    State {
        c: values[0][head * d * d..][..d * d].to_vec(),
        n: values[1][head * d..][..d].to_vec(),
        m: values[2][head],
    }
}

pub(super) fn forward<E: Element>(
    shape: Shape,
    inputs: Inputs<'_, E>,
    state: [&mut [E]; 3],
    h: &mut [E],
    mut kept: Option<&mut [E]>,
) {
    let d = shape.units;
    for head in 0..shape.batch * shape.heads {
        let mut now = state_at(shape, state.each_ref().map(|part| &**part), head);
        for t in 0..shape.time {
            if let Some(kept) = kept.as_mut().filter(|_| t % CHUNK == 0) {
                let [c, n, m] = shape.kept_at(t / CHUNK, head);
                kept[c..c + d * d].copy_from_slice(&now.c);
                kept[n..n + d].copy_from_slice(&now.n);
                kept[m] = now.m;
            }
            let step = step_of(shape, inputs, t, head);
            (now, ..) = next(&now, &step);
            let (read, bound) = divisors(&now, step.q);
            let (first, _) = place(shape, t, head);
            for (value, h) in h[first..first + d].iter_mut().enumerate() {
                let sum: E = (0..d).map(|key| now.c[key * d + value] * step.q[key]).sum();
                *h = sum / larger(larger(read, -read), bound);
            }
        }
        state[0][head * d * d..][..d * d].copy_from_slice(&now.c);
        state[1][head * d..][..d].copy_from_slice(&now.n);
        state[2][head] = now.m;
    }
}

pub(super) fn backward<E: Element>(
    shape: Shape,
    inputs: Inputs<'_, E>,
    kept: &[E],
    h: &[E],
    d_h: &[E],
    gradients: Gradients<'_, E>,
) {
    let d = shape.units;
    let Gradients { d_q, d_k, d_v, d_gates } = gradients;
    let scale = E::ONE / E::from_f64(d as f64).sqrt();
    for head in 0..shape.batch * shape.heads {
        let parts = shape.kept_at(0, 0).map(|start| &kept[start..]);
        let mut states = vec![state_at(shape, parts, head)];
        for t in 0..shape.time {
            states.push(next(&states[t], &step_of(shape, inputs, t, head)).0);
        }
        let (mut d_c, mut d_n) = (vec![E::ZERO; d * d], vec![E::ZERO; d]);
        for t in (0..shape.time).rev() {
            let step = step_of(shape, inputs, t, head);
            let (before, now) = (&states[t], &states[t + 1]);
            let (_, i, f) = next(before, &step);
            let (first, gate) = place(shape, t, head);
            let values = first..first + d;
            let (h, d_h) = (&h[values.clone()], &d_h[values]);
            let (read, bound) = divisors(now, step.q);
            let divisor = larger(larger(read, -read), bound);
            let u: Vec<E> = d_h.iter().map(|&d_h| d_h / divisor).collect();
            let of_divisor = dot(&u, h);
            let e = match () {
                () if read > bound => -of_divisor,
                () if -read > bound => of_divisor,
                () => E::ZERO,
            };
            for key in 0..d {
                d_q[first + key] = dot(&now.c[key * d..][..d], &u) + e * now.n[key];
                for value in 0..d {
                    d_c[key * d + value] += step.q[key] * u[value];
                }
                d_n[key] += e * step.q[key];
            }
            let (mut d_i, mut d_f) = (dot(&d_n, &step.k), dot(&d_n, &before.n));
            for key in 0..d {
                let row = &d_c[key * d..][..d];
                let d_key = dot(row, step.v);
                d_i += step.k[key] * d_key;
                d_f += dot(row, &before.c[key * d..][..d]);
                d_k[first + key] = i * (d_key + d_n[key]) * scale;
            }
            for value in 0..d {
                let sum: E = (0..d).map(|key| d_c[key * d + value] * step.k[key]).sum();
                d_v[first + value] = i * sum;
            }
            d_gates[gate] = i * d_i;
            d_gates[gate + shape.heads] = f * d_f * (E::ONE - step.f.sigmoid());
            d_c.iter_mut().chain(&mut d_n).for_each(|d| *d *= f);
        }
    }
}
