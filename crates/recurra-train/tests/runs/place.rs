//! A folder for a test, a text that is easy to learn, a recipe that is quick, and what is looked at afterwards.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use recurra_data::{Text, TokenizerSpec};
use recurra_train::{
    Corpus, Error, Event, Length, Measurement, RecipeOptions, Report, Settings, read_measurements,
    train,
};
use tempfile::TempDir;

/// A folder for one test, with a text that is easy to learn and no two tests share.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn settings(&self, name: &str) -> Settings {
        Settings {
            cache: Some(self.out("cache")),
            threads: Some(1),
            save_every_seconds: 1e9,
            sample_tokens: 0,
            recipe: small_recipe(),
            ..Settings::new(Corpus::Text(song()), self.out(name))
        }
    }
}

pub fn song() -> Text {
    let verses = (0..40).map(|n| {
        format!(
            "{n} green bottles hanging on the wall, and if one should fall, there would be {n}\n"
        )
    });
    Text::from_string("a song", verses.collect())
}

pub fn small_recipe() -> RecipeOptions {
    RecipeOptions {
        tokenizer: Some(TokenizerSpec::Byte),
        embed: Some(8),
        hidden: Some(vec![16, 12]),
        dropout: Some(0.1),
        batch: Some(3),
        bptt: Some(10),
        learning_rate: Some(0.01),
        length: Some(Length::Steps(24)),
        validate_every: Some(7),
        ..RecipeOptions::default()
    }
}

/// Trains in silence and to the end.
#[track_caller]
pub fn run(settings: Settings) -> Report {
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false)).unwrap()
}

#[track_caller]
pub fn refused(settings: Settings) -> Error {
    train(settings, &mut |_: &Event| {}, &AtomicBool::new(false)).unwrap_err()
}

/// Everything that must not depend on threads, checkpoints and kills.
pub fn result(report: &Report) -> (String, Option<u64>, Option<u64>, u64, u64) {
    let bits = |number: Option<f64>| number.map(f64::to_bits);
    (
        report.weights_sha256.clone(),
        bits(report.train_loss_nats),
        bits(report.valid_loss_nats),
        report.steps,
        report.tokens,
    )
}

/// The record without what the clock decides.
pub fn record(out: &Path) -> Vec<(u64, u64)> {
    let measurements = read_measurements(&out.join("training/metrics.jsonl")).unwrap();
    let of = |measurement: &Measurement| match *measurement {
        Measurement::Train { step, loss_nats, .. } | Measurement::Valid { step, loss_nats, .. } => {
            (step, loss_nats.to_bits())
        }
    };
    measurements.iter().map(of).collect()
}
