//! Scalars as TensorBoard reads them: TFRecord frames around `Event` messages, both written by hand.
//!
//! A frame is `length: u64, masked_crc32c(length): u32, bytes, masked_crc32c(bytes): u32`, all little-endian
//! (`tensorflow/core/lib/io/record_writer`). A message needs four fields (`tensorflow/core/util/event.proto`,
//! `framework/summary.proto`): wall time, step, file version in the first one, and a summary of tagged numbers in the rest.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An event file that is written to its end.
#[derive(Debug)]
pub struct EventFile {
    file: File,
}

/// No event of ours is longer; a longer length is a damaged frame.
const LONGEST_EVENT: u64 = 64 * 1024;

impl EventFile {
    /// Begins a new file with the version record, in place of one that may be there.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn create(path: &Path, wall_time: f64) -> io::Result<EventFile> {
        let mut events = EventFile { file: File::create(path)? };
        let mut message = Message::default();
        message.double(1, wall_time);
        message.bytes(3, b"brain.Event:2");
        events.file.write_all(&frame(&message.0))?;
        Ok(events)
    }

    /// Opens a file to go on after `last_step`: later events, and a frame that was cut off, are removed.
    ///
    /// # Errors
    /// Whatever the file system says. A file that is missing or damaged from the start is begun anew.
    pub fn resume(path: &Path, last_step: u64, wall_time: f64) -> io::Result<EventFile> {
        let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else {
            return EventFile::create(path, wall_time);
        };
        let kept = length_until(&mut BufReader::new(&file), last_step);
        if kept == 0 {
            return EventFile::create(path, wall_time);
        }
        file.set_len(kept)?;
        file.seek(SeekFrom::Start(kept))?;
        Ok(EventFile { file })
    }

    /// Appends one event with all `scalars` of a step.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn append(&mut self, step: u64, wall_time: f64, scalars: &[(&str, f64)]) -> io::Result<()> {
        let mut summary = Message::default();
        for (tag, value) in scalars {
            let mut scalar = Message::default();
            scalar.bytes(1, tag.as_bytes());
            scalar.float(2, *value as f32);
            summary.bytes(1, &scalar.0);
        }
        let mut event = Message::default();
        event.double(1, wall_time);
        event.varint(2, step);
        event.bytes(5, &summary.0);
        self.file.write_all(&frame(&event.0))
    }
}

/// How many bytes hold whole frames of steps up to `last_step`.
fn length_until(file: &mut impl Read, last_step: u64) -> u64 {
    let mut kept = 0;
    while let Some(event) = read_frame(file) {
        if step_of(&event).is_none_or(|step| step > last_step) {
            break;
        }
        kept += event.len() as u64 + 16;
    }
    kept
}

/// The next frame's bytes; `None` at the end, and where a frame is cut off or altered.
fn read_frame(file: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = [0; 12];
    file.read_exact(&mut head).ok()?;
    let (length, length_crc) = head.split_at(8);
    let n_bytes = u64::from_le_bytes(length.try_into().ok()?);
    if masked_crc32c(length).to_le_bytes() != length_crc || n_bytes > LONGEST_EVENT {
        return None;
    }
    let mut bytes = vec![0; n_bytes as usize];
    let mut crc = [0; 4];
    file.read_exact(&mut bytes).ok()?;
    file.read_exact(&mut crc).ok()?;
    (masked_crc32c(&bytes).to_le_bytes() == crc).then_some(bytes)
}

/// The step of an event that this file's writer wrote: field 2 after the eight bytes of field 1; the version record has none.
fn step_of(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?;
    if rest.first() != Some(&(2 << 3)) {
        return Some(0);
    }
    let mut step = 0u64;
    for (idx, byte) in rest[1..].iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * idx);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

/// A protocol-buffer message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.raw_varint(field << 3);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.raw_varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.raw_varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(bytes.len() + 16);
    framed.extend(length);
    framed.extend(masked_crc32c(&length).to_le_bytes());
    framed.extend(bytes);
    framed.extend(masked_crc32c(bytes).to_le_bytes());
    framed
}

/// The checksum of a TFRecord: rotated and offset, so that a checksum of checksums stays useful.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both records as the writer of tensorboard 2.21 (`RecordWriter`, `Event`, `Summary`) puts them into a file.
    #[rustfmt::skip]
    const VERSION: [u8; 40] = [
        24, 0, 0, 0, 0, 0, 0, 0, 163, 127, 75, 34, 9, 0, 0, 0, 0, 0, 0, 248, 63, 26, 13, 98, 114, 97, 105, 110, 46, 69, 118,
        101, 110, 116, 58, 50, 42, 40, 100, 108,
    ];
    #[rustfmt::skip]
    const SCALAR: [u8; 54] = [
        38, 0, 0, 0, 0, 0, 0, 0, 115, 79, 227, 0, 9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 200, 1, 42, 24, 10, 22, 10, 15, 116, 114,
        97, 105, 110, 47, 108, 111, 115, 115, 95, 110, 97, 116, 115, 21, 0, 0, 32, 64, 49, 166, 54, 105,
    ];

    #[test]
    fn records_are_those_of_tensorboard_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut events = EventFile::create(&path, 1.5).unwrap();
        events.append(200, 1.5, &[("train/loss_nats", 2.5)]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&VERSION[..], &SCALAR[..]].concat());
    }

    #[test]
    fn resuming_drops_later_steps_and_cut_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut events = EventFile::create(&path, 1.5).unwrap();
        let mut lengths = vec![VERSION.len() as u64];
        for step in [1u64, 200, 70_000] {
            events.append(step, step as f64, &[("train/loss_nats", 2.5)]).unwrap();
            lengths.push(std::fs::metadata(&path).unwrap().len());
        }
        let whole = std::fs::read(&path).unwrap();
        // Cut anywhere: what remains ends after the last whole frame that is not too late.
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            EventFile::resume(&path, 200, 1.5).unwrap();
            let kept = std::fs::metadata(&path).unwrap().len();
            let expected = lengths[..3].iter().rev().find(|&&length| length <= cut as u64).copied();
            assert_eq!(kept, expected.unwrap_or(lengths[0]), "cut at {cut}");
        }
        // An altered byte ends the file before its frame, and what is appended then reads back.
        let mut altered = whole.clone();
        altered[lengths[1] as usize + 20] ^= 1;
        std::fs::write(&path, &altered).unwrap();
        let mut events = EventFile::resume(&path, u64::MAX, 1.5).unwrap();
        events.append(200, 1.5, &[("train/loss_nats", 2.5)]).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            [&whole[..lengths[1] as usize], &SCALAR[..]].concat()
        );
    }
}
