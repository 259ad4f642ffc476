//! The loops once for every vector type.

use crate::simd::Vector;

/// Steps of k of the small product: operands of at most 12 KiB.
pub(super) const DEPTH: usize = 64;

/// C ← `times` · A·B with all of C (R rows, W vectors) in registers.
///
/// # Safety
/// The slices have the lengths that `R`, `W` and [`DEPTH`] say; and the contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const R: usize, const W: usize>(
    a: &[f32],
    b: &[f32],
    times: usize,
    c: &mut [f32],
) {
    let cols = W * V::LANES;
    assert!(a.len() == DEPTH * R && b.len() == DEPTH * cols && c.len() == R * cols);
    // SAFETY: inside the slices, by the lengths just checked.
    unsafe {
        let mut sums = [[V::splat(0.0); W]; R];
        for _ in 0..times {
            for k in 0..DEPTH {
                let mut b_k = [V::splat(0.0); W];
                for (v, b_k) in b_k.iter_mut().enumerate() {
                    *b_k = V::load(b.as_ptr().add(k * cols + v * V::LANES));
                }
                for (r, row) in sums.iter_mut().enumerate() {
                    let a_k = V::splat(*a.as_ptr().add(k * R + r));
                    for (sum, b_k) in row.iter_mut().zip(b_k) {
                        *sum = a_k.mul_add(b_k, *sum);
                    }
                }
            }
        }
        for (r, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                sum.store(c.as_mut_ptr().add(r * cols + v * V::LANES));
            }
        }
    }
}

/// Panels are the operands as they are.
pub(super) unsafe fn lay_out(a: &[f32], b: &[f32], to_a: &mut [f32], to_b: &mut [f32]) {
    to_a.copy_from_slice(a);
    to_b.copy_from_slice(b);
}

/// `times` · Σ x in eight chains.
///
/// # Safety
/// The contract of [`Vector`].
#[inline(always)]
pub(super) unsafe fn read<V: Vector>(values: &[f32], times: usize) -> f32 {
    const CHAINS: usize = 8;
    // SAFETY: each chunk holds as many values as are loaded.
    unsafe {
        let mut sums = [V::splat(0.0); CHAINS];
        let mut rest = 0.0;
        for _ in 0..times {
            let chunks = values.chunks_exact(CHAINS * V::LANES);
            for x in chunks.remainder() {
                rest += x;
            }
            for chunk in chunks {
                for (idx, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(chunk.as_ptr().add(idx * V::LANES)));
                }
            }
        }
        let mut total = rest;
        for sum in sums {
            total += sum.sum();
        }
        total
    }
}
