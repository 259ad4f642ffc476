//! Quantities as people read them.

/// 75 as `1 min 15 s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 1536 as `1.5 KiB`.
pub fn memory(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut unit = "bytes";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{amount:.1} {unit}") }
}

/// 1234567 as `1.23 M`, for numbers whose last digits do not matter.
pub fn rounded(number: f64) -> String {
    match number {
        n if !n.is_finite() => "?".to_owned(),
        1e12.. => format!("{:.2} T", number / 1e12),
        1e9.. => format!("{:.2} G", number / 1e9),
        1e6.. => format!("{:.2} M", number / 1e6),
        1e4.. => format!("{:.1} k", number / 1e3),
        100.0.. => grouped(number.round() as u64),
        _ => format!("{number:.1}"),
    }
}

/// So many decimals; past a million, a power of ten.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value < 1e6 { format!("{value:.decimals$}") } else { format!("{value:.2e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.25, "0.2 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (75.0, "1 min 15 s"),
            (7260.0, "2 h 01 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::INFINITY), "?");
        assert_eq!(duration(f64::NAN), "?");
    }

    #[test]
    fn long_numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (12, "12"), (123, "123"), (1234, "1,234"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn memory_sizes() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(memory(bytes), text);
        }
    }

    #[test]
    fn rounded_numbers() {
        for (number, text) in
            [(3.04, "3.0"), (1234.4, "1,234"), (12345.0, "12.3 k"), (1.5e9, "1.50 G")]
        {
            assert_eq!(rounded(number), text);
        }
    }
}
