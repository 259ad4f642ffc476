//! Memory: what the machine has, what was used, and whether a model finds room in it.

use recurra::models::LanguageModelConfig;
pub use recurra::train::machine_memory_bytes as memory_bytes;
use recurra::train::{self, Purpose};

use crate::failure::Failure;

/// Most memory that this process ever held, where the system tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Refuses a model that cannot be, or that cannot fit: asked for by flags, it would only be killed by the system later.
pub fn expect_room(config: &LanguageModelConfig, purpose: Purpose) -> Result<(), Failure> {
    train::expect_room(config, purpose, memory_bytes()).map_err(|error| {
        let hint = match &error {
            train::Error::NoRoom { .. } => {
                "give a smaller `--hidden`, `--embed`, `--layers`, `--batch` or `--context`"
                    .to_owned()
            }
            error => error.hint().unwrap_or_default(),
        };
        Failure::of_arguments(error.to_string(), hint)
    })
}
