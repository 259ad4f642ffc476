//! Texts against a loop written by hand, and against themselves when saved, restored, forked, stopped and cut short.

use recurra_checkpoint::{SavedModel, StateFile};
use recurra_models::CellKind;
use recurra_tensor::step::Storage;
use recurra_tensor::{Cpu, Tape, Workspace};
use serde_json::json;

use super::*;
use crate::fixture::Fixture;
use crate::{Draws, Error};

fn options(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens, ..GenerateOptions::default() }
}

/// Settings under which everything that a memory holds matters.
fn demanding(max_tokens: usize) -> GenerateOptions {
    let sampling = Sampling {
        temperature: 1.3,
        top_k: Some(30),
        top_p: 0.98,
        min_p: 0.001,
        repetition_penalty: 1.4,
        repetition_window: 7,
    };
    // Beginnings of both come now and then, and hold text back.
    let stop = vec!["the \u{1}".into(), "a\u{1}".into(), "\n\n\n\n\n\n".into()];
    GenerateOptions { sampling, max_tokens, stop }
}

fn text_of(generator: &mut Generator<'_>) -> String {
    let mut text = String::new();
    generator
        .write(&mut |piece| {
            assert!(!piece.is_empty());
            text.push_str(piece);
            ControlFlow::Continue(())
        })
        .unwrap();
    text
}

fn continued(
    model: ModelRef<'_>,
    options: &GenerateOptions,
    memory: Memory,
) -> (String, Memory, String) {
    let mut generator = Generator::resume(model, options, memory).unwrap();
    let text = text_of(&mut generator);
    (text, generator.memory(), generator.rest())
}

/// The ids that a loop without any of this module chooses.
fn ids_by_hand(model: ModelRef<'_>, prompt: &[u32], n: usize, seed: u64) -> Vec<u32> {
    let (mut state, mut workspace) = (model.network.zero_state(1), Workspace::new());
    let (mut sampler, mut draws) = (Sampler::new(Sampling::default()).unwrap(), Draws::new(seed));
    let mut ids = prompt.to_vec();
    for idx in 0..prompt.len() + n - 1 {
        let mut tape = Tape::inference(model.cpu, model.parameters, &mut workspace);
        let logits = model.network.step(&mut tape, &[ids[idx]], &mut state);
        if idx + 1 >= prompt.len() {
            ids.push(sampler.choose(tape.value(logits), &Default::default(), &mut draws).unwrap());
        }
    }
    ids.split_off(prompt.len())
}

#[test]
fn a_text_is_the_one_that_a_plain_loop_writes() {
    for (spec, cell) in
        [("char", CellKind::Lstm), ("byte", CellKind::Gru), ("word", CellKind::RnnTanh)]
    {
        let fixture = Fixture::new(spec, cell, vec![9, 7]);
        let (model, tokenizer) = (fixture.model(), &fixture.saved.tokenizer);
        let mut generator = Generator::new(model, &options(60), 5).unwrap();
        assert_eq!(generator.feed("the dog").unwrap(), []);
        let prompt = tokenizer.encode("the dog").unwrap();
        let ids = ids_by_hand(model, &prompt, 60, 5);
        let whole = tokenizer.decode(&[prompt, ids].concat());
        let got = "the dog".to_owned() + &text_of(&mut generator) + &generator.rest();
        assert_eq!(got, whole, "{spec}");
        let written = generator.written();
        assert_eq!((written.tokens, written.ended), (60, Ended::Length));
        assert!(written.first_token_ms.unwrap() > 0.0 && written.tokens_per_second > 0.0);
    }
}

#[test]
fn a_restored_text_goes_on_as_if_it_had_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.state");
    // What is drawn from all tokens has draws of another kind.
    for (spec, cell, settings) in [
        ("byte", CellKind::Lstm, demanding as fn(usize) -> GenerateOptions),
        ("char", CellKind::Gru, demanding),
        ("word", CellKind::RnnRelu, demanding),
        ("char", CellKind::Lstm, demanding),
        ("char", CellKind::Lstm, options),
    ] {
        let fixture = Fixture::new(spec, cell, vec![9, 7]);
        let model = fixture.model();
        let mut whole = Generator::new(model, &settings(60), 9).unwrap();
        whole.feed("the cat").unwrap();
        let start = whole.memory();
        let (expected, end, rest) = (text_of(&mut whole), whole.memory(), whole.rest());
        for cut in [0, 1, 2, 3, 17, 30, 58, 59] {
            let (first, memory, _) = continued(model, &settings(cut), start.clone());
            let saved = &fixture.saved;
            memory.to_file().save(&path, &saved.model, &saved.weights_sha256).unwrap();
            let file = StateFile::load(&path, &saved.model, &saved.weights_sha256).unwrap();
            let restored = Memory::from_file(model, file).unwrap();
            let (second, last, its_rest) = continued(model, &settings(60 - cut), restored);
            assert_eq!(
                (first + &second, &its_rest),
                (expected.clone(), &rest),
                "{spec} cut at {cut}"
            );
            assert_eq!(last.to_file(), end.to_file(), "{spec} cut at {cut}");
        }
    }
}

