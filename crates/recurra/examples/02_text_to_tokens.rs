//! Text → tokens → batches: what a model is fed with.

use std::error::Error;

use recurra::data::{Batch, Streams, Text, TokenFile, Tokenizer, TokenizerSpec};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // Text is whatever can be read again and again: files, folders, standard input, or memory.
    let poem = "so much depends\nupon\n\na red wheel\nbarrow\n";
    let text = Text::from_string("a poem", poem.repeat(4));
    let stats = text.measure()?;
    println!(
        "{}: {} bytes, {} words, {} lines",
        text.describe(),
        stats.bytes,
        stats.words,
        stats.lines
    );

    // The same text by four tokenizers. Each is a Hugging Face tokenizer.json, whatever it is made of.
    for spec in ["byte", "char", "word", "bpe:280"] {
        let tokenizer = Tokenizer::train(&spec.parse::<TokenizerSpec>()?, &text)?;
        let ids = tokenizer.encode("a red wheel\n")?;
        let pieces: Vec<String> = ids.iter().map(|&id| tokenizer.token_text(id)).collect();
        println!("{spec:>7}, {:>3} kinds: {}", tokenizer.vocab_size(), pieces.join(" "));
        assert_eq!(tokenizer.decode(&ids), "a red wheel\n");
    }

    // A character that was never seen is spelled in bytes, so nothing is lost.
    let tokenizer = Tokenizer::train(&TokenizerSpec::Char, &text)?;
    assert_eq!(tokenizer.decode(&tokenizer.encode("☂")?), "☂");

    // Tokens go to a file that is mapped into memory and found again by the hashes of text and tokenizer.
    let tokens = TokenFile::open_or_build(folder.path(), &text, &tokenizer)?;
    println!("{} tokens", tokens.len());

    // Batches: the text is cut into 2 streams that run side by side, read 8 tokens at a time; row t of the targets is
    // what comes after row t of the inputs, and each window goes on where the one before it ended.
    let streams = Streams::new(tokens, 2, 8)?;
    let mut batch = Batch::default();
    for idx in 0..2 {
        streams.window(idx, &mut batch); // (8, 2), time-major
        for stream in 0..batch.batch {
            let of_stream = |ids: &[u32]| {
                ids.iter().skip(stream).step_by(batch.batch).copied().collect::<Vec<u32>>()
            };
            let (inputs, targets) = (of_stream(&batch.inputs), of_stream(&batch.targets));
            println!(
                "window {idx}, stream {stream}: {:?} → {:?}",
                tokenizer.decode(&inputs),
                tokenizer.decode(&targets)
            );
            assert_eq!(inputs[1..], targets[..targets.len() - 1]);
        }
    }
    Ok(())
}
