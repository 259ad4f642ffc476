//! Rust text with its comments and literals blanked out, so that a rule sees code only.

/// The same text with every comment, string and character literal replaced by spaces; line ends stay where they are.
pub fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment_end(bytes, at, out.last().copied());
        if end > at {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            // Bytes past ASCII cannot start a keyword, a macro or a path; a space keeps the text valid.
            out.push(if bytes[at].is_ascii() { bytes[at] } else { b' ' });
            at += 1;
        }
    }
    String::from_utf8(out).expect("only ASCII was written")
}

/// The words (identifiers, keywords, numbers) of blanked code: line number from 1, the word, what follows it.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut at = 0;
    let mut line = 1;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        line += code[at..start].matches('\n').count();
        let rest = &code[start..];
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        at = start + length;
        Some((line, &rest[..length], &rest[length..]))
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts there.
fn literal_or_comment_end(bytes: &[u8], at: usize, before: Option<u8>) -> usize {
    let rest = &bytes[at..];
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => quoted_end(bytes, at + 1, b'"'),
        [b'b' | b'c', b'"', ..] if !in_word => quoted_end(bytes, at + 2, b'"'),
        [b'b', b'\'', ..] if !in_word => quoted_end(bytes, at + 2, b'\''),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string_end(bytes, at, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_word => raw_string_end(bytes, at, at + 2),
        [b'\'', b'\\', ..] => quoted_end(bytes, at + 1, b'\''),
        [b'\'', ..] => character_end(bytes, at),
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], start: usize, hashes_at: usize) -> usize {
    let n_hashes = bytes[hashes_at..].iter().take_while(|&&b| b == b'#').count();
    let open = hashes_at + n_hashes;
    if bytes.get(open) != Some(&b'"') {
        return start; // a raw identifier such as r#type
    }
    let mut close = vec![b'"'];
    close.resize(1 + n_hashes, b'#');
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    length.map_or(bytes.len(), |length| open + 1 + length + close.len())
}

/// A character literal ends at the quote after one character; otherwise the quote opens a lifetime and is code.
fn character_end(bytes: &[u8], start: usize) -> usize {
    let Some(&first) = bytes.get(start + 1) else { return start };
    let length = match first {
        0x00..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let close = start + 1 + length;
    if bytes.get(close) == Some(&b'\'') { close + 1 } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let code = blanked(text);
        assert_eq!(
            code.matches('\n').count(),
            text.matches('\n').count(),
            "lines moved in {text:?}"
        );
        let found: Vec<&str> = words(&code).map(|(_, word, _)| word).collect();
        assert_eq!(found, expected, "in {text:?}");
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        check("a // unsafe\nb", &["a", "b"]);
        check("a /* unsafe /* nested */ unsafe */ b", &["a", "b"]);
        check("a \"unsafe \\\" unsafe\" b", &["a", "b"]);
        check("a r#\"unsafe \" unsafe\"# b", &["a", "b"]);
        check("a b\"unsafe\" br\"unsafe\" c", &["a", "c"]);
        check("a '\\'' b 'x' c '字' d b'\"' e", &["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check("fn f<'a>(x: &'a str)", &["fn", "f", "a", "x", "a", "str"]);
        check("r#type r", &["r", "type", "r"]);
        check("for_var\"text\" tail", &["for_var", "tail"]);
    }

    #[test]
    fn words_know_their_line_and_what_follows() {
        let code = "one\n\n two!(3)";
        let found: Vec<_> = words(code).collect();
        assert_eq!(found[0], (1, "one", "\n\n two!(3)"));
        assert_eq!(found[1], (3, "two", "!(3)"));
        assert_eq!(found[2], (3, "3", ")"));
    }

    #[test]
    fn an_open_literal_ends_with_the_file() {
        check("a \"never closed", &["a"]);
        check("a /* never closed", &["a"]);
        check("a r#\"never closed\"", &["a"]);
        check("a '", &["a"]);
    }
}
