//! Whether a model finds room in the memory of the machine: told before hours of work, not by the system that kills it.

use recurra_models::LanguageModelConfig;
use recurra_tensor::Window;

use crate::error::Error;

/// What is done with a model decides how many numbers are kept for each of its parameters, and how many states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Value, gradient, and what the optimizer keeps; of each stream its state and one for validation; of each token of a window at
    /// least what the embedding and the layers hand up.
    Training {
        /// Numbers that the optimizer keeps of each parameter, and one for an average.
        moments: usize,
        /// Tokens that an update is made of.
        window: Window,
    },
    /// Value.
    Use {
        /// Streams that are written or read, each with its state.
        streams: usize,
    },
}

impl Purpose {
    /// All numbers that are kept.
    fn numbers(self, config: &LanguageModelConfig) -> u128 {
        let (of_a_parameter, n_states, n_tokens) = match self {
            Purpose::Training { moments, window } => (2 + moments, 2 * window.batch, window.len()),
            Purpose::Use { streams } => (1, streams, 0),
        };
        let of_a_token =
            config.hidden_sizes.iter().fold(config.embed_size as u128, |n, &size| n + size as u128);
        [
            (config.n_parameters(), of_a_parameter),
            (config.state_values(), n_states),
            (of_a_token, n_tokens),
        ]
        .into_iter()
        .map(|(numbers, times)| numbers.saturating_mul(times as u128))
        .fold(0, u128::saturating_add)
    }
}

/// All memory of the machine, where the system tells.
pub fn machine_memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Asks whether there can be such a model, and whether it fits into memory of `present_bytes`; where that is not known, it does.
///
/// # Errors
/// [`Error::Model`] where there can be none, [`Error::NoRoom`] where it takes more.
pub fn expect_room(
    config: &LanguageModelConfig,
    purpose: Purpose,
    present_bytes: Option<u64>,
) -> Result<(), Error> {
    config.check()?;
    let parameters = config.n_parameters();
    let needed = purpose.numbers(config).saturating_mul(size_of::<f32>() as u128);
    match present_bytes {
        Some(present_bytes) if needed > u128::from(present_bytes) => Err(Error::NoRoom {
            parameters: u64::try_from(parameters).unwrap_or(u64::MAX),
            needed_bytes: u64::try_from(needed).unwrap_or(u64::MAX),
            present_bytes,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use recurra_models::CellKind;

    use super::*;

    #[test]
    fn the_numbers_of_four_bytes_that_a_purpose_keeps_must_fit() {
        let config = LanguageModelConfig {
            cell: CellKind::Lstm,
            vocab_size: 100,
            embed_size: 10,
            hidden_sizes: vec![20],
            tied: false,
            dropout: 0.0,
            ..LanguageModelConfig::new(100)
        };
        let window = Window { time: 5, batch: 3 };
        let training = [0, 1, 2].map(|moments| {
            (Purpose::Training { moments, window }, 2 + moments as u64, 2 * 3, 5 * 3)
        });
        for (purpose, numbers, states, tokens) in
            training.into_iter().chain([(Purpose::Use { streams: 1 }, 1, 1, 0)])
        {
            // An LSTM remembers h and c.
            let of_streams = states * 2 * 20 + tokens * (10 + 20);
            let needed = (config.n_parameters() as u64 * numbers + of_streams) * 4;
            assert!(expect_room(&config, purpose, Some(needed)).is_ok());
            assert!(expect_room(&config, purpose, None).is_ok());
            let error = expect_room(&config, purpose, Some(needed - 1)).unwrap_err();
            assert!(matches!(error, Error::NoRoom { needed_bytes, .. } if needed_bytes == needed));
            assert!(error.hint().unwrap().contains("smaller"));
        }
        let none = LanguageModelConfig { hidden_sizes: vec![], ..config };
        let error = expect_room(&none, Purpose::Use { streams: 1 }, Some(0)).unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{error}");
    }
}
