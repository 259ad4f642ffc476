//! Standard output, for programs and for the text that a model writes; standard error, for people.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes text at once, so that a reader sees it as it is made.
///
/// # Errors
/// When the output cannot be written. A reader that went away is told as such by [`is_closed`].
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one JSON object as a line.
///
/// # Errors
/// When the output cannot be written; a reader that went away is none.
pub fn write_json(object: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_string(object)?;
    line.push('\n');
    match write(&line) {
        Err(error) if is_closed(&error) => Ok(()),
        written => Ok(written?),
    }
}

/// Whether the reader of our output went away, as `head` does: no failure of ours.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Tells people something. A reader that went away, as with `2>&1 | head`, is no reason to end a run.
pub fn tell(text: fmt::Arguments<'_>) {
    let mut people = io::stderr().lock();
    let _ = people.write_fmt(text);
    let _ = people.flush();
}

/// As `eprint!`, through [`tell`].
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::tell(format_args!($($text)*)) };
}

/// As `eprintln!`, through [`tell`].
macro_rules! tell_line {
    ($($text:tt)*) => { $crate::output::tell(format_args!("{}\n", format_args!($($text)*))) };
}
