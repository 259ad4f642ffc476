//! State is a thing: save what a model remembers, fork it, and go on from it, bit for bit.

use std::error::Error;
use std::sync::atomic::AtomicBool;

use recurra::Model;
use recurra::data::Text;
use recurra::inference::{GenerateOptions, Generator};
use recurra::train::{Corpus, Event, Length, RecipeOptions, Settings, train};

/// Everything that a generator still has to write.
fn rest_of(mut generator: Generator<'_>) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    while let Some(piece) = generator.next_piece()? {
        text.push_str(piece);
    }
    Ok(text)
}

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let text = Text::from_string(
        "a tale",
        "the fox met the hen. \"come in\", said the hen, \"and sit\". ".repeat(60),
    );
    let recipe = RecipeOptions {
        hidden: Some(vec![32]),
        length: Some(Length::Steps(40)),
        ..RecipeOptions::default()
    };
    let cache = Some(folder.path().join("cache"));
    let settings = Settings {
        recipe,
        cache,
        sample_tokens: 0,
        ..Settings::new(Corpus::Text(text), folder.path().join("tale"))
    };
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false))?;
    let model = Model::open(folder.path().join("tale"))?;
    let options = |max_tokens| GenerateOptions { max_tokens, ..GenerateOptions::default() };

    // Uninterrupted: 60 tokens after a prompt.
    let mut whole = model.generator(&options(60), 5)?;
    whole.feed("the fox")?;
    let whole = rest_of(whole)?;

    // Interrupted after 20, saved, and gone on with by somebody else, some other day.
    let mut first = model.generator(&options(20), 5)?;
    first.feed("the fox")?;
    let mut parts = String::new();
    while let Some(piece) = first.next_piece()? {
        parts.push_str(piece);
    }
    let path = folder.path().join("fox.state");
    model.save_memory(&first.memory(), &path)?;
    println!("saved {} bytes", std::fs::metadata(&path)?.len());

    let memory = model.load_memory(&path)?;
    parts += &rest_of(model.resume(&options(40), memory.clone())?)?;
    println!("{parts:?}");
    assert_eq!(parts, whole, "the same text, bit for bit");

    // A fork: the same past, and another seed for what comes.
    let mut other = memory.clone();
    other.reseed(6);
    let fork = rest_of(model.resume(&options(40), other)?)?;
    println!("or: {fork:?}");
    Ok(())
}
