//! What the loops compute, one value after the other.

/// C ← `times` · A·B with A (K, M), B (K, N), C (M, N).
pub(super) fn multiply(
    (rows, cols, depth): (usize, usize, usize),
    (a, b): (&[f32], &[f32]),
    times: usize,
) -> Vec<f64> {
    let mut c = vec![0.0; rows * cols];
    for i in 0..rows {
        for j in 0..cols {
            let sum: f64 =
                (0..depth).map(|k| f64::from(a[k * rows + i]) * f64::from(b[k * cols + j])).sum();
            c[i * cols + j] = times as f64 * sum;
        }
    }
    c
}

/// `times` · Σ x.
pub(super) fn read(values: &[f32], times: usize) -> f64 {
    times as f64 * values.iter().map(|&x| f64::from(x)).sum::<f64>()
}
