//! `config.json`, and reading of small files whose length nobody vouches for.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

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
    // Asked before opening, because opening a pipe would wait for somebody to write into it.
    let found = fs::metadata(path).map_err(Error::io("read", path))?;
    if !found.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    let too_large = |found| Error::TooLarge { path: path.into(), found, limit };
    if found.len() > limit {
        return Err(too_large(found.len()));
    }
    let read = |path: &Path| -> io::Result<String> {
        let mut text = String::with_capacity(found.len() as usize);
        File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read(path).map_err(Error::io("read", path))?;
    if text.len() as u64 > limit { Err(too_large(text.len() as u64)) } else { Ok(text) }
}
