//! The definition, position by position.

use super::rotation::angle;
use super::{Attention, Memory, Outcome, Positions, Shape};
use crate::Element;

/// Turns a row of a head by the angles of a place, or back.
pub(super) fn rotate<E: Element>(
    attention: Attention,
    from: &[E],
    to: &mut [E],
    place: usize,
    is_back: bool,
) {
    to.copy_from_slice(from);
    if attention.positions == Positions::Learned {
        return;
    }
    let half = from.len() / 2;
    for f in 0..half {
        let angle = angle(place, f, from.len()) * if is_back { -1.0 } else { 1.0 };
        let (cos, sin) = (E::from_f64(angle.cos()), E::from_f64(angle.sin()));
        let (a, b) = (from[f], from[half + f]);
        (to[f], to[half + f]) = (a * cos - b * sin, a * sin + b * cos);
    }
}

/// One stream's head.
struct Head<'a, E> {
    attention: Attention,
    shape: Shape,
    qkv: &'a [E],
    memory: Memory<'a, E>,
    stream: usize,
    head: usize,
    /// The place of the window's first position.
    start: usize,
}

impl<E: Element> Head<'_, E> {
    fn size(&self) -> usize {
        self.attention.head_size(self.shape.width)
    }

    /// Where q (0), k (1) or v (2) of time t begins.
    fn at(&self, t: usize, part: usize) -> usize {
        let row = t * self.shape.batch + self.stream;
        (row * 3 + part) * self.shape.width + self.head * self.size()
    }

    fn part(&self, t: usize, part: usize) -> &[E] {
        &self.qkv[self.at(t, part)..][..self.size()]
    }

    fn slot(&self, place: usize) -> usize {
        place % self.attention.context
    }

    /// The slot of a query for the keys of a place.
    fn turn(&self, place: usize, seen: usize) -> usize {
        let context = self.attention.context;
        self.slot(place) + (place / context - seen / context) * context
    }

    fn remembered<'m>(&self, memory: &'m [E], place: usize) -> &'m [E] {
        let Shape { width, .. } = self.shape;
        let row = self.stream * self.attention.context + self.slot(place);
        &memory[row * width + self.head * self.size()..][..self.size()]
    }

    /// The rotated key and the value of a place.
    fn key_and_value(&self, place: usize) -> (Vec<E>, Vec<E>) {
        let Some(t) = place.checked_sub(self.start) else {
            let key = self.remembered(self.memory.keys, place).to_vec();
            return (key, self.remembered(self.memory.values, place).to_vec());
        };
        let mut key = vec![E::ZERO; self.size()];
        rotate(self.attention, self.part(t, 1), &mut key, self.slot(place), false);
        (key, self.part(t, 2).to_vec())
    }

    /// The query of time t for the keys of a place, over √D.
    fn query(&self, t: usize, seen: usize) -> Vec<E> {
        let mut query = vec![E::ZERO; self.size()];
        let turn = self.turn(self.start + t, seen);
        rotate(self.attention, self.part(t, 0), &mut query, turn, false);
        let scale = E::from_f64(1.0 / (self.size() as f64).sqrt());
        query.iter().map(|&q| q * scale).collect()
    }

    fn seen(&self, t: usize) -> std::ops::RangeInclusive<usize> {
        let place = self.start + t;
        self.attention.first_seen(place)..=place
    }
}

fn heads<'a, E: Element>(
    attention: Attention,
    shape: Shape,
    qkv: &'a [E],
    memory: Memory<'a, E>,
) -> impl Iterator<Item = Head<'a, E>> {
    (0..shape.batch * attention.heads).map(move |idx| {
        let stream = idx / attention.heads;
        let start = attention.place(memory.lengths[stream]);
        Head { attention, shape, qkv, memory, stream, head: idx % attention.heads, start }
    })
}

fn dot<E: Element>(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

pub(super) fn forward<E: Element>(
    attention: Attention,
    shape: Shape,
    qkv: &[E],
    memory: Memory<'_, E>,
    out: &mut [E],
    mut logs: Option<&mut [E]>,
) {
    for (idx, head) in heads(attention, shape, qkv, memory).enumerate() {
        for t in 0..shape.time {
            let scores: Vec<E> =
                head.seen(t).map(|j| dot(&head.query(t, j), &head.key_and_value(j).0)).collect();
            let largest = scores.iter().fold(scores[0], |max, &s| if s > max { s } else { max });
            let sum = scores.iter().map(|&s| (s - largest).exp()).sum::<E>();
            let log = largest + sum.ln();
            let at = (t * shape.batch + head.stream) * shape.width + head.head * head.size();
            let out = &mut out[at..at + head.size()];
            out.fill(E::ZERO);
            for (j, &s) in head.seen(t).zip(&scores) {
                let p = (s - log).exp();
                let (_, value) = head.key_and_value(j);
                out.iter_mut().zip(value).for_each(|(o, v)| *o += p * v);
            }
            if let Some(logs) = &mut logs {
                logs[idx * shape.time + t] = log;
            }
        }
    }
}

pub(super) fn backward<E: Element>(
    attention: Attention,
    shape: Shape,
    qkv: &[E],
    memory: Memory<'_, E>,
    outcome: Outcome<'_, E>,
    d_qkv: &mut [E],
) {
    d_qkv.fill(E::ZERO);
    for (idx, head) in heads(attention, shape, qkv, memory).enumerate() {
        let size = head.size();
        let scale = E::from_f64(1.0 / (size as f64).sqrt());
        let mut turned = vec![E::ZERO; size];
        for t in 0..shape.time {
            let at = (t * shape.batch + head.stream) * shape.width + head.head * size;
            let d_out = &outcome.d_out[at..at + size];
            let delta = dot(d_out, &outcome.out[at..at + size]);
            for j in head.seen(t) {
                let (query, (key, value)) = (head.query(t, j), head.key_and_value(j));
                let p = (dot(&query, &key) - outcome.logs[idx * shape.time + t]).exp();
                let d_s = p * (dot(d_out, &value) - delta);
                let d_q: Vec<E> = key.iter().map(|&k| d_s * k * scale).collect();
                rotate(attention, &d_q, &mut turned, head.turn(head.start + t, j), true);
                add(&mut d_qkv[head.at(t, 0)..][..size], &turned);
                let Some(at) = j.checked_sub(head.start) else { continue };
                let d_k: Vec<E> = query.iter().map(|&q| d_s * q).collect();
                rotate(attention, &d_k, &mut turned, head.slot(j), true);
                add(&mut d_qkv[head.at(at, 1)..][..size], &turned);
                let d_v: Vec<E> = d_out.iter().map(|&d| p * d).collect();
                add(&mut d_qkv[head.at(at, 2)..][..size], &d_v);
            }
        }
    }
}

fn add<E: Element>(to: &mut [E], part: &[E]) {
    to.iter_mut().zip(part).for_each(|(to, &part)| *to += part);
}
