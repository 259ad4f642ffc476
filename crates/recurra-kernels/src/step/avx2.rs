//! The loops with AVX2 and FMA. Whole numbers are widened to 16 bits: products of bytes in pairs would overflow.

use super::bytes;
use super::kernels::loops;
use super::layout::LANES;
use super::product::Product;
use crate::simd::Avx2;
use crate::simd::math::Exact;
use std::arch::x86_64::*;

loops!(Avx2, 2, multiply_int8, Exact, [target_feature(enable = "avx2,fma")]);

#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn multiply_int8(product: &Product<'_>) {
    let n_lines = product.packed.n_lines;
    let n_steps = product.depth().div_ceil(4);
    for row in 0..product.n_rows {
        for line in 0..n_lines {
            // SAFETY: the machine has AVX2; everything that `product` names is there.
            unsafe {
                let (header, weights) = product.operand();
                let mut place = weights.add(line * 64);
                // Four outputs each; the sums over even and odd pairs of k beside each other.
                let mut sums = [_mm256_setzero_si256(); 4];
                for step in 0..n_steps {
                    let four = product.row(row).add(4 * step).cast::<i32>().read_unaligned();
                    let x = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
                    for (quarter, sum) in sums.iter_mut().enumerate() {
                        let w = _mm_load_si128(place.add(quarter * 16).cast());
                        let product = _mm256_madd_epi16(_mm256_cvtepi8_epi16(w), x);
                        *sum = _mm256_add_epi32(*sum, product);
                    }
                    place = place.add(n_lines * 64);
                }
                let mut pairs = [0_i32; 2 * LANES];
                for (quarter, sum) in sums.into_iter().enumerate() {
                    _mm256_storeu_si256(pairs.as_mut_ptr().add(8 * quarter).cast(), sum);
                }
                let sums = std::array::from_fn(|lane| pairs[2 * lane] + pairs[2 * lane + 1]);
                bytes::finish(product, header, row, line, sums);
            }
        }
    }
}
