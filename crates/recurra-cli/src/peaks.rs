//! What this machine reaches, measured: our own matrix product, and reading from caches and memory.

use std::hint::black_box;
use std::time::Instant;

use recurra::kernels::matmul::{Matrix, PackedMatrix, Start, matmul_packed};
use recurra::kernels::{Cpu, peak};
use serde::Serialize;

use crate::failure::Failure;

/// Operands of the product: large enough for full tiles, small enough for the second-level cache of each core.
const M: usize = 512;
const K: usize = 512;
const N: usize = 512;
/// Products between two looks at the clock, so that no start of the team counts.
const PRODUCTS: usize = 4;
/// How often they are timed; the best counts.
const REPEATS: usize = 6;

/// Billions of operations a second of the matrix product that runs in training, its right side laid out beforehand.
///
/// # Errors
/// When the product is wrong: nothing is timed then.
pub fn matmul_gflops(cpu: &Cpu) -> Result<f64, Failure> {
    // Eighths, which every precision has, and whose products every order of summing adds up exactly.
    let eighths = |n: usize, kinds: usize| (0..n).map(|idx| (idx % kinds) as f32 / 8.0).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = (eighths(M * K, 7), eighths(K * N, 5)); // (M, K), (K, N)
    let expected =
        |row: usize, col: usize| (0..K).map(|k| a[row * K + k] * b[k * N + col]).sum::<f32>();
    let mut c = vec![0.0; M * N]; // (M, N)
    let b = PackedMatrix::pack(cpu, Matrix::new(&b, K, N));
    matmul_packed(cpu, Matrix::new(&a, M, K), &b, Start::Zero, &mut c);
    if (0..M.max(N)).any(|idx| c[idx % M * N + idx % N] != expected(idx % M, idx % N)) {
        return Err(Failure::of_wrong_result("a matrix product is wrong"));
    }
    let flop = (2 * M * K * N * PRODUCTS) as f64;
    let mut best: f64 = 0.0;
    for _ in 0..REPEATS {
        let start = Instant::now();
        for _ in 0..PRODUCTS {
            matmul_packed(cpu, Matrix::new(&a, M, K), &b, Start::Zero, &mut c);
            black_box(&c);
        }
        best = best.max(flop / start.elapsed().as_secs_f64() / 1e9);
    }
    Ok(best)
}

/// What is read from, how much of it by each thread, and how fast.
#[derive(Debug, Serialize)]
pub struct Reading {
    pub from: &'static str,
    pub block_bytes: usize,
    pub gbytes_per_second: f64,
}

/// The second cache, the third where the system tells of one, and memory.
pub fn readings(cpu: &Cpu) -> Vec<Reading> {
    let second = cache_bytes(2).unwrap_or(512 << 10);
    let third = cache_bytes(3);
    // Half of a cache that a thread has for itself. Of the third, which threads share, what is too large for the second.
    let blocks = [
        ("second cache", Some(second / 2)),
        ("third cache", third.map(|third| (4 * second).min(third / (2 * cpu.threads())))),
        ("memory", Some((256 << 20) / cpu.threads())),
    ];
    let reading = |(from, bytes): (&'static str, Option<usize>)| {
        let block_bytes = bytes?;
        let gbytes_per_second = peak::read_gbytes_per_second(cpu, block_bytes);
        Some(Reading { from, block_bytes, gbytes_per_second })
    };
    blocks.into_iter().filter_map(reading).collect()
}

/// The size of the data cache of a level, where the system tells.
fn cache_bytes(level: usize) -> Option<usize> {
    let size =
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{level}/size"));
    let kibibytes: usize = size.ok()?.trim().strip_suffix('K')?.parse().ok()?;
    Some(kibibytes << 10)
}

/// Name of the processor, where the system tells.
pub fn processor_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
