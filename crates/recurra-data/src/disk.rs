//! Care that files and folders want, whoever uses them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Why a file was not read whole.
#[derive(Debug)]
pub enum Unreadable {
    /// It is a folder, a pipe or a device.
    NotAFile,
    /// It has so many bytes, or more, and that is too many.
    TooLarge(u64),
    /// The system refuses it.
    System(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// When it is no regular file, is larger, or cannot be read.
pub fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    // Asked before opening, because opening a pipe would wait for somebody to write into it.
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(Unreadable::NotAFile);
    }
    if found.len() > limit {
        return Err(Unreadable::TooLarge(found.len()));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    // It may have grown meanwhile.
    let n_bytes = bytes.len() as u64;
    if n_bytes > limit { Err(Unreadable::TooLarge(n_bytes)) } else { Ok(bytes) }
}

/// Makes the names in a folder outlive a power cut, where the system can.
///
/// # Errors
/// When the folder cannot be opened, or the disk refuses.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    // Only Unix opens folders as files, and some file systems there refuse to sync them.
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"four").unwrap();
        assert_eq!(read_at_most(&path, 4).unwrap(), b"four");
        assert!(matches!(read_at_most(&path, 3), Err(Unreadable::TooLarge(4))));
        assert!(matches!(read_at_most(folder.path(), 4), Err(Unreadable::NotAFile)));
        assert!(matches!(read_at_most(&folder.path().join("b"), 4), Err(Unreadable::System(_))));
        #[cfg(unix)]
        assert!(matches!(read_at_most(Path::new("/dev/zero"), 4), Err(Unreadable::NotAFile)));
    }
}
