//! The project's own tools as functions that a test can call: rules on good and on bad input, what other programs print.

pub mod bench;
pub mod tidy;
