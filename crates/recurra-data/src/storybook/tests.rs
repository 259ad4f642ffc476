//! Stories against their own entropy: what is told can be read back, and what is exact agrees with what is counted.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::grammar::{Draw, Grammar, Held, Item, Memory};
use super::prefix_free::find_clash;
use super::*;

const LANGUAGES: [Language; 2] = [Language::English, Language::Chinese];

/// Reads a text in all the ways in which the grammar can, taking nothing for granted: the other reader, to compare with.
struct AllReadings<'a> {
    grammar: &'a Grammar,
    text: &'a str,
    /// Whether some way was still good when the text ended.
    ran_out: bool,
}

impl AllReadings<'_> {
    fn of_story(grammar: &Grammar, text: &str) -> (Vec<f64>, bool) {
        let mut reader = AllReadings { grammar, text, ran_out: false };
        let ends = reader.rule(0, (0, 1.0, Memory::default()));
        (ends.iter().filter(|end| end.0 == text.len()).map(|end| end.1).collect(), reader.ran_out)
    }

    fn rule(&mut self, rule: usize, start: (usize, f64, Memory)) -> Vec<(usize, f64, Memory)> {
        let grammar = self.grammar;
        let alternatives = &grammar.rules[rule].alternatives;
        let total: u32 = alternatives.iter().map(|alternative| alternative.weight).sum();
        let mut ends = vec![];
        for alternative in alternatives {
            let chance = start.1 * f64::from(alternative.weight) / f64::from(total);
            let mut states = vec![(start.0, chance, start.2)];
            for item in &alternative.items {
                states = states.into_iter().flat_map(|state| self.item(item, state)).collect();
            }
            ends.extend(states);
        }
        ends
    }

    fn item(
        &mut self,
        item: &Item,
        (at, chance, mut memory): (usize, f64, Memory),
    ) -> Vec<(usize, f64, Memory)> {
        let grammar = self.grammar;
        match *item {
            Item::Text(ref words) => self.words(words, (at, chance, memory)),
            Item::Rule(rule) => self.rule(rule, (at, chance, memory)),
            Item::Bind { slot, pool } => {
                memory[slot] = Some(Held { pool, entry: None });
                vec![(at, chance, memory)]
            }
            Item::Mention { slot, form } => {
                let held = memory[slot];
                let fillings: Vec<(Held, f64)> = match (grammar.draw(held, form), held) {
                    (Draw::Pool, _) => {
                        let total = f64::from(grammar.pool_weight(slot));
                        let pools = grammar.pools_of(slot);
                        pools
                            .map(|(pool, weight)| {
                                (Held { pool, entry: None }, f64::from(weight) / total)
                            })
                            .collect()
                    }
                    (Draw::Entry, Some(held)) => {
                        let total = grammar.free_entries(held.pool, &memory).count() as f64;
                        let entries = grammar.free_entries(held.pool, &memory);
                        entries
                            .map(|entry| (Held { entry: Some(entry), ..held }, 1.0 / total))
                            .collect()
                    }
                    (_, held) => {
                        return self
                            .words(grammar.words(held.unwrap(), form), (at, chance, memory));
                    }
                };
                let fill = |(held, part): (Held, f64)| {
                    let mut memory = memory;
                    memory[slot] = Some(held);
                    self.item(item, (at, chance * part, memory))
                };
                fillings.into_iter().flat_map(fill).collect()
            }
        }
    }

    fn words(
        &mut self,
        words: &str,
        (at, chance, memory): (usize, f64, Memory),
    ) -> Vec<(usize, f64, Memory)> {
        let rest = &self.text[at..];
        if rest.starts_with(words) {
            return vec![(at + words.len(), chance, memory)];
        }
        self.ran_out |= words.starts_with(rest);
        vec![]
    }
}

#[track_caller]
fn check_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found}, expected {expected} ± {tolerance}"
    );
}

#[test]
fn no_alternative_begins_another() {
    for language in LANGUAGES {
        assert_eq!(find_clash(language.grammar()), None, "{language}");
    }
}

