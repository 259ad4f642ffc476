//! The known name that is most like one that is not known.

/// The candidate nearest to `wanted`, unless none is near enough to be what was meant; large letters count as small ones.
///
/// ```
/// assert_eq!(recurra_data::nearest("LTSM", ["lstm", "gru"]), Some("lstm"));
/// assert_eq!(recurra_data::nearest("transformer", ["lstm", "gru"]), None);
/// ```
pub fn nearest<S: AsRef<str> + Ord>(
    wanted: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<S> {
    // Names are short; more letters than these are not looked at.
    let wanted: String = wanted.to_lowercase().chars().take(64).collect();
    let limit = (wanted.chars().count() / 3).max(1) + usize::from(wanted.chars().count() > 3);
    candidates
        .into_iter()
        .map(|name| (distance(&wanted, &name.as_ref().to_lowercase()), name))
        .filter(|&(distance, _)| distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (Damerau 1964, Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut least =
                    (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, expected: Option<&str>) {
        let names = ["byte", "char", "word", "bpe:8000", "adamw", "ptb-650"];
        assert_eq!(nearest(wanted, names), expected, "{wanted}");
    }

    #[test]
    fn finds_what_was_meant() {
        check("bite", Some("byte"));
        check("chra", Some("char"));
        check("words", Some("word"));
        check("bpe800", Some("bpe:8000"));
        check("sentencepiece", None);
        check("adam", Some("adamw"));
        check("PTB650", Some("ptb-650"));
        check("rmsprop", None);
        check("", None);
    }
}