#[test]
fn a_text_may_be_left_after_any_piece() {
    let fixture = Fixture::lstm("char");
    let mut whole = Generator::new(fixture.model(), &demanding(40), 2).unwrap();
    let expected = text_of(&mut whole) + &whole.rest();
    let mut generator = Generator::new(fixture.model(), &demanding(40), 2).unwrap();
    let mut text = String::new();
    while let Some(piece) = generator.next_piece().unwrap() {
        text.push_str(piece);
        let left = 40 - generator.written().tokens;
        let (end, _, rest) = continued(fixture.model(), &demanding(left), generator.memory());
        assert_eq!(text.clone() + &end + &rest, expected);
    }
}

#[test]
fn forks_with_one_seed_agree_and_with_two_differ() {
    let fixture = Fixture::lstm("char");
    let mut generator = Generator::new(fixture.model(), &options(50), 1).unwrap();
    generator.feed("the ").unwrap();
    let [first, same, mut other] = [(); 3].map(|()| generator.memory());
    other.reseed(2);
    assert_eq!((same.seed(), other.seed()), (1, 2));
    let [first, same, other] =
        [first, same, other].map(|memory| continued(fixture.model(), &options(50), memory).0);
    assert_eq!(first, same);
    assert_ne!(first, other);
}

#[test]
fn reading_a_text_leads_where_writing_it_led() {
    let fixture = Fixture::lstm("byte");
    let mut writer = Generator::new(fixture.model(), &options(40), 4).unwrap();
    writer.feed("x").unwrap();
    text_of(&mut writer);
    let window = Sampling::default().repetition_window;
    let ids: Vec<u32> = writer.memory().recent.last(window).collect();
    let mut reader = Generator::new(fixture.model(), &options(0), 4).unwrap();
    for (idx, &id) in ids.iter().rev().enumerate() {
        if idx > 0 {
            reader.step(reader.memory.next_id.unwrap());
        }
        reader.accept(id);
    }
    assert_eq!(ids.len(), 41);
    assert_eq!(reader.memory().state, writer.memory().state);
}

#[test]
fn a_prompt_in_two_parts_is_one_prompt() {
    let fixture = Fixture::lstm("char");
    let [mut whole, mut parts] =
        [(); 2].map(|()| Generator::new(fixture.model(), &options(40), 4).unwrap());
    whole.feed("the cat saw").unwrap();
    for part in ["the ", "", "cat", " saw"] {
        parts.feed(part).unwrap();
    }
    assert_eq!(text_of(&mut whole), text_of(&mut parts));
}

#[test]
fn no_prompt_starts_after_an_end_of_line() {
    for spec in ["byte", "char", "word"] {
        let fixture = Fixture::lstm(spec);
        let sampling = Sampling { repetition_penalty: 1.0, ..Sampling::default() };
        let options = GenerateOptions { sampling, ..options(30) };
        let mut bare = Generator::new(fixture.model(), &options, 4).unwrap();
        let mut after_line = Generator::new(fixture.model(), &options, 4).unwrap();
        after_line.feed("\n").unwrap();
        let text = text_of(&mut bare);
        assert_eq!(text, text_of(&mut after_line));
        assert!(!text.starts_with(' ') || spec != "word");
    }
}

#[test]
fn a_character_is_never_split() {
    let mut fixture = Fixture::lstm("byte");
    // The bytes of 你 and é and an `a`, in any order: whole characters, broken ones, and halves at the end.
    fixture.say_only(&[0xE4, 0xBD, 0xA0, 0xC3, 0xA9, u32::from(b'a')]);
    let sampling = Sampling { repetition_window: 1000, ..Sampling::default() };
    let mut n_pending = 0;
    for seed in 0..40 {
        let options = GenerateOptions { sampling: sampling.clone(), ..options(50) };
        let mut generator = Generator::new(fixture.model(), &options, seed).unwrap();
        let text = text_of(&mut generator);
        let mut ids: Vec<u32> = generator.memory().recent.last(1000).collect();
        ids.reverse();
        n_pending += usize::from(!generator.rest().is_empty());
        assert_eq!(text + &generator.rest(), fixture.saved.tokenizer.decode(&ids));
    }
    assert!(n_pending > 5, "{n_pending} texts ended inside of a character");
}

