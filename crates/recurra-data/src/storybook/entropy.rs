//! The exact entropy of the stories, and how long they are.
//!
//! For a choice C between alternatives with probabilities p, and what follows from it, entropies chain:
//!
//! H(C, rest) = Σ p ln 1/p + Σ p H(rest | alternative)
//!
//! Every text has one derivation ([`super::parse`]), so the entropy of the choices is that of the texts. The walk below
//! goes through the grammar with a *sketch* of the memory: which pool each slot holds, and whether its entry is drawn.
//! That is enough, because entries of a pool are equally likely and drawn without replacement: the next one costs
//! ln (entries − drawn) whichever were drawn, each slot's entry is uniform over the pool by symmetry, and expectations of
//! lengths add up. No sampling is done. The result is exact but for the rounding of f64.

use std::collections::{BTreeMap, HashMap};
use std::ops::{AddAssign, Mul};
use std::rc::Rc;

use super::Language;
use super::grammar::{Form, Grammar, Item, MAX_SLOTS, surprise};

/// What stories cost and measure on average, with the blank line that parts them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Entropy {
    /// Expected nats: what a perfect model pays for a story, which nothing can beat.
    pub nats_per_story: f64,
    /// Expected bytes of UTF-8.
    pub bytes_per_story: f64,
    /// Expected characters (Unicode scalar values).
    pub chars_per_story: f64,
    /// Expected words, as [`Language::count_words`] counts them.
    pub words_per_story: f64,
}

impl Entropy {
    /// Bits per byte: nats / (bytes ln 2).
    pub fn bits_per_byte(&self) -> f64 {
        self.nats_per_story / (self.bytes_per_story * std::f64::consts::LN_2)
    }

    /// What `text` measures; it costs nothing.
    fn measure(text: &str, language: Language) -> Entropy {
        Entropy {
            nats_per_story: 0.0,
            bytes_per_story: text.len() as f64,
            chars_per_story: text.chars().count() as f64,
            words_per_story: language.word_marks(text) as f64,
        }
    }
}

impl AddAssign for Entropy {
    fn add_assign(&mut self, other: Entropy) {
        self.nats_per_story += other.nats_per_story;
        self.bytes_per_story += other.bytes_per_story;
        self.chars_per_story += other.chars_per_story;
        self.words_per_story += other.words_per_story;
    }
}

impl Mul<f64> for Entropy {
    type Output = Entropy;

    fn mul(self, factor: f64) -> Entropy {
        Entropy {
            nats_per_story: self.nats_per_story * factor,
            bytes_per_story: self.bytes_per_story * factor,
            chars_per_story: self.chars_per_story * factor,
            words_per_story: self.words_per_story * factor,
        }
    }
}

/// The entropy of a story of `grammar`, without what parts it from the next.
pub(super) fn of_story(grammar: &Grammar, language: Language) -> Entropy {
    let mut walk = Walk { grammar, language, known: HashMap::new() };
    walk.rule(0, &[None; MAX_SLOTS]).mean
}

/// Every rule with every sketch that a story can enter it with.
#[cfg(test)]
pub(super) fn reachable(grammar: &Grammar) -> Vec<(usize, Sketch)> {
    let mut walk = Walk { grammar, language: Language::English, known: HashMap::new() };
    walk.rule(0, &[None; MAX_SLOTS]);
    walk.known.into_keys().collect()
}

/// What matters of a memory: the pool a slot holds, and whether its entry is drawn.
pub(super) type Sketch = [Option<(usize, bool)>; MAX_SLOTS];

/// What comes of a rule, or of a row of items, that is entered with a certain sketch.
struct Outcome {
    /// Expected cost and size.
    mean: Entropy,
    /// The sketches it ends with, and how likely each is; in order, so that sums are always taken alike.
    ends: BTreeMap<Sketch, f64>,
}

struct Walk<'g> {
    grammar: &'g Grammar,
    language: Language,
    known: HashMap<(usize, Sketch), Rc<Outcome>>,
}

