//! The product of two matrices, C ← start + A·B.
//!
//! Each value of C is start + Σ_k a_ik · b_kj, summed from the first k to the last in one chain, so its bits depend neither
//! on the number of threads nor on how many other rows or columns C has: a stream computed alone equals the same stream
//! computed among others. With AVX2, AVX-512 and NEON every step of the chain is rounded once (fused), so these agree bit
//! for bit with each other too. Where zeros are left out (`sparse`) a zero may have the other sign, and a zero times what is not finite
//! adds nothing.

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // NEON has only dense products
mod ahead;
pub(crate) mod alone;
mod block;
mod blocks;
pub(crate) mod buffer;
mod kernels;
mod matrix;
mod packed_matrix;
mod reference;
mod sparse;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // NEON has only dense products
mod sparse_rows;
mod vector;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::KERNELS as TILES;
pub use matrix::Matrix;
pub use packed_matrix::PackedMatrix;

use crate::element::expect_f32;
use crate::isa::by_isa;
use crate::{Cpu, Element, Isa};
use blocks::Right;
pub(crate) use kernels::Kernels;
#[cfg(target_arch = "x86_64")]
pub(crate) use vector::Strip;

/// What the sums begin with.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, E> {
    /// Nothing: C ← A·B.
    Zero,
    /// One value a column, the same for every row: C ← 1·biasᵀ + A·B.
    Bias(&'a [E]),
    /// What C holds: C ← C + A·B.
    Sum,
}

/// C ← start + A·B.
///
/// # Shapes
/// `a` (M, K), `b` (K, N), `c` (M, N) row-major, a bias (N).
///
/// # Panics
/// When the shapes do not fit each other.
#[track_caller]
pub fn matmul<E: Element>(cpu: &Cpu, a: Matrix<E>, b: Matrix<E>, start: Start<E>, c: &mut [E]) {
    check(&a, b.rows(), b.cols(), &start, c.len());
    if let (Some(a_values), Some(b_values), Some(start)) =
        (E::as_f32(a.values()), E::as_f32(b.values()), start.as_f32())
    {
        let right = Right::Matrix(b.with_values(b_values));
        let c = expect_f32(c);
        return product(cpu, a.with_values(a_values), right, start, c);
    }
    reference::matmul(a, b, start, c);
}

/// C ← start + A·B with B laid out beforehand.
///
/// For one row or a few this is a matrix-vector product at the speed of memory. The same bits as [`matmul`].
///
/// # Shapes
/// As for [`matmul`].
///
/// # Panics
/// When the shapes do not fit each other, or when `b` was laid out for another instruction set.
#[track_caller]
pub fn matmul_packed<E: Element>(
    cpu: &Cpu,
    a: Matrix<E>,
    b: &PackedMatrix<E>,
    start: Start<E>,
    c: &mut [E],
) {
    check(&a, b.rows(), b.cols(), &start, c.len());
    assert!(
        b.isa() == cpu.isa(),
        "a matrix laid out for `{}` multiplied with `{}`",
        b.isa(),
        cpu.isa()
    );
    if let (Some(a_values), Some(panels), Some(start)) =
        (E::as_f32(a.values()), E::as_f32(b.panels()), start.as_f32())
    {
        let right = Right::Panels { panels, depth: b.rows(), cols: b.cols() };
        let c = expect_f32(c);
        return product(cpu, a.with_values(a_values), right, start, c);
    }
    reference::matmul(a, Matrix::new(b.panels(), b.rows(), b.cols()), start, c);
}

/// C ← start + A·B, zeros left out where that pays.
fn product(cpu: &Cpu, a: Matrix<f32>, b: Right, start: Start<f32>, c: &mut [f32]) {
    let kernels = kernels_of(cpu.isa());
    if !sparse::product(cpu, kernels, a, b, start, c) {
        blocks::product(cpu, kernels, a, b, start, c);
    }
}

#[track_caller]
fn check<E: Element>(a: &Matrix<E>, depth: usize, cols: usize, start: &Start<E>, c_len: usize) {
    assert!(
        a.cols() == depth && a.rows().checked_mul(cols) == Some(c_len),
        "({}, {}) · ({depth}, {cols}) into {c_len} values",
        a.rows(),
        a.cols()
    );
    if let Start::Bias(bias) = start {
        assert!(bias.len() == cols, "a bias of {} values for {cols} columns", bias.len());
    }
}

impl<'a, E: Element> Start<'a, E> {
    fn as_f32(self) -> Option<Start<'a, f32>> {
        Some(match self {
            Start::Zero => Start::Zero,
            Start::Bias(bias) => Start::Bias(E::as_f32(bias)?),
            Start::Sum => Start::Sum,
        })
    }
}

pub(crate) fn kernels_of(isa: Isa) -> &'static Kernels {
    by_isa!(isa, self::file => &file::KERNELS, bf16 => match isa {
        Isa::Amx => &amx::KERNELS,
        _ => &avx512bf16::KERNELS,
    })
}

#[cfg(test)]
mod tests;
