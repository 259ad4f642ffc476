//! Memory: what the machine has, what was used, and whether a model finds room in it.

use recurra::models::LanguageModelConfig;
pub use recurra::train::machine_memory_bytes as memory_bytes;

use crate::failure::Failure;
use crate::quantity;

/// Numbers of four bytes that training keeps for each parameter: value, gradient, two of the optimizer.
pub const IN_TRAINING: u128 = 4;

/// Numbers that using a model keeps for each parameter: value, and the same laid out for the kernels.
pub const IN_USE: u128 = 2;

/// Most memory that this process ever held, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Refuses a model that cannot fit: asked for by flags, it would only be killed by the system later.
pub fn expect_room(config: &LanguageModelConfig, numbers_each: u128) -> Result<(), Failure> {
    let needed = config.n_parameters().saturating_mul(numbers_each * size_of::<f32>() as u128);
    match memory_bytes() {
        Some(present) if needed > u128::from(present) => Err(Failure::of_arguments(
            format!(
                "a network of {} parameters or more needs {} of memory, this machine has {}",
                quantity::rounded(config.n_parameters() as f64),
                quantity::memory(u64::try_from(needed).unwrap_or(u64::MAX)),
                quantity::memory(present)
            ),
            "give a smaller `--hidden`, `--embed` or `--layers`",
        )),
        _ => Ok(()),
    }
}
