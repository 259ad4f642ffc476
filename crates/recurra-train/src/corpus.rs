//! Text to tokens: the texts of a run, split where needed, and their token files.

use std::path::Path;
use std::time::Instant;

use recurra_data::storybook::Storybook;
use recurra_data::{Predictability, Text, TokenFile, Tokenizer};

use crate::choose::{CorpusFacts, TokenizerFacts};
use crate::error::Error;
use crate::observer::{Event, Observer};
use crate::position::TextNames;
use crate::record::CardText;
use crate::settings::{Corpus, Settings};

/// The part of a text that is held out where no validation text is given, and the most of it, in bytes: enough for a score
/// with three digits, and read in about a minute.
const HELD_OUT: f64 = 0.1;
const MOST_HELD_OUT: f64 = 5e6;

/// Bytes of text that are looked through for each second of a budget, to choose and to forecast: about a hundredth of the time.
const PREDICTED_BYTES_A_SECOND: f64 = 10e3;

/// Bytes of which a tokenizer that is there shows how long its tokens are.
const SAMPLED_BYTES: u64 = 1 << 18;

/// Tokens that are counted for the frequencies a model starts from: enough for any vocabulary, and done in a moment.
const COUNTED: usize = 1 << 26;

/// The seeds of the storybooks that are trained on and validated on.
const TRAIN_BOOK: u64 = 1;
pub(crate) const VALID_BOOK: u64 = 2;

/// The roles of the texts that a run is scored on at its end.
pub(crate) const SCORED_ROLES: [&str; 2] = ["validation", "test"];

/// The texts of a run.
pub(crate) struct Texts {
    pub train: Text,
    pub valid: Text,
    pub test: Option<Text>,
    /// What a perfect model would need for the validation text, in nats, where that is known.
    pub true_valid_nats: Option<f64>,
    pub facts: CorpusFacts,
}

impl Texts {
    /// Opens what the settings name; a storybook is told, a single text is cut in two.
    pub fn open(settings: &Settings) -> Result<Texts, Error> {
        let given = settings.valid.clone();
        let mut true_valid_nats = None;
        let (train, valid) = match (&settings.corpus, given) {
            (Corpus::Text(text), Some(valid)) => (text.clone(), valid),
            (Corpus::Text(text), None) => {
                let part = HELD_OUT.min(MOST_HELD_OUT / text.measure()?.bytes as f64);
                text.split_last(part)?
            }
            (Corpus::Storybook { language, bytes }, given) => {
                // Another book of the same grammar is as good as a part held out, and holds whole stories only.
                let (book, valid_book) =
                    (Storybook::new(*language, TRAIN_BOOK), Storybook::new(*language, VALID_BOOK));
                let train =
                    Text::from_string(&format!("{language} storybook, seed 1"), book.text(*bytes));
                let valid = given.unwrap_or_else(|| {
                    let valid = valid_book.text(bytes / 20);
                    let log_probability = valid_book.log_probability(&valid).ok();
                    true_valid_nats = log_probability.map(|log_probability| -log_probability);
                    Text::from_string(&format!("{language} storybook, seed 2"), valid)
                });
                (train, valid)
            }
        };
        let stats = train.measure()?;
        let facts = CorpusFacts {
            bytes: stats.bytes,
            chars: stats.chars,
            lines: stats.lines,
            words: stats.words,
            is_storybook: matches!(settings.corpus, Corpus::Storybook { .. }),
            predictability: None,
            tokenizer: None,
        };
        Ok(Texts { train, valid, test: settings.test.clone(), true_valid_nats, facts })
    }

    /// What the training text makes known of the validation text, as closely as is worth it for a run of so many seconds.
    pub fn predictability(&self, budget_seconds: f64) -> Result<Predictability, Error> {
        let most_bytes = (budget_seconds * PREDICTED_BYTES_A_SECOND).clamp(200e3, 6e6) as u64;
        Ok(Predictability::measure(&self.train, &self.valid, most_bytes)?)
    }

    /// What a tokenizer that is there makes of the beginning of the training text.
    pub fn tokenizer_facts(&self, tokenizer: &Tokenizer) -> Result<TokenizerFacts, Error> {
        let n_bytes = self.facts.bytes;
        let beginning = match n_bytes <= SAMPLED_BYTES {
            true => self.train.clone(),
            false => self.train.split_last(1.0 - SAMPLED_BYTES as f64 / n_bytes as f64)?.0,
        };
        let mut n_tokens = 0;
        tokenizer.encode_text(&beginning, &mut |ids| {
            n_tokens += ids.len();
            Ok(())
        })?;
        Ok(TokenizerFacts {
            vocabulary: tokenizer.vocab_size(),
            bytes_per_token: n_bytes.min(SAMPLED_BYTES) as f64 / n_tokens.max(1) as f64,
            is_word: tokenizer.kind() == "word",
        })
    }
}

