//! A file mapped into memory for reading: the one place in this crate with `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file, read from disk as they are touched.
///
/// The file must not be cut short or written to while it is mapped. Recurra never does so: every file that it maps is
/// written under a temporary name, synced and renamed, and renaming over a mapped file leaves the mapping as it was.
#[derive(Debug)]
pub struct MappedFile {
    /// `None` for an empty file, which some systems refuse to map.
    map: Option<memmap2::Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::map(&File::open(path)?)
    }

    /// Maps an open file; the mapping outlives the handle.
    ///
    /// # Errors
    /// The file cannot be mapped (it is a pipe, or memory is short).
    #[allow(unsafe_code)]
    pub fn map(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the mapping is private to this process and read only, so nothing here writes through it. That no other
        // process shortens or rewrites the file rests on how Recurra replaces files: a new file is renamed over the old
        // one, which keeps its own contents for as long as it is mapped.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self { map: Some(map) })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn holds_the_bytes_of_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(MappedFile::open(file.path()).unwrap().is_empty());
        file.write_all(b"so much depends").unwrap();
        file.flush().unwrap();
        assert_eq!(&*MappedFile::open(file.path()).unwrap(), b"so much depends");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            MappedFile::open(&folder.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
