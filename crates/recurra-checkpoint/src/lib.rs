//! A model on disk: weights, config, tokenizer, training state; import and export.
