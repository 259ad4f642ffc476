//! The project's own rules, as functions that a test can call on good and on bad input.

pub mod tidy;