impl Walk<'_> {
    fn rule(&mut self, rule: usize, sketch: &Sketch) -> Rc<Outcome> {
        if let Some(outcome) = self.known.get(&(rule, *sketch)) {
            return outcome.clone();
        }
        let alternatives = &self.grammar.rules[rule].alternatives;
        let total: u32 = alternatives.iter().map(|alternative| alternative.weight).sum();
        let mut outcome = Outcome { mean: Entropy::default(), ends: BTreeMap::new() };
        for alternative in alternatives {
            let probability = f64::from(alternative.weight) / f64::from(total);
            let row = self.row(&alternative.items, sketch);
            outcome.mean.nats_per_story += probability * surprise(alternative.weight, total);
            outcome.mean += row.mean * probability;
            for (end, chance) in row.ends {
                *outcome.ends.entry(end).or_default() += probability * chance;
            }
        }
        let outcome = Rc::new(outcome);
        self.known.insert((rule, *sketch), outcome.clone());
        outcome
    }

    fn row(&mut self, items: &[Item], sketch: &Sketch) -> Outcome {
        let mut row = Outcome { mean: Entropy::default(), ends: BTreeMap::from([(*sketch, 1.0)]) };
        for item in items {
            let mut ends = BTreeMap::new();
            for (sketch, probability) in row.ends {
                let step = self.item(item, &sketch);
                row.mean += step.mean * probability;
                for (end, chance) in &step.ends {
                    *ends.entry(*end).or_default() += probability * chance;
                }
            }
            row.ends = ends;
        }
        row
    }

    fn item(&mut self, item: &Item, sketch: &Sketch) -> Rc<Outcome> {
        let certain = |mean, end| Rc::new(Outcome { mean, ends: BTreeMap::from([(end, 1.0)]) });
        match item {
            Item::Text(words) => certain(Entropy::measure(words, self.language), *sketch),
            Item::Rule(inner) => self.rule(*inner, sketch),
            Item::Mention { slot, form } => Rc::new(self.mention(*slot, *form, sketch)),
            Item::Bind { slot, pool } => {
                let mut end = *sketch;
                end[*slot] = Some((*pool, false));
                certain(Entropy::default(), end)
            }
        }
    }

    fn mention(&self, slot: usize, form: usize, sketch: &Sketch) -> Outcome {
        let mut outcome = Outcome { mean: Entropy::default(), ends: BTreeMap::new() };
        let pools: Vec<(usize, bool, u32)> = match sketch[slot] {
            Some((pool, drawn)) => vec![(pool, drawn, 1)],
            None => {
                self.grammar.pools_of(slot).map(|(pool, weight)| (pool, false, weight)).collect()
            }
        };
        let total = pools.iter().map(|&(_, _, weight)| weight).sum();
        for (pool, drawn, weight) in pools {
            let probability = f64::from(weight) / f64::from(total);
            let mut mean = self.mean_size(pool, form);
            mean.nats_per_story = surprise(weight, total);
            let draws = !drawn && self.grammar.is_each(pool, form);
            if draws {
                let gone = sketch.iter().filter(|held| **held == Some((pool, true))).count();
                mean.nats_per_story += ((self.grammar.pools[pool].n_entries - gone) as f64).ln();
            }
            outcome.mean += mean * probability;
            let mut end = *sketch;
            end[slot] = Some((pool, drawn || draws));
            outcome.ends.insert(end, probability);
        }
        outcome
    }

    /// The mean size of a form over the entries of a pool.
    fn mean_size(&self, pool: usize, form: usize) -> Entropy {
        let mut mean = Entropy::default();
        match &self.grammar.pools[pool].forms[form] {
            Some(Form::Shared(words)) => mean = Entropy::measure(words, self.language),
            Some(Form::Each(entries)) => {
                entries.iter().for_each(|words| mean += Entropy::measure(words, self.language));
                mean = mean * (1.0 / entries.len() as f64);
            }
            None => {}
        }
        mean
    }
}
