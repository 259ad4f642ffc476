//! Paths to documents: files as they are named, folders walked in sorted order.

use super::source::Document;
use crate::{Error, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// How much of a file is looked at to tell text from anything else.
const SNIFFED_BYTES: u64 = 8 << 10;

/// The documents of one path that is not `-`.
pub(super) fn documents_at(path: &Path, include: &[String]) -> Result<Vec<Document>> {
    let name = || path.display().to_string();
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            Error::NotFound { path: path.into(), nearest: nearest_name(path) }
        }
        _ => Error::Read { name: name(), source },
    })?;
    if metadata.is_dir() {
        return documents_below(path, include);
    }
    if metadata.is_file() {
        return Ok(vec![Document::file(path)]);
    }
    // A pipe or a device gives its bytes only once.
    let mut pipe = fs::File::open(path).map_err(|source| Error::Read { name: name(), source })?;
    Ok(vec![Document::spool(&name(), &mut pipe)?])
}

/// The text files of a folder and those below it, sorted by name within each folder.
///
/// Hidden files and folders are left out, and so are files with a NUL in their first 8 KiB. Symbolic links are followed;
/// one that leads back into a folder above it is left out.
fn documents_below(folder: &Path, include: &[String]) -> Result<Vec<Document>> {
    let included = Patterns::new(include)?;
    let (mut documents, mut skipped) = (Vec::new(), 0);
    let is_visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(is_visible) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if e.loop_ancestor().is_some() => continue,
            // A link that leads nowhere is no text.
            Err(e) if e.depth() > 0 && is_not_found(&e) => {
                skipped += 1;
                continue;
            }
            Err(e) => {
                let name = e.path().unwrap_or(folder).display().to_string();
                return Err(Error::Read { name, source: e.into() });
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        if !entry.file_type().is_file() || !included.matches(relative) {
            skipped += 1;
            continue;
        }
        let document = Document::file(entry.path());
        if is_binary(&document)? {
            skipped += 1;
        } else {
            documents.push(document);
        }
    }
    if documents.is_empty() {
        let filtered = !include.is_empty();
        return Err(Error::NoTextFiles { path: folder.into(), skipped, filtered });
    }
    Ok(documents)
}

fn is_not_found(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Whether a NUL stands among the first bytes of a document, after unpacking.
fn is_binary(document: &Document) -> Result<bool> {
    let mut head = Vec::new();
    match document.reader()?.take(SNIFFED_BYTES).read_to_end(&mut head) {
        // A damaged file is reported when it is read, with its name and the reason.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {}
        result => {
            document.at(result)?;
        }
    }
    Ok(head.contains(&0))
}

/// Patterns of names: those with a `/` are compared with the path below the folder, others with the file name.
struct Patterns {
    paths: GlobSet,
    names: GlobSet,
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self> {
        let (mut paths, mut names) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let wrong = |e: globset::Error| Error::Pattern {
                pattern: pattern.clone(),
                message: e.kind().to_string(),
            };
            let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?;
            if pattern.contains('/') {
                paths.add(glob)
            } else {
                names.add(glob)
            };
        }
        let wrong = |e: globset::Error| Error::Pattern {
            pattern: e.glob().unwrap_or_default().into(),
            message: e.kind().to_string(),
        };
        Ok(Self { paths: paths.build().map_err(wrong)?, names: names.build().map_err(wrong)? })
    }

    fn matches(&self, relative: &Path) -> bool {
        (self.paths.is_empty() && self.names.is_empty())
            || self.paths.is_match(relative)
            || relative.file_name().is_some_and(|name| self.names.is_match(name))
    }
}

/// The name in the same folder that is most like a name that is not there.
fn nearest_name(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let folder = match path.parent()? {
        parent if parent == Path::new("") => Path::new("."),
        parent => parent,
    };
    let names = fs::read_dir(folder).ok()?.take(10_000).filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        (!name.starts_with('.')).then_some(name)
    });
    let nearest = crate::spelling::nearest(wanted, names)?;
    let path: PathBuf = path.with_file_name(nearest);
    Some(path.display().to_string())
}
