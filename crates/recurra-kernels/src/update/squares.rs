//! Σ g² of each value over many steps: how much a value's gradient varies.

use super::{BLOCK, reference};
use crate::isa::by_isa;
use crate::{Cpu, Element, Isa, SharedSlice};

/// s ← s + g², value by value; then the gradient is zero.
///
/// # Panics
/// When lengths differ.
#[track_caller]
pub fn add_squares<E: Element>(cpu: &Cpu, gradient: &mut [E], sum: &mut [E]) {
    let len = sum.len();
    assert_eq!(gradient.len(), len, "lengths of gradient and squares");
    let (gradient, sum) = (SharedSlice::new(gradient), SharedSlice::new(sum));
    cpu.pool().for_each_block(len, BLOCK, |range| {
        // SAFETY: every task has values of its own.
        let (gradient, sum) = unsafe { (gradient.slice(range.clone()), sum.slice(range)) };
        add_squares_of_block(cpu.isa(), gradient, sum);
    });
}

fn add_squares_of_block<E: Element>(isa: Isa, gradient: &mut [E], sum: &mut [E]) {
    let (Some(gradient), Some(sum)) = (E::as_f32_mut(gradient), E::as_f32_mut(sum)) else {
        return reference::add_squares(gradient, sum);
    };
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe { by_isa!(isa, super::file => file::add_squares(gradient, sum)) }
}
