//! Against a score computed from single steps in `f64`, and the counts against counting by hand.

use recurra_checkpoint::SavedModel;
use recurra_models::CellKind;
use recurra_tensor::step::Storage;
use recurra_tensor::{Cpu, Tape};

use super::*;
use crate::fixture::{Fixture, TEXT};

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

fn scored(model: ModelRef<'_>, text: &str) -> Result<LanguageScore> {
    let cache = tempfile::tempdir().unwrap();
    score_text(model, &Text::from_string("text", text.into()), cache.path(), &mut |_, _| GO_ON)
}

/// −Σ ln p of tokens 1 to n, each predicted from one single step more.
fn nats_by_steps(model: ModelRef<'_>, ids: &[u32]) -> f64 {
    let (mut state, mut workspace) = (model.network.zero_state(1), Workspace::new());
    let mut nats = 0.0;
    for pair in ids.windows(2) {
        let mut tape = Tape::inference(model.cpu, model.parameters, &mut workspace);
        let logits = model.network.step(&mut tape, &pair[..1], &mut state);
        let logits: Vec<f64> = tape.value(logits).iter().map(|&x| f64::from(x)).collect();
        nats += logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[pair[1] as usize];
    }
    nats
}

#[test]
fn a_score_is_that_of_single_steps_across_windows() {
    for cell in [CellKind::Lstm, CellKind::Gru, CellKind::RnnTanh] {
        let fixture = Fixture::new("char", cell, vec![9, 7]);
        for text in ["ab", TEXT, &TEXT.repeat(20)] {
            let ids = fixture.saved.tokenizer.encode(text).unwrap();
            let (score, expected) =
                (scored(fixture.model(), text).unwrap(), nats_by_steps(fixture.model(), &ids));
            assert_eq!(score.tokens, ids.len() as u64 - 1);
            assert!(
                (score.total_nats - expected).abs() < 1e-5 * expected,
                "{score:?}, not {expected}"
            );
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut fixture = Fixture::lstm("char");
    let nats = [1, 2, 3].map(|threads| {
        fixture.cpu = Cpu::new(threads).unwrap();
        scored(fixture.model(), &TEXT.repeat(12)).unwrap().total_nats.to_bits()
    });
    assert_eq!(nats, [nats[0]; 3]);
}

/// Tokens, bytes and words that a text with this tokenizer is scored over.
#[track_caller]
fn check_counts(spec: &str, text: &str, expected: (u64, u64, u64)) {
    let fixture = Fixture::lstm(spec);
    let score = scored(fixture.model(), text).unwrap();
    assert_eq!((score.tokens, score.bytes, score.words), expected, "{spec}: {text:?}");
}

#[test]
fn what_the_first_token_stands_for_is_not_counted() {
    // Words count one end of line a line: "the cat\n" has three.
    check_counts("byte", "the cat\n", (7, 7, 3));
    check_counts("byte", "\nthe cat\n", (8, 8, 3));
    check_counts("byte", "你好\n", (6, 6, 2));
    check_counts("char", "你好\n", (2, 4, 2));
    check_counts("char", "\u{1F600}a\n", (5, 5, 2)); // a character never seen is four tokens, one byte each
    check_counts("word", "the cat\n", (2, 4, 2));
    check_counts("word", "\nthe cat\n", (3, 8, 3));
}

#[test]
fn word_perplexity_of_a_word_model_is_its_perplexity() {
    let score = scored(Fixture::lstm("word").model(), TEXT).unwrap();
    assert_eq!(score.words, score.tokens);
    assert_eq!(score.perplexity(), score.word_perplexity());
}

#[test]
fn the_signature_says_how_it_was_measured() {
    let fixture = Fixture::lstm("char");
    let score = scored(fixture.model(), "the cat\n").unwrap();
    let hash = fixture.saved.tokenizer.hash();
    // `printf 'the cat\n' | sha256sum`
    let expected = format!(
        "lm|unit:char|tok:char-{hash}|ctx:unbounded|state:carried|data:02b7c307a807a877|prec:f32|v:{}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(score.signature.to_string(), expected);
}

#[test]
fn progress_is_told_and_may_break_off() {
    let fixture = Fixture::lstm("byte");
    let (text, cache) = (Text::from_string("text", TEXT.repeat(20)), tempfile::tempdir().unwrap());
    let mut heard = Vec::new();
    score_text(fixture.model(), &text, cache.path(), &mut |done, total| {
        heard.push((done, total));
        GO_ON
    })
    .unwrap();
    let total = TEXT.len() as u64 * 20 - 1;
    assert_eq!(heard.first(), Some(&(512, total)));
    assert_eq!(heard.last(), Some(&(total, total)));
    let stopped =
        score_text(fixture.model(), &text, cache.path(), &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped { done: 512, .. })), "{stopped:?}");
}

#[test]
fn one_token_has_nothing_to_predict() {
    let error = scored(Fixture::lstm("byte").model(), "a").unwrap_err();
    assert!(error.to_string().contains("1 tokens"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn tokens_of_another_tokenizer_are_an_error() {
    let (small, large) = (Fixture::lstm("word"), Fixture::lstm("byte"));
    let (text, cache) = (Text::from_string("text", TEXT.into()), tempfile::tempdir().unwrap());
    let tokens = TokenFile::open_or_build(cache.path(), &text, &large.saved.tokenizer).unwrap();
    let scored = score(small.model(), &mut Workspace::new(), &tokens, &mut |_, _| GO_ON);
    assert!(matches!(scored, Err(Error::OtherTokenizer { .. })), "{scored:?}");
    // Ids that the model has, but of other words.
    let tokens = TokenFile::open_or_build(cache.path(), &text, &small.saved.tokenizer).unwrap();
    let scored = score(large.model(), &mut Workspace::new(), &tokens, &mut |_, _| GO_ON);
    assert!(matches!(scored, Err(Error::OtherTokenizer { .. })), "{scored:?}");
    let collected = dynamic::DynamicWeights::collect(large.model(), &tokens, 5, &mut |_, _| GO_ON);
    assert!(matches!(collected, Err(Error::OtherTokenizer { .. })));
    let mixed = ModelRef::new(
        &small.cpu,
        &small.saved.model,
        &small.saved.parameters,
        &large.saved.tokenizer,
    );
    assert!(matches!(mixed, Err(Error::Vocabulary { .. })));
}

#[test]
fn prepared_weights_score_as_close_as_they_are_stored() {
    for cell in [CellKind::Lstm, CellKind::Gru, CellKind::RnnTanh] {
        let fixture = Fixture::new("char", cell, vec![9, 7]);
        let text = TEXT.repeat(12);
        let expected = scored(fixture.model(), &text).unwrap();
        for (storage, tolerance) in
            [(Storage::F32, 1e-6), (Storage::Bf16, 1e-2), (Storage::Int8, 2e-2)]
        {
            let SavedModel { model, parameters, .. } = &fixture.saved;
            let prepared = model.prepare(&fixture.cpu, parameters, storage);
            let reference = fixture.model().with_prepared(&prepared);
            let found = scored(reference, &text).unwrap();
            let difference = (found.total_nats / expected.total_nats - 1.0).abs();
            assert!(difference < tolerance, "{cell} {storage}: {difference}");
            assert_eq!(found.signature.precision, storage.name());
            let nats = found.total_nats.to_bits();
            for threads in [2, 3] {
                let cpu = Cpu::with_isa(fixture.cpu.isa(), threads);
                let reference = ModelRef::of(&cpu, &fixture.saved).unwrap();
                let found = scored(reference.with_prepared(&prepared), &text).unwrap();
                assert_eq!(found.total_nats.to_bits(), nats, "{cell} {storage}");
            }
        }
    }
}
