//! Scores of text and labels, each with its signature. Knows no tensor.
