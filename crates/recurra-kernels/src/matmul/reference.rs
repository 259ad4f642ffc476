//! The product as the formula says it.

use super::{Matrix, Start};
use crate::Element;

/// C ← start + A·B, each value summed over k from the first to the last.
pub(super) fn matmul<E: Element>(a: Matrix<E>, b: Matrix<E>, start: Start<E>, c: &mut [E]) {
    let n = b.cols();
    for i in 0..a.rows() {
        for j in 0..n {
            let mut sum = match start {
                Start::Zero => E::ZERO,
                Start::Bias(bias) => bias[j],
                Start::Sum => c[i * n + j],
            };
            for k in 0..a.cols() {
                sum += a.at(i, k) * b.at(k, j);
            }
            c[i * n + j] = sum;
        }
    }
}
