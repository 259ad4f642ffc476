//! Writing: text as it comes, whole characters only, chosen as boldly as you like.

use std::error::Error;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use recurra::Model;
use recurra::data::Text;
use recurra::inference::{Ended, GenerateOptions, Sampling};
use recurra::train::{Corpus, Event, Length, RecipeOptions, Settings, train};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let text = Text::from_string(
        "两行诗",
        "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。\n".repeat(60),
    );
    let recipe = RecipeOptions {
        hidden: Some(vec![48]),
        batch: Some(8),
        bptt: Some(24),
        learning_rate: Some(0.02),
        length: Some(Length::Steps(120)),
        ..RecipeOptions::default()
    };
    let cache = Some(folder.path().join("cache"));
    let settings = Settings {
        recipe,
        cache,
        sample_tokens: 0,
        ..Settings::new(Corpus::Text(text), folder.path().join("poem"))
    };
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false))?;
    let model = Model::open(folder.path().join("poem"))?;

    // In one call. The likeliest character each time; the text ends before the stop string.
    let options = GenerateOptions {
        sampling: Sampling { temperature: 0.0, ..Sampling::default() },
        max_tokens: 40,
        stop: vec!["\n".to_owned()],
    };
    let line = model.generate("白日", &options, 1)?;
    println!("白日{line}");
    assert!(line.starts_with("依山尽，") && line.ends_with('。'), "{line}");

    // As it comes: each piece is whole characters. A seed decides every choice.
    let bolder = Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() };
    let mut generator =
        model.generator(&GenerateOptions { sampling: bolder, max_tokens: 30, stop: vec![] }, 7)?;
    for warning in generator.feed("欲穷千里目，登☂")? {
        println!("[{warning}]"); // the model has never seen an umbrella
    }
    let written = generator.write(&mut |piece| {
        print!("{piece}");
        match std::io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    println!("\n{} tokens, {:.0} a second", written.tokens, written.tokens_per_second);
    assert_eq!(written.ended, Ended::Length);
    Ok(())
}
