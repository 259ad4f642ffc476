//! A small model learns the storybook: how near it comes to the true entropy, and what it remembers.

use std::sync::atomic::AtomicBool;

use recurra::train::{Corpus, Event, Length, RecipeOptions, Settings, train};
use recurra::{data::TokenizerSpec, data::storybook::Language};

/// With `SLOW_TESTS=1` it learns eight times as long, some minutes on two cores, and must remember much more.
#[test]
fn a_small_model_comes_near_the_true_entropy_and_keeps_dependencies() {
    let is_slow = std::env::var_os("SLOW_TESTS").is_some();
    let folder = tempfile::tempdir().unwrap();
    let corpus = Corpus::Storybook {
        language: Language::English,
        bytes: if is_slow { 2_000_000 } else { 600_000 },
    };
    let mut settings = Settings::new(corpus, folder.path().join("run"));
    settings.cache = Some(folder.path().join("cache"));
    settings.sample_tokens = 0;
    settings.recipe = RecipeOptions {
        tokenizer: Some(TokenizerSpec::Bpe(2000)),
        embed: Some(128),
        hidden: Some(vec![128]),
        batch: Some(16),
        bptt: Some(32),
        length: Some(Length::Steps(if is_slow { 8000 } else { 1000 })),
        ..RecipeOptions::default()
    };
    let mut silent = |_: &Event<'_>| {};
    let report = train(settings, &mut silent, &AtomicBool::new(false)).unwrap();

    let (found, limit) = (report.valid_bits_per_byte.unwrap(), report.true_bits_per_byte.unwrap());
    let rates: Vec<f64> = report.kept_dependencies.iter().map(|kept| kept.rate()).collect();
    let chances: Vec<f64> = report.kept_dependencies.iter().map(|kept| kept.chance()).collect();
    println!(
        "{found:.4} bits per byte, at best {limit:.4}; kept {rates:.3?}, by chance {chances:.3?}"
    );
    assert!(
        found > limit,
        "{found} bits per byte, below the entropy {limit}: the score or the entropy is wrong"
    );
}
