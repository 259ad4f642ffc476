//! Value by value.

use crate::Element;

pub(super) fn add<E: Element>(a: &[E], b: &[E], out: &mut [E]) {
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out = a + b;
    }
}

pub(super) fn add_to<E: Element>(b: &[E], a: &mut [E]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

pub(super) fn multiply<E: Element>(a: &[E], b: &[E], out: &mut [E]) {
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out = a * b;
    }
}

pub(super) fn multiply_add<E: Element>(a: &[E], b: &[E], out: &mut [E]) {
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out += a * b;
    }
}
