//! The plain loops.

use super::{COEFFICIENTS, ITERATIONS, LEAST_NORM, Muon, STEP_SIZE};

/// One step for a single matrix of `cols` columns: x, g and u as they become.
pub fn step(
    muon: Muon,
    cols: usize,
    value: &mut [f64],
    gradient: &mut [f64],
    momentum: &mut [f64],
) {
    let rows = value.len() / cols;
    let mut direction = vec![0.0; value.len()];
    for ((d, g), u) in direction.iter_mut().zip(gradient).zip(momentum) {
        *u += (1.0 - muon.momentum) * (muon.scale * *g - *u);
        *d = muon.scale * *g + muon.momentum * (*u - muon.scale * *g);
        *g = 0.0;
    }
    let rate = muon.lr * STEP_SIZE * (rows.max(cols) as f64).sqrt();
    for (x, d) in value.iter_mut().zip(orthogonalized(direction, rows, cols)) {
        *x -= muon.lr * muon.weight_decay * *x + rate * d;
    }
}

/// X ← d / ‖d‖, then five times X ← a·X + (b·X·Xᵀ + c·(X·Xᵀ)²)·X, on the longer side too.
pub fn orthogonalized(direction: Vec<f64>, rows: usize, cols: usize) -> Vec<f64> {
    let [a, b, c] = COEFFICIENTS;
    let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(LEAST_NORM);
    let mut x: Vec<f64> = direction.iter().map(|d| d / norm).collect();
    for _ in 0..ITERATIONS {
        let gram = product(&x, &transposed(&x, rows, cols), cols); // (rows, rows)
        let square = product(&gram, &gram, rows);
        let factor: Vec<f64> =
            gram.iter().zip(square).map(|(gram, square)| b * gram + c * square).collect();
        let turned = product(&factor, &x, rows);
        x.iter_mut().zip(turned).for_each(|(x, turned)| *x = a * *x + turned);
    }
    x
}

fn transposed(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|idx| x[idx % rows * cols + idx / rows]).collect()
}

/// (M, K)·(K, N).
fn product(a: &[f64], b: &[f64], depth: usize) -> Vec<f64> {
    let cols = b.len() / depth;
    let row = |row: &[f64]| -> Vec<f64> {
        (0..cols).map(|col| (0..depth).map(|k| row[k] * b[k * cols + col]).sum()).collect()
    };
    a.chunks_exact(depth).flat_map(row).collect()
}
