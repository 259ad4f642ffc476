//! `config.json`, and reading of small files whose length nobody vouches for.

use std::io;
use std::path::Path;

use recurra_data::{Unreadable, read_at_most};
use recurra_models::LanguageModelConfig;
use serde::Serialize;
use serde::de::Error as _;
use serde_json::Value;

use crate::Error;
use crate::tensor_file::FORMAT;

const KIND: &str = "language-model";
const MAX_BYTES: u64 = 1 << 20;

/// The text of `config.json` for this configuration.
pub(crate) fn config_text(config: &LanguageModelConfig) -> String {
    #[derive(Serialize)]
    struct ConfigFile<'a> {
        format_version: u32,
        kind: &'static str,
        #[serde(flatten)]
        model: &'a LanguageModelConfig,
    }
    let file = ConfigFile { format_version: FORMAT, kind: KIND, model: config };
    let mut text =
        serde_json::to_string_pretty(&file).expect("a configuration has only names and numbers");
    text.push('\n');
    text
}

/// Reads the text of a `config.json`.
pub(crate) fn read_config_text(path: &Path) -> Result<String, Error> {
    read_text(path, MAX_BYTES)
}

/// What the text of a `config.json` says; the path is for the error.
pub(crate) fn parse_config(text: &str, path: &Path) -> Result<LanguageModelConfig, Error> {
    let bad = |source| Error::BadJson { path: path.into(), source };
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(bad)?;
    // The version first: what a later version means by the other fields is not ours to guess.
    match fields.remove("format_version") {
        Some(found) if found == FORMAT => {}
        Some(found) => {
            return Err(Error::UnknownFormat {
                path: path.into(),
                found: found.to_string(),
                supported: FORMAT,
            });
        }
        None => return Err(bad(serde_json::Error::missing_field("format_version"))),
    }
    match fields.remove("kind") {
        Some(found) if found == KIND => {}
        Some(found) => {
            return Err(Error::WrongKind {
                path: path.into(),
                found: found.to_string(),
                expected: KIND,
            });
        }
        None => return Err(bad(serde_json::Error::missing_field("kind"))),
    }
    serde_json::from_value(Value::Object(fields)).map_err(bad)
}

/// Reads a regular file of at most so many bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let bytes = read_at_most(path, limit).map_err(|error| match error {
        Unreadable::NotAFile => Error::NotAFile { path: path.into() },
        Unreadable::TooLarge(found) => Error::TooLarge { path: path.into(), found, limit },
        Unreadable::System(source) => Error::io("read", path)(source),
    })?;
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(bytes).map_err(not_text).map_err(Error::io("read", path))
}
