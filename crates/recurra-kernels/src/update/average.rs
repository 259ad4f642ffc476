//! An average of the values of some steps.

use super::{BLOCK, reference};
use crate::isa::by_isa;
use crate::{Cpu, Element, Isa, SharedSlice};

/// θ̄ ← θ̄ + w·(θ − θ̄), for values that no [`step`](super::step) changes; one that does has the average follow by itself.
///
/// w = 1/n makes θ̄ the mean of n values (Polyak & Juditsky, 1992); w = (1−μ)/(1−μⁿ) their exponential average
/// Σ μⁿ⁻ⁱ·θ_i / Σ μⁿ⁻ⁱ, corrected for its start from zero as the moments of Adam are.
///
/// # Panics
/// When the lengths differ.
#[track_caller]
pub fn average<E: Element>(cpu: &Cpu, weight: f64, value: &[E], average: &mut [E]) {
    let len = value.len();
    assert_eq!(average.len(), len, "lengths of average and value");
    let shared = SharedSlice::new(average);
    cpu.pool().for_each_block(len, BLOCK, |range| {
        // SAFETY: every task has values of its own.
        let average = unsafe { shared.slice(range.clone()) };
        average_of_block(cpu.isa(), weight, &value[range], average);
    });
}

/// [`average`] of slices of one length.
pub(super) fn average_of_block<E: Element>(isa: Isa, weight: f64, value: &[E], average: &mut [E]) {
    if let (Some(value), Some(average)) = (E::as_f32(value), E::as_f32_mut(average)) {
        average_f32(isa, weight as f32, value, average);
    } else {
        reference::average(E::from_f64(weight), value, average);
    }
}

fn average_f32(isa: Isa, weight: f32, value: &[f32], average: &mut [f32]) {
    // SAFETY: lengths are equal; `Cpu` has checked that the machine has the instruction set.
    unsafe { by_isa!(isa, super::file => file::average(weight, value, average)) }
}
