//! Recovers the choices from a text: what a story costs under the grammar, told by the text alone.
//!
//! The grammars are *prefix-free*: of two alternatives of one choice, made in the same memory, no text of one begins a
//! text of the other, and the same holds for what a slot can draw. (The tests prove it for every choice.) So at most one
//! alternative can stand at any place, the first that matches is the right one, and a text has at most one derivation:
//!
//! p(text) = Π over its choices of weight / total weight.

use super::grammar::{Draw, Grammar, Held, Item, Memory, surprise};

/// Reads one story at the start of `text`; gives its nats and what is left.
///
/// # Errors
/// The byte at which no choice of the grammar goes on.
pub(super) fn read_story<'t>(grammar: &Grammar, text: &'t str) -> Result<(f64, &'t str), usize> {
    let mut reader = Reader { grammar, text, furthest: 0 };
    match reader.rule(0, Point { at: 0, nats: 0.0, memory: Memory::default() }) {
        Some(end) => Ok((end.nats, &text[end.at..])),
        // A character can go wrong in its second byte; what is reported is where it starts.
        None => Err((0..=reader.furthest).rfind(|&byte| text.is_char_boundary(byte)).unwrap_or(0)),
    }
}

/// How far the reader has come on one path.
#[derive(Clone, Copy)]
struct Point {
    at: usize,
    nats: f64,
    memory: Memory,
}

struct Reader<'a> {
    grammar: &'a Grammar,
    text: &'a str,
    furthest: usize,
}

impl Reader<'_> {
    fn rule(&mut self, rule: usize, point: Point) -> Option<Point> {
        let alternatives = &self.grammar.rules[rule].alternatives;
        let total = alternatives.iter().map(|alternative| alternative.weight).sum();
        alternatives.iter().find_map(|alternative| {
            let nats = point.nats + surprise(alternative.weight, total);
            alternative
                .items
                .iter()
                .try_fold(Point { nats, ..point }, |point, item| self.item(item, point))
        })
    }

    fn item(&mut self, item: &Item, mut point: Point) -> Option<Point> {
        match item {
            Item::Text(words) => self.words(words, point),
            Item::Rule(inner) => self.rule(*inner, point),
            Item::Mention { slot, form } => self.mention(*slot, *form, point),
            Item::Bind { slot, pool } => {
                point.memory[*slot] = Some(Held { pool: *pool, entry: None });
                Some(point)
            }
        }
    }

    fn words(&mut self, words: &str, point: Point) -> Option<Point> {
        let rest = &self.text.as_bytes()[point.at..];
        let same = rest.iter().zip(words.as_bytes()).take_while(|(a, b)| a == b).count();
        self.furthest = self.furthest.max(point.at + same);
        (same == words.len()).then(|| Point { at: point.at + same, ..point })
    }

    fn mention(&mut self, slot: usize, form: usize, point: Point) -> Option<Point> {
        let held = point.memory[slot];
        let fill = |held, weight, total| {
            let mut point = Point { nats: point.nats + surprise(weight, total), ..point };
            point.memory[slot] = Some(held);
            point
        };
        match (self.grammar.draw(held, form), held) {
            (Draw::Pool, _) => {
                let total = self.grammar.pool_weight(slot);
                let mut pools = self.grammar.pools_of(slot);
                pools.find_map(|(pool, weight)| {
                    self.mention(slot, form, fill(Held { pool, entry: None }, weight, total))
                })
            }
            (Draw::Entry, Some(held)) => {
                let total = self.grammar.free_entries(held.pool, &point.memory).count() as u32;
                let mut entries = self.grammar.free_entries(held.pool, &point.memory);
                entries.find_map(|entry| {
                    self.mention(slot, form, fill(Held { entry: Some(entry), ..held }, 1, total))
                })
            }
            (_, held) => self.words(self.grammar.words(held?, form), point),
        }
    }
}
