//! Replaces a file so that, whenever the machine stops, a whole one is there.
//!
//! The new bytes go to a temporary name in the same folder and are synced; then the file that is there may be kept
//! under a second name; then the new one takes its place, and the folder is synced. Each step leaves a folder in which
//! the old file (under one of its two names) or the new one is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::disk::{Disk, DiskFile};

/// Replaces the file `path` by what `write` writes, and keeps the one that was there as `previous`, if that is given. For files
/// that one process writes at a time: the next saving takes away what a killed one left.
///
/// # Errors
/// When anything fails; then the file that was there is whole, as `path` or as `previous`.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    previous: Option<&Path>,
    write: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
) -> Result<(), Error> {
    replace_through(disk, path, &temporary_name(path), previous, write)
}

/// Replaces the file `path` as [`replace`] does, through a temporary name that no other writer has: the last one's stays.
///
/// # Errors
/// When anything fails; then the file that was there is whole.
pub(crate) fn replace_shared(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
) -> Result<(), Error> {
    replace_through(disk, path, &temporary_name_of_ours(path), None, write)
}

fn replace_through(
    disk: &dyn Disk,
    path: &Path,
    temporary: &Path,
    previous: Option<&Path>,
    write: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
) -> Result<(), Error> {
    let folder = folder_of(path);
    let mut file = disk.create(temporary).map_err(Error::io("create", path))?;
    let written = write(&mut *file).and_then(|()| file.sync());
    drop(file);
    if let Err(error) = written {
        // The bytes so far are of no use, and a full disk is better off without them. If this fails too, the next
        // saving removes them.
        let _ = disk.remove(temporary);
        return Err(Error::io("write", path)(error));
    }
    if let Some(previous) = previous {
        match disk.rename(path, previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let _ = disk.remove(temporary);
                return Err(Error::io("rename", path)(error));
            }
            _ => {}
        }
    }
    disk.rename(temporary, path).map_err(Error::io("rename", temporary))?;
    disk.sync_folder(folder).map_err(Error::io("sync", folder))
}

/// Finds out whether `path` could be replaced by [`replace_shared`], and changes nothing.
///
/// # Errors
/// When no file can be made beside it.
pub(crate) fn expect_place(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let temporary = temporary_name_of_ours(path);
    drop(disk.create(&temporary).map_err(Error::io("create", path))?);
    disk.remove(&temporary).map_err(Error::io("create", path))
}

/// Replaces a small file by these bytes, unless it holds them already.
pub(crate) fn replace_by_text(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), Error> {
    let same_length =
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == text.len() as u64);
    if same_length && fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    replace(disk, path, None, |file| file.write(text.as_bytes()))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// `.last.safetensors.tmp` for `last.safetensors`, in the same folder, so that renaming never crosses file systems.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// A temporary name that neither another process nor another call has.
fn temporary_name_of_ours(path: &Path) -> PathBuf {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{call}.tmp", std::process::id()))
}
