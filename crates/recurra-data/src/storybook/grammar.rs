//! A probabilistic grammar with memory: rules, and slots that remember what was said in them.
//!
//! A rule is a list of weighted alternatives; an alternative is a row of items. Beside the rules stand *slots* ("the
//! hero", "the lost thing"). A slot is empty at the start of a story; the first mention of it draws what it holds,
//! every later mention repeats it in the form that the grammar asks for ("Mira", "she", "her"). What slots can hold is
//! laid out in two steps, so that agreement can be seen before the name:
//!
//! - a *family* (persons) has weighted *pools* (girls, boys), and a pool has *entries* (Mira, Rosa, …), equally likely;
//! - a *form* is the same for a whole pool ("she") or stands at each entry ("Mira").
//!
//! A mention draws only what it shows: "she" draws the pool, and the entry is drawn when the name is first written. Two
//! slots never hold the same entry of a pool. Nothing but the drawing of slots looks into the memory: which alternative
//! of a rule is taken never depends on it. That is what makes the expectations of [`super::entropy`] exact.

use std::ops::{Index, IndexMut};

/// How many slots a grammar may have.
pub(super) const MAX_SLOTS: usize = 24;

/// What a slot holds: a pool, and an entry of it once its name was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// The pool, as an index into [`Grammar::pools`].
    pub(super) pool: usize,
    /// The entry within the pool.
    pub(super) entry: Option<usize>,
}

/// The slots of a story that is being told; all empty at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory([Option<Held>; MAX_SLOTS]);

impl Index<usize> for Memory {
    type Output = Option<Held>;

    fn index(&self, slot: usize) -> &Option<Held> {
        &self.0[slot]
    }
}

impl IndexMut<usize> for Memory {
    fn index_mut(&mut self, slot: usize) -> &mut Option<Held> {
        &mut self.0[slot]
    }
}

/// One step of an alternative.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// These very words.
    Text(String),
    /// Whatever this rule gives.
    Rule(usize),
    /// A slot, in one of its forms.
    Mention {
        /// The slot, as an index into [`Grammar::slots`].
        slot: usize,
        /// The form, as an index into [`Family::forms`].
        form: usize,
    },
    /// Puts a pool into an empty slot without a word and without a choice.
    Bind {
        /// The slot.
        slot: usize,
        /// The pool.
        pool: usize,
    },
}

/// One way in which a rule can go on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alternative {
    /// Its weight among the alternatives of its rule.
    pub(super) weight: u32,
    /// Its steps, never none.
    pub(super) items: Vec<Item>,
}

/// A choice between alternatives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    /// Its name in the grammar file, with a number for a choice inside a line.
    pub(super) name: String,
    /// The alternatives.
    pub(super) alternatives: Vec<Alternative>,
}

/// How a mention is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// Alike for all entries of a pool.
    Shared(String),
    /// One text an entry.
    Each(Vec<String>),
}

/// Entries that agree with each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pool {
    /// Its name in the grammar file.
    pub(super) name: String,
    /// The family it belongs to.
    pub(super) family: usize,
    /// Its weight within the family; a pool of weight 0 is only ever bound, or stands for what would be wrong.
    pub(super) weight: u32,
    /// How many entries it has.
    pub(super) n_entries: usize,
    /// The forms, as [`Family::forms`] names them; `None` where the pool lacks one.
    pub(super) forms: Vec<Option<Form>>,
}

/// Pools that can stand in the same slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Its name in the grammar file.
    pub(super) name: String,
    /// What a mention of an entry is, in the eyes of a probe.
    pub(super) dependency: super::Dependency,
    /// Its pools.
    pub(super) pools: Vec<usize>,
    /// The names of its forms; the first is the one meant when none is named.
    pub(super) forms: Vec<String>,
}

/// A place in the memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    /// Its name in the grammar file.
    pub(super) name: String,
    /// What it can hold.
    pub(super) family: usize,
}

/// A grammar; rule 0 is a whole story.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grammar {
    /// The rules.
    pub(super) rules: Vec<Rule>,
    /// The slots.
    pub(super) slots: Vec<Slot>,
    /// The families.
    pub(super) families: Vec<Family>,
    /// The pools of all families.
    pub(super) pools: Vec<Pool>,
}

/// What a mention has to draw before it can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// Nothing: memory settles it.
    Nothing,
    /// A pool of the family.
    Pool,
    /// An entry of the pool that the slot holds, among those that no other slot holds.
    Entry,
}

impl Grammar {
    /// What a mention in `form` of a slot that holds `held` has to draw next; asked again after each draw.
    pub(super) fn draw(&self, held: Option<Held>, form: usize) -> Draw {
        match held {
            None => Draw::Pool,
            Some(Held { pool, entry: None }) if self.is_each(pool, form) => Draw::Entry,
            Some(_) => Draw::Nothing,
        }
    }

    /// Whether `form` differs between the entries of `pool`.
    pub(super) fn is_each(&self, pool: usize, form: usize) -> bool {
        matches!(self.pools[pool].forms[form], Some(Form::Each(_)))
    }

    /// The pools that an empty `slot` can draw, with their weights.
    pub(super) fn pools_of(&self, slot: usize) -> impl Iterator<Item = (usize, u32)> {
        let pools = self.families[self.slots[slot].family].pools.iter();
        pools.map(|&pool| (pool, self.pools[pool].weight)).filter(|&(_, weight)| weight > 0)
    }

    /// The sum of the weights of [`Grammar::pools_of`].
    pub(super) fn pool_weight(&self, slot: usize) -> u32 {
        self.pools_of(slot).map(|(_, weight)| weight).sum()
    }

    /// The entries of `pool` that no slot of `memory` holds.
    pub(super) fn free_entries(&self, pool: usize, memory: &Memory) -> impl Iterator<Item = usize> {
        let taken = move |entry| memory.0.contains(&Some(Held { pool, entry: Some(entry) }));
        (0..self.pools[pool].n_entries).filter(move |&entry| !taken(entry))
    }

    /// The words of `form` for what a slot holds.
    ///
    /// # Panics
    /// Where the entry is not drawn yet although the form needs it, or the pool has no such form: faults of the caller.
    pub(super) fn words(&self, held: Held, form: usize) -> &str {
        match &self.pools[held.pool].forms[form] {
            Some(Form::Shared(words)) => words,
            Some(Form::Each(words)) => {
                &words[held.entry.expect("the entry is drawn before it is written")]
            }
            None => panic!("pool `{}` lacks form {form}", self.pools[held.pool].name),
        }
    }
}

/// ln(total / weight): what a choice of probability weight / total costs, in nats.
pub(super) fn surprise(weight: u32, total: u32) -> f64 {
    (f64::from(total) / f64::from(weight)).ln()
}
