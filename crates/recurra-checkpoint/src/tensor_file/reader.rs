//! Reads tensors straight to where they belong, hashing as it goes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::header::{Header, TensorInfo};
use super::{
    BEFORE_DIGEST, DIGEST_DIGITS, DIGEST_KEY, FORMAT, FORMAT_KEY, KIND_KEY, LENGTH_BYTES,
    MAX_HEADER_BYTES,
};
use crate::Error;
use crate::float_bytes::from_bytes;

/// How many floats are read at once.
const CHUNK: usize = 64 * 1024;

/// A safetensors file that is being read: first the header, then the tensors in the order of their bytes.
///
/// Nothing that was read counts before [`TensorReader::finish`] has said so.
#[derive(Debug)]
#[must_use = "what was read counts once it has finished"]
pub(crate) struct TensorReader {
    path: PathBuf,
    file: File,
    header: Header,
    /// The digest that the file names; `None` for a file made by others.
    digest: Option<String>,
    hashed: Digest,
    n_read: usize,
}

impl TensorReader {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// When the file cannot be read, was cut off or altered, is no safetensors file, or was written by a later
    /// version of this program.
    pub(crate) fn open(path: &Path) -> Result<TensorReader, Error> {
        // Asked before opening, because opening a pipe would wait for somebody to write into it.
        let found = fs::metadata(path).map_err(Error::io("read", path))?;
        if !found.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        let n_bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let cut_off = |expected| Error::CutOff { path: path.into(), expected, found: n_bytes };

        let mut length = [0; LENGTH_BYTES as usize];
        if n_bytes < LENGTH_BYTES {
            return Err(cut_off(LENGTH_BYTES));
        }
        file.read_exact(&mut length).map_err(Error::io("read", path))?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES {
            let reason =
                format!("its header has {header_bytes} bytes, more than {MAX_HEADER_BYTES}");
            return Err(Error::NotSafetensors { path: path.into(), reason });
        }
        if n_bytes < LENGTH_BYTES + header_bytes {
            return Err(cut_off(LENGTH_BYTES + header_bytes));
        }
        let mut text = vec![0; header_bytes as usize];
        file.read_exact(&mut text).map_err(Error::io("read", path))?;

        let digest = take_digest(&mut text);
        let damaged = |reason: String| match digest {
            Some(_) => Error::Altered { path: path.into(), reason },
            None => Error::NotSafetensors { path: path.into(), reason },
        };
        let header = Header::parse(&text).map_err(damaged)?;
        if digest.is_none() && header.metadata.keys().any(|key| key.starts_with("recurra.")) {
            let reason = format!("its `{DIGEST_KEY}` is not where it belongs");
            return Err(Error::Altered { path: path.into(), reason });
        }
        let expected = (LENGTH_BYTES + header_bytes).checked_add(header.data_bytes());
        match expected {
            Some(expected) if expected == n_bytes => {}
            Some(expected) if expected < n_bytes => {
                return Err(damaged(format!("expected {expected} bytes, found {n_bytes}")));
            }
            Some(expected) => return Err(cut_off(expected)),
            None => return Err(damaged("its tensors have more bytes than there can be".into())),
        }
        let mut hashed = Digest::new(n_bytes);
        hashed.update(length.to_vec());
        hashed.update(text.clone());
        let reader = TensorReader { path: path.into(), file, header, digest, hashed, n_read: 0 };
        match reader.header.metadata.get(FORMAT_KEY) {
            Some(found) if *found != FORMAT.to_string() => {
                let unknown = Error::UnknownFormat {
                    path: path.into(),
                    found: found.clone(),
                    supported: FORMAT,
                };
                Err(reader.blame(unknown))
            }
            _ => Ok(reader),
        }
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A value of the metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata.get(key).map(String::as_str)
    }

    /// The tensors, in the order of their bytes, which is the order of reading.
    pub(crate) fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// How many 32-bit floats there can be.
    pub(crate) fn n_values(&self) -> u64 {
        self.header.data_bytes() / size_of::<f32>() as u64
    }

    /// Whether this program wrote the file.
    pub(crate) fn is_ours(&self) -> bool {
        self.digest.is_some()
    }

    /// Checks that the file is of this kind; a file made by others passes for any.
    pub(crate) fn expect_kind(self, expected: &'static str) -> Result<TensorReader, Error> {
        match self.metadata(KIND_KEY) {
            Some(found) if found != expected => {
                let wrong =
                    Error::WrongKind { path: self.path.clone(), found: found.into(), expected };
                Err(self.blame(wrong))
            }
            _ => Ok(self),
        }
    }

    /// Reads the next tensor.
    ///
    /// # Panics
    /// When there is none, or it has another number of values: the caller checks names, types and shapes before.
    #[track_caller]
    pub(crate) fn read_next(&mut self, values: &mut [f32]) -> Result<(), Error> {
        let tensor = &self.header.tensors[self.n_read];
        assert_eq!(tensor.dtype, "F32", "`{}`", tensor.name);
        assert_eq!(tensor.end - tensor.start, size_of_val(values) as u64, "`{}`", tensor.name);
        self.n_read += 1;
        for values in values.chunks_mut(CHUNK) {
            let mut bytes = self.hashed.piece();
            bytes.resize(size_of_val(values), 0);
            self.file.read_exact(&mut bytes).map_err(Error::io("read", &self.path))?;
            from_bytes(values, &bytes);
            self.hashed.update(bytes);
        }
        Ok(())
    }

    /// Checks, after the last tensor, that no byte was altered.
    ///
    /// # Errors
    /// When one was.
    pub(crate) fn finish(self) -> Result<(), Error> {
        debug_assert_eq!(self.n_read, self.header.tensors.len());
        let found = self.hashed.finish();
        match self.digest {
            Some(expected) if expected != found => Err(Error::Altered {
                path: self.path,
                reason: format!("expected sha256 {expected}, found {found}"),
            }),
            _ => Ok(()),
        }
    }

    /// Checks that no byte was altered, without a look at the tensors that have not been read; a file made by others has nothing to
    /// check it with.
    ///
    /// # Errors
    /// When one was, or the file cannot be read.
    pub(crate) fn skip_to_the_end(mut self) -> Result<(), Error> {
        if !self.is_ours() {
            return Ok(());
        }
        loop {
            let mut bytes = self.hashed.piece();
            bytes.resize(CHUNK, 0);
            match self.file.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => {
                    bytes.truncate(n);
                    self.hashed.update(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        self.n_read = self.header.tensors.len();
        self.finish()
    }

    /// The error to report where the header does not fit: that the file was altered, if it was, or else `error`.
    pub(crate) fn blame(self, error: Error) -> Error {
        self.skip_to_the_end().err().unwrap_or(error)
    }
}

/// The digest at its place in a header of ours, which is replaced by the zeros that were hashed.
fn take_digest(text: &mut [u8]) -> Option<String> {
    let rest = text.strip_prefix(BEFORE_DIGEST.as_bytes())?;
    let digits = rest.get(..DIGEST_DIGITS)?;
    let digest = String::from_utf8_lossy(digits).into_owned();
    text[BEFORE_DIGEST.len()..][..DIGEST_DIGITS].fill(b'0');
    Some(digest)
}
