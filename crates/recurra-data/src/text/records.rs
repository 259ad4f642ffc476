//! The text of JSON lines and tables: one field of every record.

use super::TextOptions;
use super::outlet::{Flow, Outlet};
use super::source::Document;
use crate::{Error, Result};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

/// The longest record that is read, so that a file without line ends cannot take all memory.
const RECORD_LIMIT: u64 = 64 << 20;

/// The longest line of column names.
const HEADER_LIMIT: u64 = 1 << 20;

/// As many names of a record are remembered to tell what there is.
const MOST_NAMES: usize = 100;

/// The field or column that holds the text where none is named.
const DEFAULT_FIELD: &str = "text";

/// Reads the field of every line of JSON.
pub(super) fn read_json_lines(
    document: &Document,
    options: &TextOptions,
    outlet: &mut Outlet,
) -> Result<Flow> {
    let field = options.field.as_deref().unwrap_or(DEFAULT_FIELD);
    let mut reader = BufReader::with_capacity(1 << 16, document.reader()?);
    let (mut bytes, mut offset, mut line) = (Vec::new(), 0u64, 0u64);
    loop {
        bytes.clear();
        let n = document.at((&mut reader).take(RECORD_LIMIT + 1).read_until(b'\n', &mut bytes))?;
        line += 1;
        if n == 0 {
            return Ok(Flow::Continue(()));
        }
        let wrong = |message| Error::Record { name: document.name.clone(), line, message };
        if n as u64 > RECORD_LIMIT {
            return Err(wrong(format!("the line is longer than {} MiB", RECORD_LIMIT >> 20)));
        }
        let text = utf8(&bytes, options.lossy).map_err(|(at, byte)| Error::InvalidUtf8 {
            name: document.name.clone(),
            offset: offset + at as u64,
            line,
            byte,
            looks_like: None,
        })?;
        offset += n as u64;
        let record = if line == 1 { text.trim_start_matches('\u{FEFF}') } else { &text }.trim();
        if record.is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_str(record);
        let found = FieldOf(field)
            .deserialize(&mut json)
            .and_then(|found| json.end().map(|()| found))
            .map_err(|e| wrong(format!("expected a JSON object, {}", without_line(&e))))?;
        match found {
            Found::Text(value) => {
                outlet.begin_document();
                if outlet.push(&value)?.is_break() {
                    return Ok(Flow::Break(()));
                }
            }
            Found::NotText(kind) => {
                return Err(wrong(format!("expected a string in field `{field}`, came {kind}")));
            }
            Found::Missing(found) => {
                return Err(Error::MissingField {
                    name: document.name.clone(),
                    line,
                    kind: "field",
                    wanted: field.into(),
                    found,
                });
            }
        }
    }
}

/// What is wrong with a record, which is one line of its file whatever its own lines are called.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// What stands in the wanted field.
enum Found {
    Text(String),
    NotText(&'static str),
    Missing(Vec<String>),
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(TextOrKind)
    }
}

/// Takes a text, and of anything else only what it is, without building it.
struct TextOrKind;

impl<'de> Visitor<'de> for TextOrKind {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::NotText("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::NotText("a truth value"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::NotText("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::NotText("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::NotText("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::NotText("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::NotText("an object"))
    }
}

/// Takes one field of an object and passes over the others without building them.
struct FieldOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let (mut found, mut names) = (None, Vec::new());
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(map.next_value::<Found>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                if found.is_none() && names.len() < MOST_NAMES {
                    names.push(name.into_owned());
                }
            }
        }
        Ok(found.unwrap_or(Found::Missing(names)))
    }
}

/// Reads one column of a table: CSV with quotes (RFC 4180), or TSV, which has none.
pub(super) fn read_table(
    document: &Document,
    separator: u8,
    options: &TextOptions,
    outlet: &mut Outlet,
) -> Result<Flow> {
    let column = options.column.as_deref().unwrap_or(DEFAULT_FIELD);
    let budget = Rc::new(Cell::new(HEADER_LIMIT));
    let limited = Limited { inner: document.reader()?, budget: Rc::clone(&budget) };
    let mut table = csv::ReaderBuilder::new()
        .delimiter(separator)
        .quoting(separator == b',')
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(limited);
    let header = table.byte_headers().map_err(|e| table_error(document, HEADER_LIMIT, 1, e))?;
    if header.is_empty() {
        return Ok(Flow::Continue(()));
    }
    let n_columns = header.len();
    let Some(idx) = header.iter().position(|name| name == column.as_bytes()) else {
        let names = header.iter().take(MOST_NAMES);
        let names = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        return Err(Error::MissingField {
            name: document.name.clone(),
            line: 1,
            kind: "column",
            wanted: column.into(),
            found: names,
        });
    };
    let mut row = csv::ByteRecord::new();
    loop {
        budget.set(RECORD_LIMIT);
        let at = table.position().line();
        if !table
            .read_byte_record(&mut row)
            .map_err(|e| table_error(document, RECORD_LIMIT, at, e))?
        {
            return Ok(Flow::Continue(()));
        }
        let line = row.position().map_or(at, csv::Position::line);
        let Some(field) = row.get(idx) else {
            let message =
                format!("expected {} columns as in the first line, came {}", n_columns, row.len());
            return Err(Error::Record { name: document.name.clone(), line, message });
        };
        let text = utf8(field, options.lossy).map_err(|(_, byte)| Error::InvalidColumn {
            name: document.name.clone(),
            column: column.into(),
            line,
            byte,
        })?;
        outlet.begin_document();
        if outlet.push(&text)?.is_break() {
            return Ok(Flow::Break(()));
        }
    }
}

fn table_error(document: &Document, limit: u64, line: u64, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            let message =
                format!("the row is longer than {} MiB, is a quote left open?", limit >> 20);
            Error::Record { name: document.name.clone(), line, message }
        }
        csv::ErrorKind::Io(source) => Error::Read { name: document.name.clone(), source },
        other => Error::Record { name: document.name.clone(), line, message: format!("{other:?}") },
    }
}

/// Ends with an error when a single row takes more than the budget, which the loop over rows renews.
struct Limited<R> {
    inner: R,
    budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.budget.get().checked_sub(n as u64) {
            Some(left) => self.budget.set(left),
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(n)
    }
}

/// The text of a record, or where and what its first wrong byte is.
fn utf8(bytes: &[u8], lossy: bool) -> Result<Cow<'_, str>, (usize, u8)> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) if lossy => Ok(String::from_utf8_lossy(bytes)),
        Err(error) => Err((error.valid_up_to(), bytes[error.valid_up_to()])),
    }
}
