//! Products with weights in `f32` and `bf16` on vectors: inputs stay `f32`, `bf16` is widened in registers.

use super::layout::LANES;
use super::product::Product;
use crate::simd::Vector;

/// A line in N registers.
#[derive(Clone, Copy)]
struct Sums<V, const N: usize>([V; N]);

// SAFETY of every block below: by the contract of `Vector`; all places lie in lines or rows.
#[allow(clippy::needless_range_loop)] // registers and memory, counted alike
impl<V: Vector, const N: usize> Sums<V, N> {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as above.
        Self([unsafe { V::splat(0.0) }; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        unsafe {
            let mut line = Self::zero();
            for n in 0..N {
                line.0[n] = V::load(from.add(n * V::LANES));
            }
            line
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for n in 0..N {
            // SAFETY: as above.
            unsafe { self.0[n].store(to.add(n * V::LANES)) }
        }
    }
    /// self + x · weights.
    #[inline(always)]
    unsafe fn plus(mut self, x: V, weights: Self) -> Self {
        for n in 0..N {
            // SAFETY: as above.
            self.0[n] = unsafe { x.mul_add(weights.0[n], self.0[n]) };
        }
        self
    }
    #[inline(always)]
    unsafe fn and(mut self, other: Self) -> Self {
        for n in 0..N {
            // SAFETY: as above.
            self.0[n] = unsafe { self.0[n].add(other.0[n]) };
        }
        self
    }
    /// The first and the second of each pair of `bf16`.
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let mut pairs = [Self::zero(); 2];
            for n in 0..N {
                [pairs[0].0[n], pairs[1].0[n]] = V::load_bf16_pairs(from.add(n * V::LANES));
            }
            pairs
        }
    }
}

/// The product for weights in `f32`, or in `bf16` where `PAIRS`; N registers hold a line.
///
/// # Safety
/// As for [`Vector`]; everything that `product` names is there.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const N: usize, const PAIRS: bool>(product: &Product<'_>) {
    debug_assert!(N * V::LANES == LANES);
    // SAFETY: the caller's contract is the same.
    unsafe {
        match product.packed.n_lines {
            1 => rows::<V, N, 1, PAIRS>(product),
            2 => rows::<V, N, 2, PAIRS>(product),
            3 => rows::<V, N, 3, PAIRS>(product),
            _ => rows::<V, N, 4, PAIRS>(product),
        }
    }
}

/// All rows, four at a time where the registers are enough.
#[inline(always)]
unsafe fn rows<V: Vector, const N: usize, const P: usize, const PAIRS: bool>(
    product: &Product<'_>,
) {
    let mut row = 0;
    while row < product.n_rows {
        // SAFETY: the caller's contract is the same.
        unsafe {
            if N == 1 && row + 4 <= product.n_rows {
                tile::<V, N, P, 4, PAIRS>(product, row);
                row += 4;
            } else {
                tile::<V, N, P, 1, PAIRS>(product, row);
                row += 1;
            }
        }
    }
}

/// R rows by P lines.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // rows and lines, counted alike for registers and memory
unsafe fn tile<V: Vector, const N: usize, const P: usize, const R: usize, const PAIRS: bool>(
    product: &Product<'_>,
    first: usize,
) {
    // SAFETY: the caller's contract is the same.
    unsafe {
        let (header, weights) = product.operand();
        let depth = product.depth();
        let mut x = [std::ptr::null::<f32>(); R];
        for r in 0..R {
            x[r] = product.row(first + r).cast();
        }
        let is_first = product.part == 0;
        let mut sum = [[Sums::<V, N>::zero(); P]; R];
        if is_first {
            for p in 0..P {
                let bias = Sums::load(header.bias(p));
                for r in 0..R {
                    sum[r][p] = bias;
                }
            }
        }
        let mut line = weights;
        if PAIRS {
            for pair in 0..depth / 2 {
                for p in 0..P {
                    let [even, odd] = Sums::<V, N>::load_pairs(line.add(p * 64).cast());
                    for r in 0..R {
                        sum[r][p] = sum[r][p].plus(V::splat(*x[r].add(2 * pair)), even);
                        sum[r][p] = sum[r][p].plus(V::splat(*x[r].add(2 * pair + 1)), odd);
                    }
                }
                line = line.add(P * 64);
            }
            if depth % 2 == 1 {
                for p in 0..P {
                    let [even, _] = Sums::<V, N>::load_pairs(line.add(p * 64).cast());
                    for r in 0..R {
                        sum[r][p] = sum[r][p].plus(V::splat(*x[r].add(depth - 1)), even);
                    }
                }
            }
        } else {
            for k in 0..depth {
                for p in 0..P {
                    let weights = Sums::load(line.add(p * 64).cast());
                    for r in 0..R {
                        sum[r][p] = sum[r][p].plus(V::splat(*x[r].add(k)), weights);
                    }
                }
                line = line.add(P * 64);
            }
        }
        for r in 0..R {
            for p in 0..P {
                let mut sum = sum[r][p];
                if !is_first {
                    sum = sum.and(Sums::load(header.bias(p)));
                }
                sum.store(product.out(first + r, p));
            }
        }
    }
}