/// A text as tokens.
pub(crate) struct TokenizedText {
    pub role: &'static str,
    pub text: Text,
    pub tokens: TokenFile,
}

impl TokenizedText {
    fn open(
        role: &'static str,
        text: &Text,
        tokenizer: &Tokenizer,
        cache: &Path,
        observer: &mut dyn Observer,
    ) -> Result<TokenizedText, Error> {
        let started = Instant::now();
        let tokens = TokenFile::open_or_build(cache, text, tokenizer)?;
        observer.observe(&Event::Tokenized {
            role,
            text: text.describe(),
            bytes: tokens.n_bytes(),
            tokens: tokens.len() as u64,
            vocab_size: tokenizer.vocab_size(),
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(TokenizedText { role, text: text.clone(), tokens })
    }

    /// From nats a token to bits a byte of this text.
    pub fn bits_per_byte(&self, loss_nats: f64) -> f64 {
        loss_nats * self.tokens.len() as f64
            / (self.tokens.n_bytes().max(1) as f64 * std::f64::consts::LN_2)
    }

    pub fn for_card(&self) -> CardText {
        CardText {
            role: self.role,
            text: self.text.title(),
            bytes: self.tokens.n_bytes(),
            tokens: self.tokens.len() as u64,
            sha256: self.tokens.text_sha256().to_owned(),
        }
    }
}

/// All texts of a run as tokens of one tokenizer.
pub(crate) struct TokenizedCorpus {
    pub tokenizer: Tokenizer,
    pub train: TokenizedText,
    pub valid: TokenizedText,
    pub test: Option<TokenizedText>,
}

impl TokenizedCorpus {
    /// Tokenises every text, or opens the token files of a run before.
    pub fn open(
        texts: &Texts,
        tokenizer: Tokenizer,
        cache: &Path,
        observer: &mut dyn Observer,
    ) -> Result<TokenizedCorpus, Error> {
        let mut open = |role, text| TokenizedText::open(role, text, &tokenizer, cache, observer);
        let (train, valid) = (open("training", &texts.train)?, open("validation", &texts.valid)?);
        let test = texts.test.as_ref().map(|test| open("test", test)).transpose()?;
        refuse_one_symbol(&train, &tokenizer)?;
        Ok(TokenizedCorpus { tokenizer, train, valid, test })
    }

    /// Which texts these are, for a run to remember.
    pub fn names(&self) -> TextNames {
        TextNames {
            train_sha256: self.train.tokens.text_sha256().to_owned(),
            valid_sha256: self.valid.tokens.text_sha256().to_owned(),
            train_text: self.train.text.title(),
        }
    }

    /// How often each token stands in the training text, as far as [`COUNTED`].
    pub fn token_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.tokenizer.vocab_size()];
        let (tokens, mut ids) = (&self.train.tokens, vec![0; 4096]);
        let n_counted = tokens.len().min(COUNTED);
        for start in (0..n_counted).step_by(ids.len()) {
            let n_ids = ids.len().min(n_counted - start);
            tokens.read(start, &mut ids[..n_ids]);
            for &id in &ids[..n_ids] {
                counts[id as usize] += 1;
            }
        }
        counts
    }
}

/// Nothing can be learned from a text that repeats one symbol for ever.
fn refuse_one_symbol(text: &TokenizedText, tokenizer: &Tokenizer) -> Result<(), Error> {
    let (n_tokens, mut first, mut ids) = (text.tokens.len(), [0], vec![0; 4096]);
    if n_tokens == 0 {
        return Ok(());
    }
    text.tokens.read(0, &mut first);
    for start in (0..n_tokens).step_by(ids.len()) {
        let n_ids = ids.len().min(n_tokens - start);
        text.tokens.read(start, &mut ids[..n_ids]);
        if ids[..n_ids].iter().any(|id| *id != first[0]) {
            return Ok(());
        }
    }
    let symbol = tokenizer.token_text(first[0]);
    Err(Error::OneSymbol { text: text.text.describe(), symbol, tokens: n_tokens })
}
