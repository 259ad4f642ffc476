//! What the machine could do at most: arithmetic and reading, without the rest of a computation around them.
//!
//! A share of the peak means something only where the peak is that of the unit, not that of a product of ours: so the loops
//! here do nothing but multiply and add, on operands that lie in the first cache and whose bits are random (with zeros a
//! unit runs cooler and faster: a quarter more was seen). They are checked against [`reference`](self) like all others.

#[cfg(test)]
mod reference;
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

use std::hint::black_box;
use std::time::Instant;

use crate::isa::by_isa;
use crate::matmul::buffer::Buffer;
use crate::{Cpu, Isa, SharedSlice};

/// The loops of one instruction set.
struct Kernel {
    /// Rows, columns and steps of k of the small product that is computed again and again.
    rows: usize,
    cols: usize,
    depth: usize,
    /// C ← `times` · A·B, with A as its columns one after the other (k, rows), B as its rows (k, cols), C (rows, cols).
    multiply: unsafe fn(a: &[f32], b: &[f32], times: usize, c: &mut [f32]),
    /// Lays out A and B as `multiply` wants them, in units of the size of an `f32`.
    lay_out: LayOut,
    /// `times` · Σ x.
    read: unsafe fn(values: &[f32], times: usize) -> f32,
}

type LayOut = unsafe fn(a: &[f32], b: &[f32], to_a: &mut [f32], to_b: &mut [f32]);

fn kernel(isa: Isa) -> &'static Kernel {
    by_isa!(isa, self::file => &file::KERNEL, bf16 => match isa {
        Isa::Amx => &amx::KERNEL,
        _ => &avx512bf16::KERNEL,
    })
}

/// How often something is timed; the best counts, because everything that disturbs makes it slower.
const REPEATS: usize = 7;

/// Multiplications and additions a second (in units of 10⁹) that the unit of the instruction set reaches on all threads of
/// `cpu` together.
pub fn gflops(cpu: &Cpu) -> f64 {
    let kernel = kernel(cpu.isa());
    // Some 20 ms at the peak of one core of today: long enough for the clock, short enough to find a quiet moment.
    let times = match cpu.isa() {
        Isa::Amx => 1 << 16,
        _ => 1 << 15,
    };
    let (a, b) = operands(kernel);
    let flop = (2 * kernel.rows * kernel.cols * kernel.depth * times) as f64;
    best_rate(cpu, flop, || {
        let (mut a_panel, mut b_panel) = (Buffer::new(), Buffer::new());
        let mut c = vec![0.0; kernel.rows * kernel.cols];
        let (a_panel, b_panel) = (a_panel.take(a.len()), b_panel.take(b.len()));
        // SAFETY: `Cpu` has found the instruction set; lengths are those of the kernel.
        unsafe {
            (kernel.lay_out)(&a, &b, a_panel, b_panel);
            (kernel.multiply)(a_panel, b_panel, times, &mut c);
        }
        black_box(&c);
    })
}

/// Bytes a second (in units of 10⁹) that all threads of `cpu` together read again and again from `block_bytes` each: from
/// the cache that holds as much, or from memory.
pub fn read_gbytes_per_second(cpu: &Cpu, block_bytes: usize) -> f64 {
    let kernel = kernel(cpu.isa());
    let length = (block_bytes / size_of::<f32>()).max(1);
    let mut all = vec![1.0_f32; length * cpu.threads()];
    // At least 16 MiB a time, so that the start of the team does not count.
    let times = (16_usize << 20).div_ceil(length * size_of::<f32>());
    let bytes = (length * times * size_of::<f32>()) as f64;
    let (shared, next) = (SharedSlice::new(&mut all), std::sync::atomic::AtomicUsize::new(0));
    best_rate(cpu, bytes, || {
        let idx = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % cpu.threads();
        // SAFETY: nobody writes; `Cpu` has found the instruction set.
        unsafe { black_box((kernel.read)(shared.slice(idx * length..(idx + 1) * length), times)) };
    })
}

/// Runs `work`, worth `amount`, on every member of the team; the best of some times, in units of 10⁹ a second.
fn best_rate(cpu: &Cpu, amount: f64, work: impl Fn() + Sync) -> f64 {
    let mut best: f64 = 0.0;
    for _ in 0..REPEATS {
        let members = std::sync::atomic::AtomicUsize::new(0);
        let start = Instant::now();
        cpu.pool().run(|_| {
            members.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            work();
        });
        // In a retreat of the team the caller works alone.
        let done = amount * members.into_inner() as f64;
        best = best.max(done / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// A (depth, rows) and B (depth, cols) of random bits: of either sign, between 2⁻⁷ and 2 in magnitude.
fn operands(kernel: &Kernel) -> (Vec<f32>, Vec<f32>) {
    let mut state = 0x9e37_79b9_u32;
    let mut random = || {
        // Marsaglia, "Xorshift RNGs" (2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from_bits(0x3c00_0000 | state & 0x8000_0000 | state >> 6 & 0x03ff_ffff)
    };
    let mut values = |n: usize| (0..n).map(|_| random()).collect();
    (values(kernel.depth * kernel.rows), values(kernel.depth * kernel.cols))
}

#[cfg(test)]
mod tests;