#[test]
fn the_proof_finds_what_is_ambiguous() {
    let names = "family f name\npool p of f\n  columns: n\n  * Al ; Bo\nslot s f\nslot t f\n";
    let check = |rules: &str, expected: bool| {
        let grammar = notation::read(&format!("{names}{rules}"), " ").unwrap();
        assert_eq!(find_clash(&grammar).is_some(), expected, "{rules}");
    };
    check("story:\n  | {s} ran.\n  | {s} ran. So did {t}.", true);
    check("story:\n  | {s} ran.\n  | {s} ran, and so did {t}.", false);
    check("story:\n  | {s} and {t} {more}\nmore:\n  | met {s}.\n  | met {t}.", false);
    check("story:\n  | {s} {more}\nmore:\n  | met {t}.\n  | met [Al|Di].", true);
    check("story:\n  | {s}[ ran| ran far] off.", true);
}

#[test]
fn a_story_has_one_derivation_and_its_text_alone_gives_its_probability() {
    for language in LANGUAGES {
        let book = Storybook::new(language, 11);
        for index in 0..300 {
            let story = book.story(index);
            let (chances, _) = AllReadings::of_story(language.grammar(), &story.text);
            assert_eq!(chances.len(), 1, "{}", story.text);
            check_near("nats", -chances[0].ln(), story.nats, 1e-9 * story.nats);
            assert_eq!(book.log_probability(&story.text), Ok(-story.nats), "{}", story.text);
        }
    }
}

#[test]
fn a_corpus_is_worth_the_sum_of_its_stories() {
    for language in LANGUAGES {
        let book = Storybook::new(language, 3);
        let text = book.text(20_000);
        assert!(text.len() >= 20_000 && text.ends_with(SEPARATOR));
        let stories: Vec<&str> = text.trim_end().split(SEPARATOR).collect();
        let nats: f64 = (0..stories.len() as u64).map(|index| book.story(index).nats).sum();
        check_near("nats", -book.log_probability(&text).unwrap(), nats, 1e-9 * nats);
        assert_eq!(stories[7], book.story(7).text);
        assert_eq!(
            language.count_words(&text),
            stories.iter().map(|story| language.count_words(story)).sum::<u64>()
        );
        assert_ne!(text, Storybook::new(language, 4).text(20_000));
    }
}

#[test]
fn what_is_no_story_is_refused_where_it_goes_wrong() {
    let book = Storybook::new(Language::English, 5);
    let probed =
        (0..).map(|index| book.story(index)).find(|story| story.text.starts_with("Once")).unwrap();
    let probe = probed.probes.iter().rfind(|probe| probe.dependency == Dependency::Name).unwrap();
    let mut text = probed.text.clone();
    text.replace_range(probe.range.clone(), "Xaver");
    assert_eq!(
        book.log_probability(&text),
        Err(NotAStory { language: Language::English, byte: probe.range.start })
    );
    let cut = &probed.text[..probed.text.len() - 1];
    assert_eq!(book.log_probability(cut).unwrap_err().byte, cut.len());
    let joined = format!("{}\n{}", probed.text, probed.text);
    assert_eq!(book.log_probability(&joined).unwrap_err().byte, probed.text.len());
    assert_eq!(book.log_probability("").unwrap_err().byte, 0);
    assert!(book.log_probability("Es war einmal ein Mädchen.").is_err());
}

#[test]
fn the_mean_over_many_stories_is_the_analytic_expectation() {
    for language in LANGUAGES {
        let n = 10_000;
        let expected = Storybook::new(language, 0).entropy();
        let measures = (0..n).map(|index| {
            let story = derive::tell(language.grammar(), language, 2026, index, false);
            let text = story.text + SEPARATOR;
            [
                story.nats,
                text.len() as f64,
                text.chars().count() as f64,
                language.count_words(&text) as f64,
            ]
        });
        let measures: Vec<[f64; 4]> = measures.collect();
        let expectations = [
            expected.nats_per_story,
            expected.bytes_per_story,
            expected.chars_per_story,
            expected.words_per_story,
        ];
        for (idx, what) in ["nats", "bytes", "chars", "words"].into_iter().enumerate() {
            let mean = measures.iter().map(|measure| measure[idx]).sum::<f64>() / n as f64;
            let variance =
                measures.iter().map(|measure| (measure[idx] - mean).powi(2)).sum::<f64>()
                    / (n - 1) as f64;
            check_near(
                &format!("{language} {what}"),
                mean,
                expectations[idx],
                3.5 * (variance / n as f64).sqrt(),
            );
        }
    }
}

