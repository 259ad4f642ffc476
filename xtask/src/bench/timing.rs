//! What a program says of its speed, and the middle of what it said several times.

use std::fmt;

use serde::Deserialize;

/// One line of JSON, as `recurra bench --json` and every program in `bench/peers` print it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Timing {
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Most memory that the process held.
    pub peak_rss_mib: Option<f64>,
    /// How numbers go into products.
    pub precision: Option<String>,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} tokens/s", self.tokens_per_second)?;
        self.precision.as_ref().map_or(Ok(()), |precision| write!(f, " in {precision}"))?;
        self.peak_rss_mib.map_or(Ok(()), |mib| write!(f, ", {mib:.0} MiB"))
    }
}

/// The last line of `output`.
///
/// # Errors
/// When it is no JSON object with a positive number `tokens_per_second`.
pub fn parse(output: &str) -> Result<Timing, String> {
    let line = output.trim_end().lines().next_back().unwrap_or_default();
    let wrong = |reason: String| {
        format!(
            "expected a JSON object with `tokens_per_second` as last line, came `{line}`: {reason}"
        )
    };
    let timing: Timing = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
    match timing.tokens_per_second {
        speed if speed > 0.0 && speed.is_finite() => Ok(timing),
        speed => Err(wrong(format!("{speed} is no speed"))),
    }
}

/// The median of each number; of an even count, the mean of the two in the middle.
///
/// # Panics
/// When there is no timing.
pub fn median(timings: &[Timing]) -> Timing {
    let memory: Vec<f64> = timings.iter().filter_map(|timing| timing.peak_rss_mib).collect();
    Timing {
        tokens_per_second: middle(timings.iter().map(|timing| timing.tokens_per_second).collect()),
        peak_rss_mib: (!memory.is_empty()).then(|| middle(memory)),
        precision: timings[0].precision.clone(),
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

/// (Π x)^(1/n).
pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(tokens_per_second: f64, mib: Option<f64>) -> Timing {
        Timing { tokens_per_second, peak_rss_mib: mib, precision: None }
    }

    #[test]
    fn the_last_line_counts_and_unknown_keys_do_not_matter() {
        let output = "a warning\n{\"peer\": \"torch\", \"tokens_per_second\": 1340.5, \"precision\": \"bf16\", \"peak_rss_mib\": 1142}\n";
        let found = parse(output).unwrap();
        assert_eq!(found.to_string(), "1340 tokens/s in bf16, 1142 MiB");
    }

    #[test]
    fn what_is_no_speed_is_refused() {
        for output in
            ["", "{}", "Killed", "{\"tokens_per_second\": 0}", "{\"tokens_per_second\": \"x\"}"]
        {
            let error = parse(output).unwrap_err();
            assert!(error.starts_with("expected a JSON object"), "{output}: {error}");
        }
    }

    #[test]
    fn medians_stand_in_the_middle() {
        let found = median(&[timing(9.0, Some(5.0)), timing(1.0, None), timing(2.0, Some(7.0))]);
        assert_eq!((found.tokens_per_second, found.peak_rss_mib), (2.0, Some(6.0)));
        assert_eq!(median(&[timing(3.0, None), timing(4.0, None)]), timing(3.5, None));
    }

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean(&[8.0, 0.125]) - 1.0).abs() < 1e-12);
        assert!((geometric_mean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
    }
}
