//! The sums as the formula says it.

use crate::Element;
use crate::matmul::Matrix;

/// sums_j ← sums_j + Σ_i a_ij.
pub(super) fn column_sums<E: Element>(a: Matrix<E>, sums: &mut [E]) {
    for (j, sum) in sums.iter_mut().enumerate() {
        for i in 0..a.rows() {
            *sum += a.at(i, j);
        }
    }
}
