//! Tells a story: walks the grammar from its start, drawing every choice.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::grammar::{Draw, Form, Grammar, Held, Item, MAX_SLOTS, Memory, surprise};
use super::{Dependency, Language, Probe, Story};

/// Tells story `index` of the book of `seed`; probes are noted if `with_probes`.
pub(super) fn tell(
    grammar: &Grammar,
    language: Language,
    seed: u64,
    index: u64,
    with_probes: bool,
) -> Story {
    let mut teller = Teller {
        grammar,
        language,
        dice: Dice::new(seed, index),
        memory: Memory::default(),
        mentions: [Mentions::default(); MAX_SLOTS],
        with_probes,
        words_before: 0,
        story: Story { language, text: String::new(), nats: 0.0, probes: vec![] },
    };
    teller.rule(0);
    teller.story
}

/// Fair draws of whole numbers: ChaCha with 8 rounds, keyed by the seed, one stream a story.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64, index: u64) -> Dice {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Dice(rng)
    }

    /// A number below `n`, each exactly equally likely: multiply and reject (Lemire, 2019).
    fn below(&mut self, n: u32) -> u32 {
        let rejected = n.wrapping_neg() % n; // 2^32 mod n
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= rejected {
                return (product >> 32) as u32;
            }
        }
    }
}

/// How many words stood before the last mention of a slot.
#[derive(Clone, Copy, Default)]
struct Mentions {
    /// In any form: it settles pronouns and quotation marks.
    any: Option<u64>,
    /// In a form that shows the entry: it settles names.
    entry: Option<u64>,
}

struct Teller<'g> {
    grammar: &'g Grammar,
    language: Language,
    dice: Dice,
    memory: Memory,
    mentions: [Mentions; MAX_SLOTS],
    with_probes: bool,
    words_before: u64,
    story: Story,
}

impl<'g> Teller<'g> {
    fn rule(&mut self, rule: usize) {
        let alternatives = &self.grammar.rules[rule].alternatives;
        let chosen = self.choose(alternatives.iter().map(|alternative| alternative.weight));
        for item in &alternatives[chosen].items {
            match item {
                Item::Text(words) => self.write(words),
                Item::Rule(inner) => self.rule(*inner),
                Item::Mention { slot, form } => self.mention(*slot, *form),
                Item::Bind { slot, pool } => {
                    self.memory[*slot] = Some(Held { pool: *pool, entry: None })
                }
            }
        }
    }

    /// Draws one of `weights` and pays for it: −ln (weight / total).
    fn choose(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total = weights.clone().sum();
        let mut rest = self.dice.below(total);
        for (idx, weight) in weights.enumerate() {
            if rest < weight {
                self.story.nats += surprise(weight, total);
                return idx;
            }
            rest -= weight;
        }
        unreachable!("a number below the total falls on one of the weights")
    }

    fn write(&mut self, words: &str) {
        self.story.text.push_str(words);
        self.words_before += self.language.word_marks(words);
    }

    fn mention(&mut self, slot: usize, form: usize) {
        let before = self.memory[slot];
        let held = loop {
            match (self.grammar.draw(self.memory[slot], form), self.memory[slot]) {
                (Draw::Pool, _) => {
                    let pools: Vec<_> = self.grammar.pools_of(slot).collect();
                    let (pool, _) = pools[self.choose(pools.iter().map(|&(_, weight)| weight))];
                    self.memory[slot] = Some(Held { pool, entry: None });
                }
                (Draw::Entry, Some(held)) => {
                    let entries: Vec<_> =
                        self.grammar.free_entries(held.pool, &self.memory).collect();
                    let entry = entries[self.choose(entries.iter().map(|_| 1))];
                    self.memory[slot] = Some(Held { entry: Some(entry), ..held });
                }
                (_, held) => break held.expect("nothing is left to draw"),
            }
        };
        let words = self.grammar.words(held, form);
        if self.with_probes && !words.trim().is_empty() {
            self.probe(slot, form, before, held);
        }
        self.write(words);
    }

    /// Notes a probe if an earlier mention settles this one, and that this one was.
    fn probe(&mut self, slot: usize, form: usize, before: Option<Held>, held: Held) {
        let is_each = self.grammar.is_each(held.pool, form);
        let last = if is_each { self.mentions[slot].entry } else { self.mentions[slot].any };
        if let (true, Some(last)) = (before == Some(held), last) {
            let family = &self.grammar.families[self.grammar.slots[slot].family];
            let dependency = match family.dependency {
                Dependency::Quotation => Dependency::Quotation,
                _ if !is_each => Dependency::Pronoun,
                noun => noun,
            };
            let wrong = self.alternatives(slot, form, held);
            if !wrong.is_empty() {
                let start = self.story.text.len();
                let range = start..start + self.grammar.words(held, form).len();
                let distance_words = self.words_before - last;
                self.story.probes.push(Probe { dependency, range, distance_words, wrong });
            }
        }
        self.mentions[slot].any = Some(self.words_before);
        if is_each {
            self.mentions[slot].entry = Some(self.words_before);
        }
    }

    /// What else could fill the slot in this form, but for what the story holds in it or in another slot.
    fn alternatives(&self, slot: usize, form: usize, held: Held) -> Vec<String> {
        let right = self.grammar.words(held, form);
        let mut wrong: Vec<String> = vec![];
        let mut add = |words: &str| {
            if words != right && wrong.iter().all(|known| known != words) {
                wrong.push(words.to_owned());
            }
        };
        for &pool in &self.grammar.families[self.grammar.slots[slot].family].pools {
            match &self.grammar.pools[pool].forms[form] {
                None => {}
                Some(Form::Shared(words)) => add(words),
                Some(Form::Each(words)) => {
                    self.grammar
                        .free_entries(pool, &self.memory)
                        .for_each(|entry| add(&words[entry]));
                }
            }
        }
        wrong
    }
}
