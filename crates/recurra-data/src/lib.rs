//! Text to tokens to batches of token ids. Knows no tensor.
//!
//! The stages, in the order in which data flows through them:
//!
//! 1. [`Text`]: files, folders or standard input as one re-readable stream of UTF-8 text.
//! 2. [`Tokenizer`]: text to ids and back; byte, character, word, BPE or any `tokenizer.json`.
//! 3. [`TokenFile`]: the ids of a whole text, memory-mapped, kept in a cache under the hashes of text and tokenizer.
//! 4. [`Streams`]: contiguous streams over a token file, cut into windows for truncated backpropagation.
//!
//! ```
//! use recurra_data::{Batch, Streams, Text, TokenFile, Tokenizer, TokenizerSpec};
//!
//! let text = Text::from_string("a poem", "so much depends upon a red wheel barrow\n".repeat(8));
//! let tokenizer = Tokenizer::train(&TokenizerSpec::Char, &text)?;
//! let cache = tempfile::tempdir().unwrap();
//! let tokens = TokenFile::open_or_build(cache.path(), &text, &tokenizer)?;
//! let streams = Streams::new(tokens, 4, 16)?;
//! let mut batch = Batch::default();
//! streams.window(0, &mut batch);
//! assert_eq!((batch.time, batch.batch, batch.inputs.len()), (16, 4, 64));
//! # Ok::<(), recurra_data::Error>(())
//! ```

mod batches;
mod disk;
mod error;
mod mapped_file;
mod predictability;
mod spelling;
pub mod storybook;
mod text;
mod tokens;

pub use batches::{Batch, Streams};
pub use disk::{Unreadable, read_at_most, sync_folder};
pub use error::{Error, Result};
pub use mapped_file::MappedFile;
pub use predictability::Predictability;
pub use spelling::nearest;
pub use text::{Text, TextOptions, TextStats, expect_one_stdin, hex};
pub use tokens::{
    Decoder, DecoderState, LARGEST_TOKENIZER_BYTES, TokenFile, Tokenizer, TokenizerSpec, cache_dir,
    panics_are_caught,
};