#[test]
fn a_text_ends_before_its_stop_string() {
    let fixture = Fixture::lstm("char");
    let mut free = Generator::new(fixture.model(), &options(80), 6).unwrap();
    let text = text_of(&mut free);
    for (start, len) in [(20, 1), (20, 2), (31, 3), (40, 5)] {
        let stop: String = text.chars().skip(start).take(len).collect();
        let options =
            GenerateOptions { stop: vec!["\u{1}never".into(), stop.clone()], ..options(80) };
        let mut generator = Generator::new(fixture.model(), &options, 6).unwrap();
        let got = text_of(&mut generator);
        assert_eq!(got, text[..text.find(&stop).unwrap()]);
        assert_eq!(generator.written().ended, Ended::Stop(stop));
        assert_eq!((generator.rest(), generator.next_piece().unwrap()), (String::new(), None));
    }
}

#[test]
fn what_may_begin_a_stop_string_is_held_and_not_lost() {
    let mut fixture = Fixture::lstm("byte");
    fixture.say_only(&[u32::from(b'a')]);
    let stop_at =
        |stop: &str, max_tokens| GenerateOptions { stop: vec![stop.into()], ..options(max_tokens) };
    let mut generator = Generator::new(fixture.model(), &stop_at("aaab", 10), 1).unwrap();
    assert_eq!(text_of(&mut generator), "aaaaaaa");
    assert_eq!((generator.rest(), generator.written().ended), ("aaa".into(), Ended::Length));
    let memory = generator.memory();
    assert_eq!(continued(fixture.model(), &stop_at("aaab", 1), memory.clone()).0, "a");
    assert_eq!(continued(fixture.model(), &options(1), memory.clone()).0, "aaaa");
    assert_eq!(continued(fixture.model(), &stop_at("aaaa", 5), memory).0, "");
}

