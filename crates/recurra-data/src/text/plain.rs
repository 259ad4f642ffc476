//! Files that are nothing but text, and what can be told of one that is not.

use super::outlet::{CHUNK_BYTES, Flow, Outlet, Utf8Reader};
use super::source::Document;
use crate::{Error, Result};
use std::io::{self, Read, Seek, SeekFrom};

/// Reads the text of a file that is nothing but text; `lossy` goes on where bytes are not UTF-8.
pub(super) fn read(document: &Document, lossy: bool, outlet: &mut Outlet) -> Result<Flow> {
    if let Some(text) = document.memory() {
        return outlet.push(text);
    }
    let mut utf8 = Utf8Reader { name: &document.name, lossy, offset: 0 };
    let (mut reader, mut is_inside): (Box<dyn Read>, _) = match document.plain_file()? {
        // What stands before the range need not be read, unless wrong bytes change its length.
        Some((mut file, len)) if !utf8.lossy && outlet.unwanted() > 0 => {
            utf8.offset = outlet.unwanted().min(len);
            outlet
                .skip(utf8.offset, utf8.offset == len && document.ends_in_newline(&mut file, len)?);
            document.at(file.seek(SeekFrom::Start(utf8.offset)))?;
            (Box::new(file), true)
        }
        _ => (document.reader()?, false),
    };
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut kept = 0;
    loop {
        let n = match reader.read(&mut buffer[kept..]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            result => document.at(result)?,
        };
        let mut bytes = &buffer[..kept + n];
        if std::mem::take(&mut is_inside) {
            // The bytes of a character that began before the range.
            let tail = bytes.iter().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
            outlet.skip(tail as u64, false);
            utf8.offset += tail as u64;
            bytes = &bytes[tail..];
        }
        let end = kept + n;
        let (left, flow) = utf8.push(bytes, n == 0, outlet)?;
        if flow.is_break() || n == 0 {
            return Ok(flow);
        }
        buffer.copy_within(end - left..end, 0);
        kept = left;
    }
}

/// Adds to an error what only a second look at the file can tell.
pub(super) fn explain(error: Error, document: &Document) -> Error {
    let Error::InvalidUtf8 { name, offset, line, byte, .. } = error else { return error };
    let (head, line_ends) = look_again(document, offset).unwrap_or_default();
    let line = if line == 0 { line_ends + 1 } else { line };
    Error::InvalidUtf8 { name, offset, line, byte, looks_like: looks_like(&head) }
}

/// The first bytes of a document, and the line ends before `offset`.
fn look_again(document: &Document, offset: u64) -> Option<(Vec<u8>, u64)> {
    let mut reader = document.reader().ok()?.take(offset.max(8));
    let (mut head, mut position, mut line_ends) = (Vec::new(), 0, 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = reader.read(&mut buffer).ok()?;
        if n == 0 {
            return Some((head, line_ends));
        }
        let before = usize::try_from(offset - position).unwrap_or(n).min(n);
        line_ends += buffer[..before].iter().filter(|&&byte| byte == b'\n').count() as u64;
        position += before as u64;
        head.extend(buffer[..n].iter().take(8 - head.len()));
    }
}

/// What a file that is no text seems to be, by its first bytes.
fn looks_like(head: &[u8]) -> Option<&'static str> {
    const SIGNS: [(&[u8], &str); 7] = [
        (b"\xFF\xFE", "UTF-16"),
        (b"\xFE\xFF", "UTF-16"),
        (b"\x1F\x8B", "gzip"),
        (b"\x28\xB5\x2F\xFD", "zstd"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"BZh", "bzip2"),
        (b"\xFD7zXZ", "xz"),
    ];
    SIGNS.iter().find(|(sign, _)| head.starts_with(sign)).map(|&(_, what)| what)
}
