//! Whole networks built from a config. Know no optimizer, file, flag or text.
