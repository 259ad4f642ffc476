//! Text to tokens to batches of token ids. Knows no tensor.
