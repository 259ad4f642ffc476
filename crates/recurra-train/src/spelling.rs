//! The nearest of a few names, for a hint after a misspelt one.

/// The candidate with the fewest edits from `word`, if they are no more than about a third of its length.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let (distance, candidate) = candidates.iter().map(|&c| (edit_distance(word, c), c)).min()?;
    (distance <= 1 + word.chars().count() / 3).then_some(candidate)
}

/// Insertions, deletions and replacements between two words (Levenshtein, 1966).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (idx, letter) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = idx + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(nearest("adam", &["sgd", "adamw"]), Some("adamw"));
        assert_eq!(nearest("platau", &["constant", "plateau"]), Some("plateau"));
        assert_eq!(nearest("rmsprop", &["sgd", "adamw"]), None);
    }
}
