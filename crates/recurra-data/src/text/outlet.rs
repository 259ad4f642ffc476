//! The end of every source: documents joined, cut to a range, handed on in chunks of bounded size.

use crate::{Error, Result};
use std::ops::{ControlFlow, Range};

/// Whether the reader wants more.
pub(crate) type Flow = ControlFlow<()>;

/// Who receives the text.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(&str) -> Result<Flow>;

/// The size of a chunk. Smaller pieces are gathered, larger ones cut.
pub(crate) const CHUNK_BYTES: usize = 1 << 16;

/// Takes text piece by piece; passes on the bytes of `range` in chunks.
///
/// A bound of the range inside a character means the end of that character, so that two neighbouring ranges share
/// no character and lose none.
pub(super) struct Outlet<'a> {
    visitor: Visitor<'a>,
    range: Range<u64>,
    /// Bytes taken so far, whether passed on or not.
    position: u64,
    gathered: String,
    ends_in_newline: bool,
    join: bool,
    /// The visitor wants no more.
    is_closed: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(range: Range<u64>, visitor: Visitor<'a>) -> Self {
        let gathered = String::with_capacity(CHUNK_BYTES);
        Self {
            visitor,
            range,
            position: 0,
            gathered,
            ends_in_newline: true,
            join: false,
            is_closed: false,
        }
    }

    /// Begins a document, a record or a row: a line end stands before it where the text before has none.
    pub(super) fn begin_document(&mut self) {
        self.join = self.position > 0 && !self.ends_in_newline;
    }

    /// How far a document that begins here can be left unread, in bytes of the document.
    pub(super) fn unwanted(&self) -> u64 {
        self.range.start.saturating_sub(self.position + u64::from(self.join))
    }

    /// Counts bytes of a document that were not read because they stand before the range.
    pub(super) fn skip(&mut self, bytes: u64, ends_in_newline: bool) {
        if bytes > 0 {
            self.position += u64::from(std::mem::take(&mut self.join)) + bytes;
            self.ends_in_newline = ends_in_newline;
        }
    }

    /// Takes a piece of text.
    pub(super) fn push(&mut self, text: &str) -> Result<Flow> {
        if text.is_empty() {
            return Ok(Flow::Continue(()));
        }
        if std::mem::take(&mut self.join) && self.push_in_range("\n")?.is_break() {
            return Ok(Flow::Break(()));
        }
        self.push_in_range(text)
    }

    fn push_in_range(&mut self, text: &str) -> Result<Flow> {
        let start = self.position;
        self.position += text.len() as u64;
        self.ends_in_newline = text.ends_with('\n');
        let from = boundary_at_or_after(text, self.range.start.saturating_sub(start));
        let to = boundary_at_or_after(text, self.range.end.saturating_sub(start));
        if from < to && self.gather(&text[from..to])?.is_break() {
            return Ok(Flow::Break(()));
        }
        Ok(if self.position >= self.range.end { Flow::Break(()) } else { Flow::Continue(()) })
    }

    fn gather(&mut self, mut text: &str) -> Result<Flow> {
        while !text.is_empty() {
            let room = CHUNK_BYTES - self.gathered.len();
            let (head, tail) = text.split_at(boundary_at_or_before(text, room));
            text = tail;
            // A whole chunk goes on without being copied.
            if self.gathered.is_empty() && head.len() + 4 > CHUNK_BYTES {
                if self.pass_on(head)?.is_break() {
                    return Ok(Flow::Break(()));
                }
                continue;
            }
            self.gathered.push_str(head);
            let is_full = !text.is_empty() || self.gathered.len() + 4 > CHUNK_BYTES;
            if is_full && self.flush()?.is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    /// Passes on what was gathered; to be called at the end.
    pub(super) fn flush(&mut self) -> Result<Flow> {
        let gathered = std::mem::take(&mut self.gathered);
        let flow = if gathered.is_empty() { Flow::Continue(()) } else { self.pass_on(&gathered)? };
        self.gathered = gathered;
        self.gathered.clear();
        Ok(flow)
    }

    fn pass_on(&mut self, text: &str) -> Result<Flow> {
        if !self.is_closed && (self.visitor)(text)?.is_break() {
            self.is_closed = true;
        }
        Ok(if self.is_closed { Flow::Break(()) } else { Flow::Continue(()) })
    }
}

/// The last character boundary at or before `at`.
pub(crate) fn boundary_at_or_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first character boundary at or after `at`.
fn boundary_at_or_after(text: &str, at: u64) -> usize {
    let mut at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Bytes to text, over the borders of buffers.
pub(super) struct Utf8Reader<'a> {
    /// For messages.
    pub(super) name: &'a str,
    pub(super) lossy: bool,
    /// Offset of the buffer's first byte in the document.
    pub(super) offset: u64,
}

impl Utf8Reader<'_> {
    /// Passes on the text of `bytes`; returns how many bytes at the end wait for more.
    ///
    /// With `is_last`, an unfinished character is as wrong as any other byte.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        outlet: &mut Outlet,
    ) -> Result<(usize, Flow)> {
        let mut rest = bytes;
        loop {
            let (valid, wrong) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(e) => {
                    let (valid, _) = rest.split_at(e.valid_up_to());
                    let text = std::str::from_utf8(valid).unwrap_or_default();
                    (text, Some(e.error_len()))
                }
            };
            let flow = outlet.push(valid)?;
            self.offset += valid.len() as u64;
            rest = &rest[valid.len()..];
            if flow.is_break() {
                return Ok((rest.len(), flow));
            }
            let wrong_len = match wrong {
                None => return Ok((0, flow)),
                Some(None) if !is_last => return Ok((rest.len(), flow)),
                Some(None) => rest.len(),
                Some(Some(len)) => len,
            };
            if !self.lossy {
                return Err(Error::InvalidUtf8 {
                    name: self.name.into(),
                    offset: self.offset,
                    line: 0, // found by reading again: see `Text::locate`
                    byte: rest[0],
                    looks_like: None,
                });
            }
            let flow = outlet.push("\u{FFFD}")?;
            self.offset += wrong_len as u64;
            rest = &rest[wrong_len..];
            if flow.is_break() {
                return Ok((rest.len(), flow));
            }
        }
    }
}
