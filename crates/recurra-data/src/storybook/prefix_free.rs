//! The proof that a text has at most one derivation.
//!
//! Two derivations of one text part at a first choice, made in the same memory at the same byte. If of two alternatives
//! neither can write what begins, or is begun by, what the other writes, then the texts differ inside those alternatives,
//! which contradicts that they are one. So it is enough to look at each choice alone, in every memory it can be met
//! with. The check writes two alternatives side by side, a character at a time, branching wherever either has a choice,
//! and fails if one comes to its end before they differ.

use super::entropy::{Sketch, reachable};
use super::grammar::{Draw, Form, Grammar, Held, Item, MAX_SLOTS, Memory};

/// An entry that was drawn before the choice; which one is decided when somebody looks.
const UNSEEN: usize = usize::MAX;

/// The first choice that is not prefix-free, if any.
pub(super) fn find_clash(grammar: &Grammar) -> Option<String> {
    clash_of_mentions(grammar).or_else(|| {
        reachable(grammar).into_iter().find_map(|(rule, sketch)| {
            let rule = &grammar.rules[rule];
            let writers: Vec<_> = rule
                .alternatives
                .iter()
                .map(|alternative| Writer::new(&alternative.items, &sketch))
                .collect();
            (0..writers.len()).find_map(|a| {
                let b = (0..a).find(|&b| clash(grammar, writers[a].clone(), writers[b].clone()))?;
                Some(format!("alternatives {} and {} of rule `{}`", b + 1, a + 1, rule.name))
            })
        })
    })
}

/// Two fillings of a slot of which one begins the other.
fn clash_of_mentions(grammar: &Grammar) -> Option<String> {
    let items = grammar
        .rules
        .iter()
        .flat_map(|rule| &rule.alternatives)
        .flat_map(|alternative| &alternative.items);
    items
        .filter_map(|item| {
            if let Item::Mention { slot, form } = item { Some((*slot, *form)) } else { None }
        })
        .find_map(|(slot, form)| {
            let mut fillings: Vec<&str> = vec![];
            for (pool, _) in grammar.pools_of(slot) {
                match grammar.pools[pool].forms[form].as_ref()? {
                    Form::Shared(words) => fillings.push(words),
                    Form::Each(entries) => fillings.extend(entries.iter().map(String::as_str)),
                }
            }
            fillings.sort_unstable();
            let pair = fillings.windows(2).find(|pair| pair[1].starts_with(pair[0]))?;
            Some(format!("`{}` and `{}`", pair[0], pair[1]))
        })
}

#[derive(Clone)]
struct Writer<'g> {
    /// What is still to do, the next item last.
    todo: Vec<&'g Item>,
    /// What is written next.
    pending: &'g str,
    memory: Memory,
}

impl<'g> Writer<'g> {
    fn new(items: &'g [Item], sketch: &Sketch) -> Writer<'g> {
        let mut memory = Memory::default();
        for slot in 0..MAX_SLOTS {
            memory[slot] =
                sketch[slot].map(|(pool, drawn)| Held { pool, entry: drawn.then_some(UNSEEN) });
        }
        Writer { todo: items.iter().rev().collect(), pending: "", memory }
    }
}

/// Whether `a` and `b` can write texts of which one begins the other.
fn clash(grammar: &Grammar, mut a: Writer, mut b: Writer) -> bool {
    loop {
        if a.pending.is_empty() {
            return step(grammar, a, b);
        }
        if b.pending.is_empty() {
            return step(grammar, b, a);
        }
        let length = a.pending.len().min(b.pending.len());
        if a.pending.as_bytes()[..length] != b.pending.as_bytes()[..length] {
            return false;
        }
        (a.pending, b.pending) = (&a.pending[length..], &b.pending[length..]);
    }
}

/// Lets `a`, which has nothing pending, take its next item in every way it can.
fn step<'g>(grammar: &'g Grammar, mut a: Writer<'g>, b: Writer<'g>) -> bool {
    let Some(item) = a.todo.pop() else { return true };
    match item {
        Item::Text(words) => clash(grammar, Writer { pending: words, ..a }, b),
        Item::Rule(rule) => grammar.rules[*rule].alternatives.iter().any(|alternative| {
            let mut a = a.clone();
            a.todo.extend(alternative.items.iter().rev());
            clash(grammar, a, b.clone())
        }),
        Item::Bind { slot, pool } => {
            a.memory[*slot] = Some(Held { pool: *pool, entry: None });
            clash(grammar, a, b)
        }
        Item::Mention { slot, form } => mention(grammar, *slot, *form, a, b),
    }
}

fn mention<'g>(
    grammar: &'g Grammar,
    slot: usize,
    form: usize,
    a: Writer<'g>,
    b: Writer<'g>,
) -> bool {
    let held = a.memory[slot];
    match (grammar.draw(held, form), held) {
        (Draw::Pool, _) => grammar.pools_of(slot).any(|(pool, _)| {
            let mut a = a.clone();
            a.memory[slot] = Some(Held { pool, entry: None });
            mention(grammar, slot, form, a, b.clone())
        }),
        (Draw::Entry, Some(held)) => grammar.free_entries(held.pool, &a.memory).any(|entry| {
            let mut a = a.clone();
            a.memory[slot] = Some(Held { entry: Some(entry), ..held });
            mention(grammar, slot, form, a, b.clone())
        }),
        // Both writers remember the same from before the choice, and neither has drawn it since.
        (_, Some(Held { pool, entry: Some(UNSEEN) })) if grammar.is_each(pool, form) => {
            grammar.free_entries(pool, &a.memory).any(|entry| {
                let seen = Some(Held { pool, entry: Some(entry) });
                if (0..MAX_SLOTS).any(|other| b.memory[other] == seen) {
                    return false;
                }
                let (mut a, mut b) = (a.clone(), b.clone());
                (a.memory[slot], b.memory[slot]) = (seen, seen);
                mention(grammar, slot, form, a, b)
            })
        }
        (_, held) => {
            let pending = grammar.words(held.expect("nothing is left to draw"), form);
            clash(grammar, Writer { pending, ..a }, b)
        }
    }
}
