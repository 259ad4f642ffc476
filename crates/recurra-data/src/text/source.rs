//! One document: where its bytes come from, and how they are unpacked.

use crate::{Error, Result};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// How the text stands in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum Format {
    Plain,
    JsonLines,
    /// Comma or tab separated, by the separating byte.
    Table(u8),
}

/// How a document is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

/// Where the bytes of a document stand.
#[derive(Clone, Debug)]
enum Place {
    Memory(Arc<str>),
    File(PathBuf),
    /// Something that can be read only once, copied to a file that goes with the last user of the text.
    Spooled(Arc<TempPath>),
}

/// A file, standard input or a string in memory.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// As the user named it.
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) packing: Packing,
    place: Place,
}

impl Document {
    pub(super) fn in_memory(name: &str, text: String) -> Self {
        let place = Place::Memory(text.into());
        Self { name: name.into(), format: Format::Plain, packing: Packing::None, place }
    }

    /// A regular file; its name says format and packing.
    pub(super) fn file(path: &Path) -> Self {
        let (format, packing) = format_by_name(path);
        Self { name: path.display().to_string(), format, packing, place: Place::File(path.into()) }
    }

    /// Copies what can be read only once to a temporary file.
    pub(super) fn spool(name: &str, reader: &mut dyn Read) -> Result<Self> {
        let cannot_write = |source| Error::Spool { name: name.into(), source };
        let mut file = tempfile::NamedTempFile::new().map_err(cannot_write)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { name: name.into(), source }),
            };
            io::Write::write_all(&mut file, &buffer[..n]).map_err(cannot_write)?;
        }
        let place = Place::Spooled(Arc::new(file.into_temp_path()));
        Ok(Self { name: name.into(), format: Format::Plain, packing: Packing::None, place })
    }

    /// The bytes of the document, unpacked.
    pub(super) fn reader(&self) -> Result<Box<dyn Read + '_>> {
        let file = match &self.place {
            Place::Memory(text) => return Ok(Box::new(text.as_bytes())),
            Place::File(path) => self.at(File::open(path))?,
            Place::Spooled(path) => self.at(File::open(&**path))?,
        };
        Ok(match self.packing {
            Packing::None => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(
                BufReader::with_capacity(1 << 16, file),
            )),
            Packing::Zstd => Box::new(ZstdReader::new(BufReader::with_capacity(1 << 16, file))),
        })
    }

    /// The text itself, where it is in memory.
    pub(super) fn memory(&self) -> Option<&str> {
        match &self.place {
            Place::Memory(text) => Some(text),
            _ => None,
        }
    }

    /// The file and its length, where the bytes on disk are the text.
    pub(super) fn plain_file(&self) -> Result<Option<(File, u64)>> {
        let path: &Path = match &self.place {
            Place::File(path) => path,
            Place::Spooled(path) => path,
            Place::Memory(_) => return Ok(None),
        };
        if (self.format, self.packing) != (Format::Plain, Packing::None) {
            return Ok(None);
        }
        let file = self.at(File::open(path))?;
        let len = self.at(file.metadata())?.len();
        Ok(Some((file, len)))
    }

    /// Whether a plain file ends in a line end.
    pub(super) fn ends_in_newline(&self, file: &mut File, len: u64) -> Result<bool> {
        let mut last = [0];
        if len > 0 {
            self.at(file.seek(SeekFrom::Start(len - 1)))?;
            self.at(file.read_exact(&mut last))?;
        }
        Ok(last == *b"\n")
    }

    /// Path, length and time of change: what tells an unchanged file. `None` for what is no lasting file.
    pub(super) fn identity(&self) -> Option<(PathBuf, u64, u128)> {
        let Place::File(path) = &self.place else { return None };
        let metadata = fs::metadata(path).ok()?;
        let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some((fs::canonicalize(path).ok()?, metadata.len(), changed.as_nanos()))
    }

    /// Names this document in an error of the system.
    pub(super) fn at<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Read { name: self.name.clone(), source })
    }
}

/// Format and packing as the ending of a name says: `notes.jsonl.zst`.
fn format_by_name(path: &Path) -> (Format, Packing) {
    let ending =
        |path: &Path| path.extension().and_then(OsStr::to_str).unwrap_or("").to_ascii_lowercase();
    let (packing, inner) = match ending(path).as_str() {
        "gz" | "gzip" => (Packing::Gzip, path.with_extension("")),
        "zst" | "zstd" => (Packing::Zstd, path.with_extension("")),
        _ => (Packing::None, path.to_owned()),
    };
    let format = match ending(&inner).as_str() {
        "jsonl" | "ndjson" => Format::JsonLines,
        "csv" => Format::Table(b','),
        "tsv" => Format::Table(b'\t'),
        _ => Format::Plain,
    };
    (format, packing)
}

/// Reads the frames of a zstd file one after the other, skips those that hold no data, and compares checksums.
///
/// `ruzstd::StreamingDecoder` stops after the first frame, which loses text where files were concatenated or packed by
/// several threads.
struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Begins the next frame; `false` at the end of the file.
    fn begin_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(e) => return Err(damaged(&e)),
            }
        }
    }

    fn check_sum(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(computed)) if stored != computed => {
                Err(damaged(&"the checksum does not agree"))
            }
            _ => Ok(()),
        }
    }
}

fn damaged(e: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged zstd data: {e}"))
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.begin_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one_block = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one_block).map_err(|e| damaged(&e))?;
            }
            match self.decoder.read(buffer)? {
                0 => {
                    self.check_sum()?;
                    self.in_frame = false;
                }
                n => return Ok(n),
            }
        }
    }
}
