//! What this machine reaches, measured: arithmetic through our own matrix product, and memory traffic.

use std::hint::black_box;
use std::time::Instant;

use recurra::kernels::Cpu;
use recurra::kernels::matmul::{Matrix, PackedMatrix, Start, matmul_packed};

/// Operands of the product: large enough for full tiles, small enough for the second-level cache of each core.
const M: usize = 512;
const K: usize = 512;
const N: usize = 512;
/// Products between two looks at the clock, so that no start of the team counts.
const PRODUCTS: usize = 4;

/// Numbers in the block that is read from memory: 256 MiB, far more than any cache.
const BLOCK_LENGTH: usize = 64 << 20;

/// Billions of operations a second of the matrix product that runs in training, its right side laid out beforehand, the
/// best of `repeats`.
pub fn matmul_gflops(cpu: &Cpu, repeats: usize) -> f64 {
    let a: Vec<f32> = (0..M * K).map(|idx| (idx % 7) as f32 * 0.1).collect(); // (M, K)
    let b: Vec<f32> = (0..K * N).map(|idx| (idx % 5) as f32 * 0.1).collect(); // (K, N)
    let mut c = vec![0.0; M * N]; // (M, N)
    let b = PackedMatrix::pack(cpu, Matrix::new(&b, K, N));
    let flop = (2 * M * K * N * PRODUCTS) as f64;
    let mut best: f64 = 0.0;
    for _ in 0..repeats + 1 {
        let start = Instant::now();
        for _ in 0..PRODUCTS {
            matmul_packed(cpu, Matrix::new(&a, M, K), &b, Start::Zero, &mut c);
            black_box(&c);
        }
        best = best.max(flop / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Billions of bytes a second read from memory by `threads` threads, the best of `repeats`.
pub fn memory_gbytes_per_second(threads: usize, repeats: usize) -> f64 {
    let block = vec![1.0f32; BLOCK_LENGTH];
    let share = BLOCK_LENGTH.div_ceil(threads);
    let mut best: f64 = 0.0;
    for _ in 0..repeats {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in block.chunks(share) {
                scope.spawn(|| black_box(sum(part)));
            }
        });
        best = best
            .max((BLOCK_LENGTH * size_of::<f32>()) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Sixteen sums side by side, so that adding is no bottleneck.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for chunk in values.chunks_exact(16) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum()
}

/// Name of the processor, where the system tells.
pub fn processor_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
