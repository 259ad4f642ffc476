//! The lock that keeps two runs out of one folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::Error;

/// The lock of a folder; given back when dropped, and by the operating system when the process ends in any way.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock file `path` of the model folder `folder`, and leaves the id of this process in it.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody has it.
    pub(crate) fn take(path: &Path, folder: &Path) -> Result<RunLock, Error> {
        // A link in its place could lead the process id into a file that is nobody's lock.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::NotAFile { path: path.into() });
        }
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(Error::io("create", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: folder.into(), process: holder(&mut file) });
            }
            // Some network file systems have no locks; to refuse to train there would help nobody.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // The process id is a courtesy; on a full disk the lock holds without it.
        let _ = write(&mut file);
        Ok(RunLock { _file: file })
    }
}

/// The id of the process that holds the lock, where it can be read.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
