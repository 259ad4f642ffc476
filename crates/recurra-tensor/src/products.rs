//! Dot products of rows, outside of any tape.

use recurra_kernels::matmul::{Matrix, Start, matmul};
use recurra_kernels::{Cpu, Element};

/// a·bᵀ: each row of one against each row of the other.
///
/// # Shapes
/// `a` (N, K), `b` (M, K) with K = `width` → `out` (N, M).
///
/// # Panics
/// When the shapes do not fit each other.
#[track_caller]
pub fn dot_products<E: Element>(cpu: &Cpu, a: &[E], b: &[E], width: usize, out: &mut [E]) {
    let [a, b] = [a, b].map(|rows| Matrix::new(rows, rows.len() / width, width));
    matmul(cpu, a, b.transposed(), Start::Zero, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn rows_meet_rows() {
        let cpu = Cpu::with_isa(Isa::Plain, 1);
        let mut out = [0.0_f32; 6];
        dot_products(&cpu, &[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 3.0, 4.0, 7.0]);
    }
}