#[test]
fn whoever_takes_the_text_may_end_it() {
    let fixture = Fixture::lstm("char");
    let mut generator = Generator::new(fixture.model(), &options(50), 1).unwrap();
    let mut n_pieces = 0;
    let written = generator
        .write(&mut |_| {
            n_pieces += 1;
            if n_pieces == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((n_pieces, written.ended), (3, Ended::Taker));
    let mut nothing = Generator::new(fixture.model(), &options(0), 1).unwrap();
    let written = nothing.write(&mut |_| unreachable!()).unwrap();
    assert_eq!((written.tokens, written.first_token_ms), (0, None));
}

#[test]
fn what_a_prompt_has_unseen_comes_back_as_a_warning() {
    let fixture = Fixture::lstm("word");
    let mut generator = Generator::new(fixture.model(), &options(5), 1).unwrap();
    let warnings = generator.feed("the zebra saw the yak and the zebra <unk>\n").unwrap();
    let words = ["zebra", "yak", "and"].map(String::from).to_vec();
    assert_eq!(warnings, [Warning::UnknownWords { words }]);
    assert!(warnings[0].to_string().ends_with("unknown words: `zebra`, `yak`, `and`"));
    assert_eq!(generator.feed("the <unk> dog").unwrap(), []);

    let fixture = Fixture::lstm("char");
    let mut generator = Generator::new(fixture.model(), &options(5), 1).unwrap();
    let warnings = generator.feed("the Q, 你 and Ω and Q").unwrap();
    assert_eq!(warnings, [Warning::UnseenCharacters { characters: vec!['Q', 'Ω'] }]);
    text_of(&mut generator);

    let fixture = Fixture::lstm("byte");
    let mut generator = Generator::new(fixture.model(), &options(5), 1).unwrap();
    assert_eq!(generator.feed("Ω").unwrap(), []);
}

#[test]
fn many_unseen_are_named_in_part() {
    let words = (0..8).map(|n| format!("w{n}")).collect();
    let text = Warning::UnknownWords { words }.to_string();
    assert!(text.ends_with(": `w0`, `w1`, `w2`, `w3`, `w4` and 3 more"), "{text}");
}

#[test]
fn settings_are_checked_before_anything_is_read() {
    let fixture = Fixture::lstm("byte");
    let empty_stop = GenerateOptions { stop: vec![String::new()], ..options(5) };
    assert!(matches!(Generator::new(fixture.model(), &empty_stop, 1), Err(Error::EmptyStop)));
    let sampling = Sampling { top_p: 7.0, ..Sampling::default() };
    let bad_top_p = GenerateOptions { sampling, ..options(5) };
    assert!(matches!(Generator::new(fixture.model(), &bad_top_p, 1), Err(Error::Setting { .. })));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let (fixture, other) =
        (Fixture::lstm("char"), Fixture::new("char", CellKind::Lstm, vec![9, 8]));
    let good = Memory::new(fixture.model(), 1).to_file();
    assert!(Memory::from_file(fixture.model(), good.clone()).is_ok());
    let refused = |model, change: &dyn Fn(&mut StateFile)| {
        let mut file = good.clone();
        change(&mut file);
        let error = Memory::from_file(model, file).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    let model = fixture.model();
    assert!(refused(other.model(), &|_| ()).contains("sizes"));
    assert!(refused(model, &|file| file.state.layers.truncate(1)).contains("sizes"));
    assert!(refused(model, &|file| file.position = json!(null)).contains("cannot be continued"));
    assert!(refused(model, &|file| file.position["next_id"] = json!(100_000)).contains("token"));
    assert!(
        refused(model, &|file| file.position["recent"] = json!([1, 100_000])).contains("token")
    );
    assert!(refused(model, &|file| file.position["draws"] = json!("no")).contains("cannot be"));
}

#[test]
fn weights_that_are_no_numbers_are_an_error() {
    let mut fixture = Fixture::lstm("char");
    let bias = fixture.saved.parameters.find("output.bias").unwrap();
    fixture.saved.parameters.value_mut(bias)[3] = f32::NAN;
    let mut generator = Generator::new(fixture.model(), &options(5), 1).unwrap();
    assert!(matches!(generator.next_piece(), Err(Error::Logits)));
}

/// What a text is and where it leads, with weights stored like this.
fn written_with(fixture: &Fixture, storage: Storage, cut: Option<usize>) -> (String, StateFile) {
    let SavedModel { model, parameters, .. } = &fixture.saved;
    let prepared = model.prepare(&fixture.cpu, parameters, storage);
    let reference = fixture.model().with_prepared(&prepared);
    let is_tape = !["lstm", "gru", "rnn-tanh", "rnn-relu"].contains(&model.config().cell.name());
    assert!(is_tape || reference.storage() == storage, "the tape has the weights of training");
    let mut generator = Generator::new(reference, &options(cut.unwrap_or(50)), 3).unwrap();
    generator.feed("the dog saw").unwrap();
    let (mut text, mut memory) = (text_of(&mut generator), generator.memory());
    if let Some(cut) = cut {
        let memory_file = Memory::from_file(reference, memory.to_file()).unwrap();
        let (rest, end, _) = continued(reference, &options(50 - cut), memory_file);
        text.push_str(&rest);
        memory = end;
    }
    (text, memory.to_file())
}

#[test]
fn in_each_precision_a_text_goes_on_bit_for_bit_with_any_number_of_threads() {
    for storage in Storage::ALL {
        for cell in CellKind::ALL {
            let mut fixture = Fixture::new("char", cell, vec![9, 7]);
            let whole = written_with(&fixture, storage, None);
            for cut in [0, 1, 20, 49] {
                assert_eq!(written_with(&fixture, storage, Some(cut)), whole, "{storage} {cell}");
            }
            for threads in [2, 3] {
                fixture.cpu = Cpu::with_isa(fixture.cpu.isa(), threads);
                assert_eq!(written_with(&fixture, storage, None), whole, "{storage} {cell}");
            }
        }
    }
}

#[test]
fn in_each_precision_reading_leads_where_writing_led() {
    for storage in Storage::ALL {
        let fixture = Fixture::lstm("byte");
        let SavedModel { model, parameters, .. } = &fixture.saved;
        let prepared = model.prepare(&fixture.cpu, parameters, storage);
        let reference = fixture.model().with_prepared(&prepared);
        let greedy = GenerateOptions { sampling: Sampling::greedy(), ..options(30) };
        let mut writer = Generator::new(reference, &greedy, 4).unwrap();
        writer.feed("the dog").unwrap();
        text_of(&mut writer);
        let mut ids: Vec<u32> = writer.memory().recent.last(64).collect();
        ids.reverse();
        let mut reader = Generator::new(reference, &options(0), 4).unwrap();
        for (idx, &id) in ids.iter().enumerate() {
            if idx > 0 {
                reader.step(ids[idx - 1]);
            }
            reader.accept(id);
        }
        assert_eq!(ids.len(), 37);
        assert_eq!(reader.memory().state, writer.memory().state, "{storage}");
    }
}
