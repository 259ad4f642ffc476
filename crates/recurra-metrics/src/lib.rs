//! Scores of text and labels, each with its signature. Knows no tensor.
//!
//! A [`LanguageScore`] says how well a model predicts a text, in every unit people quote, and carries the
//! [`Signature`] of how it was measured. [`Signature::comparable`] refuses to put two numbers side by side that
//! were not measured alike, and says why. [`readable`] writes numbers as people read them.
//!
//! ```
//! use recurra_metrics::{Context, LanguageScore, Signature, StateCarry};
//!
//! let signature = Signature {
//!     unit: "char".into(),
//!     tokenizer: "char-1a2b3c4d5e6f7081".into(),
//!     context: Context::Unbounded,
//!     state: StateCarry::Carried,
//!     temperature: None,
//!     cache: None,
//!     dynamic: None,
//!     data: "9f86d081884c7d65".into(),
//!     precision: "f32".into(),
//!     version: "0.1.0".into(),
//! };
//! let score = LanguageScore { tokens: 1000, bytes: 1000, words: 200, total_nats: 1500.0, signature };
//! assert_eq!(score.loss_nats(), 1.5);
//! assert!((score.bits_per_byte() - 2.164).abs() < 1e-3);
//! ```

mod error;
mod incomparable;
mod language_score;
pub mod readable;
mod signature;

pub use error::Error;
pub use incomparable::{Difference, Field, Incomparable, Quantity};
pub use language_score::LanguageScore;
pub use signature::{Context, Signature, StateCarry};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