#[test]
fn the_entropy_is_that_of_the_list_of_all_texts() {
    // Small enough to write out: every text with its probability, and H = Σ p ln 1/p over the list.
    let source = "family f name\npool g of f weight 3\n  columns: n\n  she: she\n  * Ada ; Beatrix ; Cy\npool h of f\n  \
                  columns: n\n  she: he\n  * Dan ; Edmund\nslot s f\nslot t f\n\
                  story:\n  2| {s} met {t} and [3|{s.she}|so {t.she}] ran.\n  | There {s.she} ran[, {s}|: [{t} and {s}|5|all]].";
    let grammar = notation::read(source, " ").unwrap();
    assert_eq!(find_clash(&grammar), None);
    let mut texts = BTreeMap::new();
    for index in 0..20_000 {
        let story = derive::tell(&grammar, Language::English, 1, index, false);
        let (chances, _) = AllReadings::of_story(&grammar, &story.text);
        texts.insert(story.text, chances.iter().sum::<f64>());
    }
    check_near("probabilities", texts.values().sum(), 1.0, 1e-12);
    let expect = |value: &dyn Fn(&str, f64) -> f64| -> f64 {
        texts.iter().map(|(text, p)| p * value(text, *p)).sum()
    };
    let entropy = entropy::of_story(&grammar, Language::English);
    check_near("nats", entropy.nats_per_story, expect(&|_, p| -p.ln()), 1e-12);
    check_near("bytes", entropy.bytes_per_story, expect(&|text, _| text.len() as f64), 1e-12);
    let words = expect(&|text, _| Language::English.count_words(text) as f64);
    check_near("words", entropy.words_per_story, words - 1.0, 1e-12);
}

#[test]
fn rates_are_ratios_of_expectations() {
    let entropy = Entropy {
        nats_per_story: 7.0,
        bytes_per_story: 20.0,
        chars_per_story: 10.0,
        words_per_story: 2.0,
    };
    check_near(
        "bits a byte",
        entropy.bits_per_byte(),
        7.0 / 20.0 * std::f64::consts::LOG2_E,
        1e-12,
    );
}

#[test]
fn what_a_probe_calls_wrong_cannot_stand_there() {
    for language in LANGUAGES {
        let book = Storybook::new(language, 21);
        for index in 0..12 {
            let story = book.story(index);
            for probe in &story.probes {
                let candidates = story.candidates(probe);
                let can_stand = |words: &str| {
                    let text = format!("{}{words}", candidates.context);
                    let (chances, ran_out) = AllReadings::of_story(language.grammar(), &text);
                    ran_out || !chances.is_empty()
                };
                assert!(
                    format!("{}{SEPARATOR}", story.text)[candidates.context.len()..]
                        .starts_with(&candidates.right)
                );
                for wrong in &candidates.wrong {
                    assert!(!can_stand(wrong), "…{} ({wrong}) {probe:?}", candidates.context);
                }
            }
        }
    }
}

#[test]
fn the_distance_of_a_probe_reaches_back_to_the_last_mention() {
    let book = Storybook::new(Language::English, 9);
    let mut checked = 0;
    for index in 0..200 {
        let story = book.story(index);
        let text = |range: std::ops::Range<usize>| &story.text[range];
        // Children, of whom there are many, are only ever called by their names; others also by their trades.
        let is_child =
            |probe: &&Probe| probe.dependency == Dependency::Name && probe.wrong.len() > 40;
        for probe in story.probes.iter().filter(is_child) {
            let name = text(probe.range.clone());
            let last = text(0..probe.range.start).rfind(name).expect("a name that was mentioned");
            // Both ends are inside words: as many words lie between as white spaces.
            let between = text(last..probe.range.start)
                .chars()
                .filter(|symbol| symbol.is_whitespace())
                .count();
            assert_eq!(probe.distance_words, between as u64, "{name} in {}", story.text);
            checked += 1;
        }
    }
    assert!(checked > 1_000);
}

#[test]
fn probes_cover_every_kind_and_distance() {
    for language in LANGUAGES {
        let book = Storybook::new(language, 1);
        let mut counts = BTreeMap::new();
        for probe in (0..500).flat_map(|index| book.story(index).probes) {
            *counts.entry((probe.dependency, probe.bucket())).or_insert(0) += 1;
        }
        for dependency in Dependency::ALL {
            for distance in [10, 50] {
                let count = counts.get(&(dependency, Some(distance))).copied().unwrap_or(0);
                assert!(count >= 50, "{language}: {count} {dependency:?} at {distance}");
            }
        }
        for dependency in
            [Dependency::Name, Dependency::Thing, Dependency::Place, Dependency::Quotation]
        {
            let count = counts.get(&(dependency, Some(200))).copied().unwrap_or(0);
            assert!(count >= 50, "{language}: {count} {dependency:?} at 200");
        }
    }
}

