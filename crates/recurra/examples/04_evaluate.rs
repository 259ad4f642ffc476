//! Evaluating: scores that say how they were measured, and that are compared only where that means something.

use std::error::Error;
use std::sync::atomic::AtomicBool;

use recurra::Model;
use recurra::data::{Text, TokenizerSpec};
use recurra::metrics::Quantity;
use recurra::train::{Corpus, Event, Length, RecipeOptions, Settings, train};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let text = Text::from_string(
        "rhymes",
        "one, two, buckle my shoe; three, four, knock at the door\n".repeat(80),
    );
    let held_out = Text::from_string(
        "another rhyme",
        "five, six, pick up sticks; seven, eight, lay them straight\n".into(),
    );

    // Two models of the same text: one reads characters, the other bytes.
    let mut scores = Vec::new();
    for tokenizer in [TokenizerSpec::Char, TokenizerSpec::Byte] {
        let out = folder.path().join(tokenizer.to_string());
        let recipe = RecipeOptions {
            tokenizer: Some(tokenizer),
            hidden: Some(vec![24]),
            length: Some(Length::Steps(40)),
            ..RecipeOptions::default()
        };
        let cache = Some(folder.path().join("cache"));
        let settings = Settings {
            recipe,
            cache,
            sample_tokens: 0,
            ..Settings::new(Corpus::Text(text.clone()), &out)
        };
        train(settings, &mut |_: &Event| {}, &AtomicBool::new(false))?;

        let score = Model::open(&out)?.evaluate(&held_out)?;
        println!("{score}");
        println!("  {}", score.signature); // what it was measured on, in one line
        scores.push(score);
    }

    // Perplexity always comes with bits a byte, which does not depend on how the text was cut into tokens.
    let (chars, bytes) = (&scores[0], &scores[1]);
    let expected = chars.total_nats / (chars.bytes as f64 * std::f64::consts::LN_2);
    assert!((chars.bits_per_byte() - expected).abs() < 1e-12);

    // So these two may be compared in bits a byte, and not in perplexity by token: a token is not the same.
    assert!(chars.signature.comparable_in(Quantity::BitsPerByte, &bytes.signature).is_ok());
    match chars.signature.comparable(&bytes.signature) {
        Err(refused) => println!("{refused}; {}", refused.hint()),
        Ok(()) => unreachable!("characters are not bytes"),
    }
    Ok(())
}
