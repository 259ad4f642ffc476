//! Reads the notation in which grammars are written down.
//!
//! ```text
//! # a comment
//! alias “ {voice.open}           “ in the rules stands for this
//! family person name             a family, and what a mention of it is to a probe: name, thing, place, quotation
//! pool girl of person            a pool; `weight 3` may follow
//!   she: she                     a form alike for all its entries
//!   columns: noun | article      forms that stand at each entry, in this order
//!   one: <article> <noun>        a form made of columns
//!   * brass lantern | a ; owl | an
//! slot hero person               a slot, and the family it draws from
//! opening:                       a rule
//!   3| Once {hero} sang. {more}  an alternative of weight 3: words, rules, and slots (in the first form of the family)
//!   | {hero.She} sang.           weight 1; a slot in a named form, here made of `she`, for it starts with a capital
//!     It was [cold|2|wet].       a line without a bar goes on; a choice inside a line, `N|` being a weight here too
//!   | {hero=girl}Once            binds a slot to a pool without a word
//! ```
//!
//! Within rules `\n` is a new line; in the values of forms `\n`, `\s` (a space) and `\e` (nothing) are written so. A line
//! that goes on is joined by one space if its language writes spaces. Rule `story` is where a story starts.

use std::collections::HashMap;

use super::grammar::{Alternative, Family, Form, Grammar, Item, MAX_SLOTS, Pool, Rule, Slot};

/// Reads a grammar whose lines are joined by `joint`; the error says which line or rule is wrong.
pub(super) fn read(source: &str, joint: &str) -> Result<Grammar, String> {
    let mut reader = Reader { joint, ..Reader::default() };
    for (idx, line) in source.lines().enumerate() {
        reader.line(line).map_err(|message| format!("line {}: {message}", idx + 1))?;
    }
    reader.finish()
}

/// A rule as it stands in the file: its name, and weight and body of each alternative.
type RawRule = (String, Vec<(u32, String)>);

