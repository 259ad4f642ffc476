//! Training: a text and some settings in, a model folder out.

use std::error::Error;
use std::sync::atomic::AtomicBool;

use recurra::data::storybook::Language;
use recurra::models::CellKind;
use recurra::train::{Corpus, Event, Length, RecipeOptions, Settings, train};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // The stories inside the library: their exact entropy is known, so we learn how far from perfect the model is.
    let corpus = Corpus::Storybook { language: Language::English, bytes: 60_000 };

    // What is not given is decided from the text, and told with its reason.
    let recipe = RecipeOptions {
        cell: Some(CellKind::Gru),
        hidden: Some(vec![48]),
        batch: Some(8),
        bptt: Some(32),
        length: Some(Length::Steps(100)),
        validate_every: Some(25),
        ..RecipeOptions::default()
    };
    let settings = Settings {
        recipe,
        threads: Some(1),
        cache: Some(folder.path().join("cache")),
        sample_tokens: 60,
        ..Settings::new(corpus, folder.path().join("stories"))
    };

    // The library prints nothing; an observer hears of everything. Any closure will do.
    let mut validations = Vec::new();
    let mut observer = |event: &Event| match event {
        Event::Chosen { choices, .. } => {
            choices
                .iter()
                .for_each(|choice| println!("{} {}: {}", choice.name, choice.value, choice.reason));
        }
        Event::Validated { step, loss_nats, bits_per_byte, .. } => {
            println!("step {step}: {loss_nats:.3} nats a token, {bits_per_byte:.3} bits a byte");
            validations.push(*loss_nats);
        }
        Event::Sampled { text, .. } => println!("  it writes: {text:?}"),
        _ => {}
    };

    // Setting the flag, from another thread or a signal, makes the run save and return; `resume: true` goes on.
    let stop = AtomicBool::new(false);
    let report = train(settings, &mut observer, &stop)?;

    println!(
        "{} parameters, {:.0} tokens a second, weights {}",
        report.parameters, report.tokens_per_second, report.weights_sha256
    );
    if let (Some(found), Some(perfect)) = (report.valid_bits_per_byte, report.true_bits_per_byte) {
        println!("{found:.3} bits a byte; a perfect model needs {perfect:.3}");
        assert!(found > perfect);
    }
    assert!(validations.windows(2).all(|pair| pair[1] < pair[0]), "it learns: {validations:?}");
    Ok(())
}
