//! Whole runs on small texts: what they leave behind, and that nothing but texts and recipe decides over the result.

mod budget;
mod outcome;
mod place;
mod resume;
mod sameness;