#[derive(Default)]
struct Reader<'a> {
    joint: &'a str,
    aliases: Vec<(String, String)>,
    families: Vec<Family>,
    pools: Vec<Pool>,
    columns: Vec<String>,
    /// Forms of the last pool that are made of columns: name and pattern.
    patterns: Vec<(String, String)>,
    slots: Vec<Slot>,
    raw_rules: Vec<RawRule>,
    in_rule: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            return Ok(());
        }
        if line.starts_with(' ') {
            return if self.in_rule { self.alternative(body) } else { self.pool_line(body) };
        }
        self.in_rule = false;
        let words: Vec<&str> = body.split_whitespace().collect();
        match words[..] {
            ["alias", short, long] => self.aliases.push((short.into(), long.into())),
            ["family", name, dependency] => {
                let dependency = dependency.parse()?;
                self.families.push(Family {
                    name: name.into(),
                    dependency,
                    pools: vec![],
                    forms: vec![],
                });
            }
            ["pool", name, "of", family] => self.pool(name, family, 1)?,
            ["pool", name, "of", family, "weight", weight] => {
                let weight = weight.parse().map_err(|_| format!("`{weight}` is no weight"))?;
                self.pool(name, family, weight)?;
            }
            ["slot", name, family] => {
                let family = self.family(family)?;
                self.slots.push(Slot { name: name.into(), family });
            }
            [name] if name.ends_with(':') => {
                self.in_rule = true;
                self.raw_rules.push((name.trim_end_matches(':').into(), vec![]));
            }
            _ => return Err(format!("`{body}` is not understood")),
        }
        Ok(())
    }

    fn family(&self, name: &str) -> Result<usize, String> {
        position(&self.families, |family| family.name == name)
            .ok_or(format!("there is no family `{name}`"))
    }

    fn pool(&mut self, name: &str, family: &str, weight: u32) -> Result<(), String> {
        let family = self.family(family)?;
        self.families[family].pools.push(self.pools.len());
        self.pools.push(Pool { name: name.into(), family, weight, n_entries: 0, forms: vec![] });
        self.columns.clear();
        self.patterns.clear();
        Ok(())
    }

    fn pool_line(&mut self, body: &str) -> Result<(), String> {
        if let Some(entries) = body.strip_prefix("* ") {
            return entries.split(';').try_for_each(|entry| self.entry(entry));
        }
        let (key, value) = body.split_once(':').ok_or("expected `form: words` or `* entries`")?;
        let value = value.trim();
        if key == "columns" {
            self.columns = value.split('|').map(|column| column.trim().to_owned()).collect();
            for column in self.columns.clone() {
                self.set_form(&column, Form::Each(vec![]))?;
            }
        } else if value.contains('<') {
            self.patterns.push((key.into(), value.into()));
            self.set_form(key, Form::Each(vec![]))?;
        } else {
            self.set_form(key, Form::Shared(unescape(value)))?;
        }
        Ok(())
    }

    fn set_form(&mut self, name: &str, form: Form) -> Result<(), String> {
        let pool = self.pools.last_mut().ok_or("a form stands outside a pool")?;
        let forms = &mut self.families[pool.family].forms;
        let idx = position(forms, |known| known == name).unwrap_or_else(|| {
            forms.push(name.to_owned());
            forms.len() - 1
        });
        if pool.forms.len() <= idx {
            pool.forms.resize(idx + 1, None);
        }
        match pool.forms[idx].replace(form) {
            Some(_) => Err(format!("form `{name}` is given twice")),
            None => Ok(()),
        }
    }

    fn entry(&mut self, entry: &str) -> Result<(), String> {
        let cells: Vec<&str> = entry.split('|').map(str::trim).collect();
        if cells.len() != self.columns.len() || cells.contains(&"") {
            return Err(format!("`{entry}` does not fill the columns {:?}", self.columns));
        }
        let pool = self.pools.last_mut().ok_or("an entry stands outside a pool")?;
        pool.n_entries += 1;
        let columns =
            self.columns.iter().zip(&cells).map(|(name, cell)| (name, (*cell).to_owned()));
        let made = self.patterns.iter().map(|(name, pattern)| {
            let fill = |words: String, (column, cell): (&String, &&str)| {
                words.replace(&format!("<{column}>"), cell)
            };
            (name, self.columns.iter().zip(&cells).fold(pattern.clone(), fill))
        });
        for (name, words) in columns.chain(made) {
            let idx = position(&self.families[pool.family].forms, |known| known == name)
                .expect("set with the columns");
            if let Some(Form::Each(entries)) = &mut pool.forms[idx] {
                entries.push(words);
            }
        }
        Ok(())
    }

    fn alternative(&mut self, body: &str) -> Result<(), String> {
        let (_, alternatives) =
            self.raw_rules.last_mut().ok_or("an alternative stands outside a rule")?;
        let aliased = self
            .aliases
            .iter()
            .fold(body.to_owned(), |text, (short, long)| text.replace(short, long));
        match split_weight(&aliased) {
            Some((weight, rest)) => alternatives.push((weight, rest.trim_start().to_owned())),
            None => {
                let (_, last) =
                    alternatives.last_mut().ok_or("the first line of a rule lacks its bar")?;
                last.push_str(self.joint);
                last.push_str(&aliased);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Grammar, String> {
        if self.slots.len() > MAX_SLOTS {
            return Err(format!("{} slots, expected at most {MAX_SLOTS}", self.slots.len()));
        }
        for pool in &mut self.pools {
            pool.forms.resize(self.families[pool.family].forms.len(), None);
        }
        let start = position(&self.raw_rules, |(name, _)| name == "story")
            .ok_or("there is no rule `story`")?;
        self.raw_rules.swap(0, start);
        let mut rule_ids = HashMap::new();
        for (idx, (name, _)) in self.raw_rules.iter().enumerate() {
            if rule_ids.insert(name.clone(), idx).is_some()
                || self.slots.iter().any(|slot| slot.name == *name)
            {
                return Err(format!("`{name}` is defined twice"));
            }
        }
        let empty = |(name, _): &RawRule| Rule { name: name.clone(), alternatives: vec![] };
        let rules = self.raw_rules.iter().map(empty).collect();
        let grammar =
            Grammar { rules, slots: self.slots, families: self.families, pools: self.pools };
        let mut bodies = Bodies { rule_ids, grammar };
        for (idx, (name, alternatives)) in self.raw_rules.iter().enumerate() {
            for (weight, body) in alternatives {
                let items = bodies
                    .items(body, name)
                    .map_err(|message| format!("rule `{name}`: {message}"))?;
                bodies.grammar.rules[idx].alternatives.push(Alternative { weight: *weight, items });
            }
        }
        check(&bodies.grammar)?;
        Ok(bodies.grammar)
    }
}

/// Turns the bodies of alternatives into items, adding a rule for each choice inside a line.
struct Bodies {
    rule_ids: HashMap<String, usize>,
    grammar: Grammar,
}

impl Bodies {
    fn items(&mut self, body: &str, rule_name: &str) -> Result<Vec<Item>, String> {
        let mut items = vec![];
        let mut rest = body;
        while let Some(first) = rest.chars().next() {
            if first == '[' {
                let (inside, after) = split_bracket(rest)?;
                items.push(self.choice(&inside, rule_name)?);
                rest = after;
            } else if first == '{' {
                let (inside, after) = rest[1..].split_once('}').ok_or("a `{` is not closed")?;
                items.push(self.reference(inside)?);
                rest = after;
            } else {
                let end = rest.find(['[', '{']).unwrap_or(rest.len());
                items.push(Item::Text(rest[..end].replace("\\n", "\n")));
                rest = &rest[end..];
            }
        }
        if items.is_empty() { Err("an alternative is empty".into()) } else { Ok(items) }
    }

    fn choice(&mut self, parts: &[&str], rule_name: &str) -> Result<Item, String> {
        let mut alternatives = vec![];
        let mut weight = 1;
        for part in parts {
            // `2|words`: a part that is a number is the weight of the part behind it.
            if let Ok(number) = part.parse() {
                weight = number;
                continue;
            }
            alternatives.push(Alternative { weight, items: self.items(part, rule_name)? });
            weight = 1;
        }
        let name = format!("{rule_name}/{}", self.grammar.rules.len());
        self.grammar.rules.push(Rule { name, alternatives });
        Ok(Item::Rule(self.grammar.rules.len() - 1))
    }

    fn reference(&mut self, inside: &str) -> Result<Item, String> {
        if let Some(&rule) = self.rule_ids.get(inside) {
            return Ok(Item::Rule(rule));
        }
        let slot_named = |name: &str| {
            position(&self.grammar.slots, |slot| slot.name == name)
                .ok_or(format!("`{inside}` names neither a rule nor a slot"))
        };
        if let Some((name, pool)) = inside.split_once('=') {
            let pool = position(&self.grammar.pools, |known| known.name == pool);
            return Ok(Item::Bind {
                slot: slot_named(name)?,
                pool: pool.ok_or(format!("no pool for `{inside}`"))?,
            });
        }
        let (name, form) =
            inside.split_once('.').map_or((inside, None), |(name, form)| (name, Some(form)));
        let slot = slot_named(name)?;
        let form = form.map_or(Some(0), |form| self.form(self.grammar.slots[slot].family, form));
        Ok(Item::Mention { slot, form: form.ok_or(format!("no form for `{inside}`"))? })
    }

    /// The form of a name; a name with a capital that the family lacks is made from the one without.
    fn form(&mut self, family: usize, name: &str) -> Option<usize> {
        let forms = &mut self.grammar.families[family].forms;
        if let Some(idx) = position(forms, |known| known == name) {
            return Some(idx);
        }
        let small = position(forms, |known| capitalized(known) == name)?;
        forms.push(name.to_owned());
        for pool in self.grammar.pools.iter_mut().filter(|pool| pool.family == family) {
            let capital = pool.forms[small].as_ref().map(|form| match form {
                Form::Shared(words) => Form::Shared(capitalized(words)),
                Form::Each(entries) => {
                    Form::Each(entries.iter().map(|words| capitalized(words)).collect())
                }
            });
            pool.forms.push(capital);
        }
        Some(self.grammar.families[family].forms.len() - 1)
    }
}

/// Refuses what the other parts of the storybook take for granted.
fn check(grammar: &Grammar) -> Result<(), String> {
    let mut used = vec![false; grammar.rules.len()];
    used[0] = true;
    for rule in &grammar.rules {
        if rule.alternatives.is_empty()
            || rule.alternatives.iter().any(|alternative| alternative.weight == 0)
        {
            return Err(format!("rule `{}` lacks alternatives or a weight", rule.name));
        }
        for item in rule.alternatives.iter().flat_map(|alternative| &alternative.items) {
            match *item {
                Item::Rule(inner) => used[inner] = true,
                Item::Mention { slot, form } => {
                    for (pool, _) in grammar.pools_of(slot) {
                        if grammar.pools[pool].forms[form].is_none() {
                            let form = &grammar.families[grammar.slots[slot].family].forms[form];
                            return Err(format!(
                                "pool `{}` lacks form `{form}`",
                                grammar.pools[pool].name
                            ));
                        }
                    }
                }
                Item::Bind { slot, pool }
                    if grammar.pools[pool].family != grammar.slots[slot].family =>
                {
                    return Err(format!(
                        "slot `{}` holds another family",
                        grammar.slots[slot].name
                    ));
                }
                Item::Text(_) | Item::Bind { .. } => {}
            }
        }
    }
    match position(&used, |used| !used) {
        Some(idx) => Err(format!("rule `{}` is never used", grammar.rules[idx].name)),
        None => Ok(()),
    }
}

fn position<T>(list: &[T], test: impl Fn(&T) -> bool) -> Option<usize> {
    list.iter().position(test)
}

fn capitalized(words: &str) -> String {
    let mut symbols = words.chars();
    symbols.next().map_or(String::new(), |first| first.to_uppercase().chain(symbols).collect())
}

fn unescape(value: &str) -> String {
    value.replace("\\n", "\n").replace("\\s", " ").replace("\\e", "")
}

/// `3| words` is weight 3 and the words, `| words` is weight 1; anything else is no start of an alternative.
fn split_weight(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.split_once('|')?;
    if number.is_empty() { Some((1, rest)) } else { Some((number.parse().ok()?, rest)) }
}

/// The parts of a bracket at the start of `text`, split at its own bars, and what follows it.
fn split_bracket(text: &str) -> Result<(Vec<&str>, &str), String> {
    let (mut depth, mut start, mut parts) = (0, 1, vec![]);
    for (idx, symbol) in text.char_indices() {
        match symbol {
            '[' => depth += 1,
            ']' => depth -= 1,
            '|' if depth == 1 => {
                parts.push(&text[start..idx]);
                start = idx + 1;
            }
            _ => {}
        }
        if depth == 0 {
            parts.push(&text[start..idx]);
            return Ok((parts, &text[idx + 1..]));
        }
    }
    Err("a `[` is not closed".into())
}
