//! Values of flags: read, checked against their limits, and answered with the nearest good one.

use std::fmt;
use std::time::Duration;

use recurra::data::TokenizerSpec;
pub use recurra::data::nearest;
use recurra::metrics::readable::grouped;

/// Why the value of a flag was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What would do.
    pub expected: String,
    /// What to do, where that says more.
    pub hint: Option<String>,
}

impl ValueError {
    fn new(expected: impl Into<String>) -> ValueError {
        ValueError { expected: expected.into(), hint: None }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for ValueError {}

/// The result of reading a value.
pub type Parsed<T> = Result<T, ValueError>;

/// A whole number from `MIN` to `MAX`; every `_` is let through, `10_000` being easier to read.
pub fn whole<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<u64> {
    let refused =
        || ValueError::new(format!("a whole number from {} to {}", grouped(MIN), grouped(MAX)));
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    match digits.parse::<u64>() {
        Ok(number) if (MIN..=MAX).contains(&number) => Ok(number),
        _ => Err(refused()),
    }
}

/// The same as a size in memory.
pub fn size<const MIN: u64, const MAX: u64>(text: &str) -> Parsed<usize> {
    whole::<MIN, MAX>(text).map(|number| number as usize)
}

/// A number in a range, refused with the range in words.
fn number(text: &str, is_good: impl Fn(f64) -> bool, expected: &str) -> Parsed<f64> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && is_good(number) => Ok(number),
        _ => Err(ValueError::new(expected)),
    }
}

/// A number that is carried on from step to step: momentum.
pub fn below_one(text: &str) -> Parsed<f64> {
    number(text, |x| (0.0..1.0).contains(&x), "a number from 0 up to, but not including, 1")
}

/// A share that may be nothing but hardly everything: dropout.
pub fn rate(text: &str) -> Parsed<f64> {
    of_percent(text, number(text, |x| (0.0..=0.99).contains(&x), "a number from 0 to 0.99"))
}

/// A share that may be everything but not nothing: top-p.
pub fn share(text: &str) -> Parsed<f64> {
    of_percent(text, number(text, |x| x > 0.0 && x <= 1.0, "a number above 0, up to 1"))
}

/// A share that may be anything: min-p.
pub fn part(text: &str) -> Parsed<f64> {
    of_percent(text, number(text, |x| (0.0..=1.0).contains(&x), "a number from 0 (all) to 1"))
}

/// Says how a share is written where `text` looks like a percentage.
fn of_percent(text: &str, mut parsed: Parsed<f64>) -> Parsed<f64> {
    let percent = text.trim().trim_end_matches('%').parse::<f64>();
    if let (Err(error), Ok(percent @ 2.0..100.0)) = (&mut parsed, percent) {
        error.hint = Some(format!("{text} of 100 is written `{}`", percent / 100.0));
    }
    parsed
}

/// A rate or a norm: above 0, at most a million.
pub fn positive(text: &str) -> Parsed<f64> {
    number(text, |x| x > 0.0 && x <= 1e6, "a number above 0, at most 1000000")
}

/// Largest norm of the gradient; 0 is none.
pub fn clip(text: &str) -> Parsed<f64> {
    number(text, |x| (0.0..=1e6).contains(&x), "a number from 0 (never clips) to 1000000")
}

/// Weight decay.
pub fn decay(text: &str) -> Parsed<f64> {
    number(text, |x| (0.0..=10.0).contains(&x), "a number from 0 to 10")
}

/// Forget bias.
pub fn bias(text: &str) -> Parsed<f64> {
    number(text, |x| (-20.0..=20.0).contains(&x), "a number from -20 to 20")
}

/// Temperature of sampling; 0 takes the likeliest token always.
pub fn temperature(text: &str) -> Parsed<f64> {
    number(text, |x| (0.0..=100.0).contains(&x), "a number from 0 (always the likeliest) to 100")
}

/// Temperature of the softmax of a score.
pub fn softmax_temperature(text: &str) -> Parsed<f64> {
    number(text, |x| (0.1..=10.0).contains(&x), "a number from 0.1 to 10, or `tuned`")
}

/// `W` or `W:θ,λ`: a number, and after a colon others; how many is for the caller to say.
pub fn with_numbers(text: &str) -> Parsed<(usize, Vec<f64>)> {
    let refused = || ValueError::new("a whole number, or one and others as in `500:1,0.1`");
    let (whole, rest) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    let whole = whole.trim().parse().map_err(|_| refused())?;
    let read = |rest: &str| rest.split(',').map(|x| x.trim().parse::<f64>()).collect();
    let numbers: Result<Vec<f64>, _> = rest.map_or(Ok(Vec::new()), read);
    Ok((whole, numbers.map_err(|_| refused())?))
}

/// Repetition penalty; 1 is none.
pub fn penalty(text: &str) -> Parsed<f64> {
    number(text, |x| (0.1..=100.0).contains(&x), "a number from 0.1 to 100 (1 is none)")
}