#[test]
fn stories_are_well_formed() {
    for index in 0..2_000 {
        let text = Storybook::new(Language::English, 8).story(index).text;
        let words: Vec<&str> = text.split([' ', '\n']).collect();
        assert!((70..=400).contains(&words.len()), "{} words: {text}", words.len());
        assert!(words.iter().all(|word| !word.is_empty()), "two spaces: {text}");
        for pair in words.windows(2).filter(|pair| ["a", "A", "an", "An"].contains(&pair[0])) {
            let vowel =
                pair[1].starts_with(['a', 'e', 'i', 'o', 'u']) || pair[1].starts_with("hourglass");
            assert_eq!(vowel, pair[0].len() == 2, "{pair:?}: {text}");
        }
        assert_eq!(text.matches('"').count() % 2, 0, "{text}");
        assert!(
            text.ends_with(['.', '"']) && !text.contains(['{', '}', '[', ']', '|', '“', '”']),
            "{text}"
        );
    }
    for index in 0..2_000 {
        let text = Storybook::new(Language::Chinese, 8).story(index).text;
        assert!((150..=700).contains(&text.chars().count()), "{text}");
        assert!(!text.contains(|symbol: char| symbol.is_ascii() && symbol != '\n'), "{text}");
        let mut open = vec![];
        for symbol in text.chars() {
            match symbol {
                '“' | '‘' => open.push(symbol),
                '”' => assert_eq!(open.pop(), Some('“'), "{text}"),
                '’' => assert_eq!(open.pop(), Some('‘'), "{text}"),
                _ => {}
            }
        }
        assert!(open.is_empty() && text.ends_with(['。', '”']), "{text}");
    }
}

#[test]
fn there_is_much_to_choose_from() {
    for language in LANGUAGES {
        let grammar = language.grammar();
        let count = |family: &str| -> usize {
            let pools =
                grammar.pools.iter().filter(|pool| grammar.families[pool.family].name == family);
            pools.map(|pool| pool.n_entries).sum()
        };
        assert!(
            count("person") >= 40 && count("thing") >= 40 && count("place") >= 30,
            "{language}"
        );
        let openings: BTreeSet<String> = (0..300)
            .map(|index| Storybook::new(language, 6).story(index).text.chars().take(90).collect())
            .collect();
        assert!(openings.len() > 290, "{language}: {} openings", openings.len());
    }
}

/// If this fails without a change of a grammar, the machine matters, which it must not.
#[test]
fn every_machine_tells_the_same_stories() {
    let digest = |language| {
        let text = Storybook::new(language, 42).text(100_000);
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(
        [digest(Language::English), digest(Language::Chinese)],
        ["d1335c0d7ec6e73e", "f7370bb4abd185c2"]
    );
}

#[test]
fn a_wrong_grammar_is_explained() {
    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(notation::read(source, " ").unwrap_err(), expected);
    }
    check("family f shape", "line 1: `shape` is no kind of dependency");
    check("pool p of f", "line 1: there is no family `f`");
    check("nonsense here", "line 1: `nonsense here` is not understood");
    check(
        "family f thing\npool p of f\n  columns: a | b\n  * x",
        "line 4: `x` does not fill the columns [\"a\", \"b\"]",
    );
    check("other:\n  | x", "there is no rule `story`");
    check("story:\n  words", "line 2: the first line of a rule lacks its bar");
    check("story:\n  | {x}", "rule `story`: `x` names neither a rule nor a slot");
    check("story:\n  | [x|y", "rule `story`: a `[` is not closed");
    check("story:\n  |", "rule `story`: an alternative is empty");
    check("story:\n  0| x", "rule `story` lacks alternatives or a weight");
    check("story:\n  | x\nmore:\n  | y", "rule `more` is never used");
}

#[test]
fn languages_have_names() {
    for language in LANGUAGES {
        assert_eq!(language.to_string().parse(), Ok(language));
    }
    assert!("latin".parse::<Language>().unwrap_err().to_string().contains("`latin`"));
}
