//! Copies, sums and products of values at the same place: residual links and gates. They wait for memory, so the plain loops are
//! all there is; the team shares them.

mod reference;

use crate::{Cpu, Element, SharedSlice};

/// Values of a task.
const BLOCK: usize = 1 << 14;

/// out = a.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn copy<E: Element>(cpu: &Cpu, a: &[E], out: &mut [E]) {
    each_block(cpu, [a, a], out, |a, _, out| out.copy_from_slice(a));
}

/// out = a + b.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn add<E: Element>(cpu: &Cpu, a: &[E], b: &[E], out: &mut [E]) {
    each_block(cpu, [a, b], out, reference::add);
}

/// a ← a + b.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn add_to<E: Element>(cpu: &Cpu, b: &[E], a: &mut [E]) {
    each_block(cpu, [b, b], a, |b, _, a| reference::add_to(b, a));
}

/// out = a ⊙ b.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn multiply<E: Element>(cpu: &Cpu, a: &[E], b: &[E], out: &mut [E]) {
    each_block(cpu, [a, b], out, reference::multiply);
}

/// out ← out + a ⊙ b.
///
/// # Panics
/// When the sizes differ.
#[track_caller]
pub fn multiply_add<E: Element>(cpu: &Cpu, a: &[E], b: &[E], out: &mut [E]) {
    each_block(cpu, [a, b], out, reference::multiply_add);
}

#[track_caller]
fn each_block<E: Element>(
    cpu: &Cpu,
    [a, b]: [&[E]; 2],
    out: &mut [E],
    block: impl Fn(&[E], &[E], &mut [E]) + Sync,
) {
    let n = out.len();
    assert!(a.len() == n && b.len() == n, "{} and {} values into {n}", a.len(), b.len());
    let out = SharedSlice::new(out);
    cpu.pool().for_each_block(n, BLOCK, |places| {
        // SAFETY: every task has places of its own.
        let out = unsafe { out.slice(places.clone()) };
        block(&a[places.clone()], &b[places], out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn every_place_is_reached_by_any_number_of_threads() {
        for threads in [1, 2, 3] {
            let cpu = Cpu::with_isa(Isa::best(None).unwrap(), threads);
            for n in [0, 1, 17, BLOCK, 3 * BLOCK + 5] {
                let a: Vec<f32> = (0..n).map(|idx| idx as f32).collect();
                let b: Vec<f32> = (0..n).map(|idx| (idx % 7) as f32 - 3.0).collect();
                let mut out = vec![f32::NAN; n];
                let check = |out: &[f32], value: fn(f32, f32) -> f32| {
                    let expected = a.iter().zip(&b).map(|(&a, &b)| value(a, b));
                    assert!(out.iter().copied().eq(expected), "{n} values");
                };
                copy(&cpu, &a, &mut out);
                check(&out, |a, _| a);
                add(&cpu, &a, &b, &mut out);
                check(&out, |a, b| a + b);
                add_to(&cpu, &b, &mut out);
                check(&out, |a, b| a + b + b);
                multiply(&cpu, &a, &b, &mut out);
                check(&out, |a, b| a * b);
                multiply_add(&cpu, &a, &b, &mut out);
                check(&out, |a, b| a * b + a * b);
            }
        }
    }

    #[test]
    #[should_panic(expected = "2 and 1 values into 2")]
    fn sizes_must_agree() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        add(&cpu, &[1.0_f32, 2.0], &[1.0], &mut [0.0; 2]);
    }
}
