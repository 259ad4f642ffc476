//! The library people use: re-exports, examples, one tour.
