//! How well a model predicts a text.
//!
//! The field's convention, that of PyTorch's word_language_model, AWD-LSTM and most since: the model reads the first token
//! without predicting it, then predicts each token from all before it, with the state carried from the first token to the
//! last and never reset. So n tokens give n − 1 predictions. Everything is counted over the predicted ones:
//!
//! - `tokens` is n − 1;
//! - `bytes` are those of the text less those of the first token: its UTF-8, and for a word the white space after it; one
//!   byte where it is a part of a character; and those of `<unk>` for a word outside of the vocabulary;
//! - `words` are those whose end is predicted, one end of line a line among them: all, less one where the first token is
//!   an end of line or, with a word tokenizer, any word. So perplexity and word perplexity of a word model are the same.
//!
//! The text is read in windows, which bound the memory and change nothing.
//!
//! [`Evaluation`] scores with what helps a model, [`AddOns`]; each part stands in the signature of the score.

mod add_ons;
mod cache;
mod dynamic;
mod evaluation;
mod tune;

use std::ops::ControlFlow;
use std::path::Path;

use recurra_data::{Text, TokenFile, Tokenizer};
use recurra_metrics::{Context, LanguageScore, Signature, StateCarry};
use recurra_tensor::Workspace;

use crate::{Error, ModelRef, Result};

pub use add_ons::{AddOns, DynamicEvaluation, NeuralCache};
pub use evaluation::Evaluation;
pub use tune::Tuned;

/// Tokens that are in memory at once.
const WINDOW: usize = 512;

/// Scores a text; its tokens are kept in the folder `cache` for the next time.
///
/// `progress` hears how many tokens of how many are done, every few hundred, and may break off.
///
/// # Errors
/// When the text cannot be read or has fewer than two tokens, or `progress` broke off.
pub fn score_text(
    model: ModelRef<'_>,
    text: &Text,
    cache: &Path,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<LanguageScore> {
    let tokens = TokenFile::open_or_build(cache, text, model.tokenizer)?;
    score(model, &mut Workspace::new(), &tokens, progress)
}

/// Scores the tokens of a text, made by the model's own tokenizer.
///
/// # Errors
/// When there are fewer than two tokens, one is none of the model's, or `progress` broke off.
pub fn score(
    model: ModelRef<'_>,
    workspace: &mut Workspace<f32>,
    tokens: &TokenFile,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<LanguageScore> {
    let mut evaluation = Evaluation::with_workspace(model, std::mem::take(workspace));
    let score = evaluation.score(tokens, &AddOns::default(), progress);
    *workspace = evaluation.into_workspace();
    score
}

/// The score of a text whose tokens were worth so many nats together, by the model alone.
fn plain_score(model: ModelRef<'_>, tokens: &TokenFile, total_nats: f64) -> LanguageScore {
    let mut first = [0];
    tokens.read(0, &mut first);
    let (bytes, words) = first_token(model, first[0]);
    LanguageScore {
        tokens: tokens.len() as u64 - 1,
        bytes: tokens.n_bytes().saturating_sub(bytes).max(1),
        words: tokens.n_words().saturating_sub(words).max(1),
        total_nats,
        signature: signature_of(model.tokenizer, tokens.text_sha256(), model.storage()),
    }
}

/// Refuses tokens of another tokenizer, whose ids mean something else.
fn check_tokenizer(model: ModelRef<'_>, tokens: &TokenFile) -> Result<()> {
    let (found, expected) = (tokens.tokenizer_hash(), model.tokenizer.hash());
    match found == expected {
        true => Ok(()),
        false => Err(Error::OtherTokenizer { found: found.into(), expected }),
    }
}

/// Refuses ids that are none of the model's.
fn check_ids(model: ModelRef<'_>, ids: &[u32]) -> Result<()> {
    let (vocab_size, largest) = (model.vocab_size(), ids.iter().copied().max().unwrap_or(0));
    match (largest as usize) < vocab_size {
        true => Ok(()),
        false => Err(Error::Token { id: largest, vocab_size }),
    }
}

/// How many bytes and finished words the first token stands for.
fn first_token(model: ModelRef<'_>, id: u32) -> (u64, u64) {
    let mut decoder = model.tokenizer.decoder();
    let text = decoder.push(id);
    let ends_line = text.ends_with('\n');
    let is_word = model.tokenizer.kind() == "word";
    let white_space = usize::from(is_word && !ends_line);
    ((text.len() + white_space).max(1) as u64, u64::from(is_word || ends_line))
}

/// The signature of a score by this field's convention: of a text, cut into tokens by this tokenizer, in this precision.
pub fn signature_of(
    tokenizer: &Tokenizer,
    text_sha256: &str,
    precision: impl ToString,
) -> Signature {
    let (kind, hash) = (tokenizer.kind(), tokenizer.hash());
    Signature {
        unit: kind.to_owned(),
        tokenizer: format!("{kind}-{hash}"),
        context: Context::Unbounded,
        state: StateCarry::Carried,
        temperature: None,
        cache: None,
        dynamic: None,
        data: digits(text_sha256).to_owned(),
        precision: precision.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// As much of a text's hash as a signature names it by.
fn digits(text_sha256: &str) -> &str {
    &text_sha256[..text_sha256.len().min(16)]
}

#[cfg(test)]
mod tests;
