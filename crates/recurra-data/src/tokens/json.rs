//! The parts of a Hugging Face `tokenizer.json` that our own vocabularies are written in.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A whole file.
#[derive(Serialize)]
pub(super) struct TokenizerJson<M> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: [(); 0],
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: (),
    decoder: Value,
    model: M,
}

impl<M: Serialize> TokenizerJson<M> {
    pub(super) fn write(
        normalizer: Value,
        pre_tokenizer: Value,
        decoder: Value,
        model: M,
    ) -> String {
        let whole = Self {
            version: "1.0",
            truncation: (),
            padding: (),
            added_tokens: [],
            normalizer,
            pre_tokenizer,
            post_processor: (),
            decoder,
            model,
        };
        // Strings and numbers only: writing them to memory cannot fail.
        serde_json::to_string(&whole).unwrap_or_default()
    }
}

/// A vocabulary as a JSON object in the order of the ids.
pub(super) struct Vocabulary<I>(pub(super) I);

impl<I: Iterator<Item = String> + Clone> Serialize for Vocabulary<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone().enumerate().map(|(id, token)| (token, id)))
    }
}

/// A BPE model without merges: every character is a token, or its bytes are.
#[derive(Serialize)]
pub(super) struct BpeModel<V> {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: (),
    unk_token: (),
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: V,
    merges: [(); 0],
}

impl<I: Iterator<Item = String> + Clone> BpeModel<Vocabulary<I>> {
    pub(super) fn without_merges(byte_fallback: bool, tokens: I) -> Self {
        Self {
            kind: "BPE",
            dropout: (),
            unk_token: (),
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback,
            ignore_merges: false,
            vocab: Vocabulary(tokens),
            merges: [],
        }
    }
}

/// The tokens of a parsed vocabulary in the order of their ids, where these are 0, 1, 2, …
pub(super) fn tokens_in_order(json: &Value) -> Option<Vec<&str>> {
    let vocab = json["model"]["vocab"].as_object()?;
    let mut tokens = vec![None; vocab.len()];
    for (token, id) in vocab {
        *tokens.get_mut(usize::try_from(id.as_u64()?).ok()?)? = Some(token.as_str());
    }
    tokens.into_iter().collect()
}