/// Longest budget: a year.
const LONGEST_BUDGET_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// `90s`, `10m`, `2h`, and several in a row: `1h30m`.
pub fn duration(text: &str) -> Parsed<Duration> {
    let refused = |hint: Option<String>| {
        let expected = "a duration such as 90s, 10m, 2h or 1h30m, from 1s to 8784h";
        ValueError { hint, ..ValueError::new(expected) }
    };
    if text.parse::<f64>().is_ok() {
        return Err(refused(Some(format!("say which unit: `{text}s`, `{text}m` or `{text}h`"))));
    }
    let mut seconds = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| refused(None))?;
        let amount: f64 = rest[..digits].parse().map_err(|_| refused(None))?;
        let unit =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        seconds += amount
            * match rest[digits..unit].trim() {
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 24.0 * 3600.0,
                _ => return Err(refused(None)),
            };
        rest = rest[unit..].trim();
    }
    match (1.0..=LONGEST_BUDGET_SECONDS).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(refused(None)),
    }
}

/// `byte`, `char`, `word`, `bpe:N` or a file.
pub fn tokenizer(text: &str) -> Parsed<TokenizerSpec> {
    text.parse().map_err(|error: recurra::data::Error| ValueError {
        expected: "byte, char, word, bpe:N or a tokenizer.json file".to_owned(),
        hint: error.hint(),
    })
}

/// A text in which `\n`, `\t` and `\\` stand for what they mean, since shells make line ends hard to type.
pub fn escaped(text: &str) -> Parsed<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (c, false) => out.push(c),
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\\') => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
        }
    }
    match out.is_empty() {
        true => Err(ValueError::new("at least one character")),
        false => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: fmt::Debug + PartialEq>(
        parse: fn(&str) -> Parsed<T>,
        good: &[(&str, T)],
        bad: &[&str],
    ) {
        for (text, expected) in good {
            assert_eq!(parse(text).as_ref(), Ok(expected), "{text}");
        }
        for text in bad {
            assert!(parse(text).is_err(), "`{text}` was read as {:?}", parse(text));
        }
    }

    #[test]
    fn sizes_have_limits() {
        check(
            size::<1, 4096>,
            &[("1", 1), ("4096", 4096), ("1_000", 1000)],
            &["0", "4097", "-1", "1.5", "", "many"],
        );
        let huge = whole::<1, 10_000>("99999999999999999999999").unwrap_err();
        assert_eq!(huge.to_string(), "expected a whole number from 1 to 10,000");
    }

    #[test]
    fn shares_are_not_percentages() {
        check(below_one, &[("0", 0.0), ("0.9995", 0.9995)], &["1", "-0.1", "nan", "inf", "x", ""]);
        check(rate, &[("0", 0.0), ("0.99", 0.99)], &["0.995", "1", "-0.1", "nan", "inf", "x", ""]);
        check(share, &[("1", 1.0), ("0.9", 0.9)], &["0", "1.1", "nan"]);
        check(part, &[("0", 0.0), ("1", 1.0)], &["1.1", "-0.1", "nan"]);
        assert_eq!(rate("20").unwrap_err().hint.unwrap(), "20 of 100 is written `0.2`");
        assert_eq!(share("90%").unwrap_err().hint.unwrap(), "90% of 100 is written `0.9`");
    }

    #[test]
    fn numbers_follow_a_colon() {
        let good = [
            ("500", (500, vec![])),
            ("500:1,0.1", (500, vec![1.0, 0.1])),
            ("5: 5e-5 , 2e-3,1e-5", (5, vec![5e-5, 2e-3, 1e-5])),
        ];
        check(with_numbers, &good, &["", ":1", "x", "5:", "5:1,", "5:a", "-3", "1.5"]);
    }

    #[test]
    fn durations_need_a_unit() {
        let seconds = Duration::from_secs;
        let good = [
            ("90s", seconds(90)),
            ("10m", seconds(600)),
            ("2h", seconds(7200)),
            ("1h30m", seconds(5400)),
        ];
        check(
            duration,
            &good,
            &["10", "0s", "0.5s", "m", "10x", "-5m", "9000h", "", "1h30", "inf", "1e9h"],
        );
        check(duration, &[("0.5m", seconds(30)), ("1d", seconds(86400))], &["..s", "nan", "nanm"]);
        assert_eq!(
            duration("10").unwrap_err().hint.unwrap(),
            "say which unit: `10s`, `10m` or `10h`"
        );
    }

    #[test]
    fn escapes_mean_what_they_say() {
        let good =
            [("a\\nb", "a\nb"), ("\\t", "\t"), ("\\\\n", "\\n"), ("\\d", "\\d"), ("\\", "\\")];
        check(escaped, &good.map(|(text, value)| (text, value.to_owned())), &[""]);
    }
}
