//! What makes a model better: loop, objectives, optimizers, schedules, recipes. Scores and samples through inference.
//!
//! [`train`] is the whole of it, and `run.rs`, where it stands, is the file to read first. A run is given [`Settings`],
//! tells an [`Observer`] its [`Event`]s, stops when a flag is set, and returns a [`Report`]:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use recurra_data::Text;
//! use recurra_train::{Corpus, Event, Length, RecipeOptions, Settings, train};
//!
//! let folder = tempfile::tempdir()?;
//! let text = Text::from_string("a song", "row, row, row your boat, gently down the stream; ".repeat(100));
//! let settings = Settings {
//!     cache: Some(folder.path().join("cache")),
//!     recipe: RecipeOptions {
//!         embed: Some(16),
//!         hidden: Some(vec![32]),
//!         learning_rate: Some(0.02),
//!         length: Some(Length::Steps(40)),
//!         ..RecipeOptions::default()
//!     },
//!     ..Settings::new(Corpus::Text(text), folder.path().join("song"))
//! };
//! let mut validations = vec![];
//! let mut observer = |event: &Event| {
//!     if let Event::Validated { loss_nats, .. } = event {
//!         validations.push(*loss_nats);
//!     }
//! };
//! let report = train(settings, &mut observer, &AtomicBool::new(false))?;
//! assert_eq!(report.steps, 40);
//! assert!(report.valid_loss_nats.unwrap() < 0.8 * validations[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod run;

mod averaging;
mod choose;
mod compare;
mod corpus;
mod error;
mod finish;
mod forecast;
mod observer;
mod optimizer;
mod pace;
mod phases;
mod position;
mod prepare;
mod recipe;
mod record;
mod rehearsal;
mod report;
mod room;
mod sample;
mod schedule;
mod settings;
mod speed;
mod start;
mod svg;
mod trial;
mod validation;

pub use averaging::{AverageMemory, Averaging};
pub use choose::{CHOSEN_FAMILIES, Choice};
pub use compare::{
    Axis, ComparedRun, Comparison, CurvePoint, EqualPoint, EqualValue, PICTURE_TITLE, ScoreColumn,
    compare,
};
pub use error::Error;
pub use forecast::Forecast;
pub use observer::{Event, Observer, Progress, StopReason};
pub use optimizer::{MethodSettings, MomentSettings, OptimizerSettings};
pub use phases::{Curve, Phase, Phases, Point};
pub use recipe::{Length, Recipe, RecipeOptions};
pub use record::{Measurement, read_measurements};
pub use report::Report;
pub use room::{Purpose, expect_room, machine_memory_bytes};
pub use run::train;
pub use schedule::{Decay, PlateauMemory, Schedule};
pub use settings::{Corpus, Settings};
pub use trial::{Trial, TrialOutcome, median};
