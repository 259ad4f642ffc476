//! Text from files, folders and standard input, as one re-readable stream of UTF-8.
//!
//! | name ends in | text |
//! |---|---|
//! | `.jsonl`, `.ndjson` | one field of each line |
//! | `.csv`, `.tsv` | one column of each row after the first, which names the columns |
//! | anything else | the whole file |
//!
//! Each also with `.gz` or `.zst`. Files, records and rows are joined by one `\n` where the one before does not end in it.

mod outlet;
mod plain;
mod records;
mod source;
mod stats;
mod walk;

pub(crate) use outlet::{Flow, Visitor, boundary_at_or_before};
use stats::Counter;
pub(crate) use stats::space_len;
pub use stats::{TextStats, hex};

use crate::{Error, Result};
use outlet::Outlet;
use sha2::{Digest, Sha256};
use source::{Document, Format};
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// How to read the sources of a [`Text`].
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TextOptions {
    /// Patterns of the files to take from folders (`*.md`, `docs/**/*.txt`); empty takes every text file.
    pub include: Vec<String>,
    /// The field of JSON lines that holds the text; `text` if not given.
    pub field: Option<String>,
    /// The column of CSV and TSV files that holds the text; `text` if not given.
    pub column: Option<String>,
    /// Go on where bytes are not UTF-8: each wrong sequence becomes U+FFFD.
    pub lossy: bool,
}

/// A re-readable stream of UTF-8 text; cheap to clone.
#[derive(Clone, Debug)]
pub struct Text {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    name: String,
    /// As `name`, without the folders in which the files stand.
    title: String,
    documents: Arc<[Document]>,
    options: TextOptions,
    /// The bytes of the joined documents that belong to this text.
    range: Range<u64>,
    known: OnceLock<Known>,
    /// Once set, reading ends with an error.
    stop: Option<Arc<AtomicBool>>,
}

/// Counts and hash of a text, and which text they are of.
#[derive(Clone, Debug)]
struct Known {
    stats: TextStats,
    /// The name of the text on disk when reading it began.
    fingerprint: Option<String>,
    /// The file that they were remembered in.
    remembered: Option<PathBuf>,
}

fn stats_path(cache: &Path, fingerprint: &str) -> PathBuf {
    cache.join(format!("{fingerprint}.stats.json"))
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses standard input in two places: whoever reads it first leaves nothing for the other.
///
/// # Errors
/// [`Error::StdinTwice`] where more than one of the paths is `-`.
pub fn expect_one_stdin<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    match paths.into_iter().filter(|path| is_stdin(path)).count() {
        0 | 1 => Ok(()),
        count => Err(Error::StdinTwice { count }),
    }
}

const WHOLE: Range<u64> = 0..u64::MAX;

impl Text {
    /// Opens files, folders (walked in sorted order) and `-` (standard input, spooled to a temporary file).
    ///
    /// In folders, hidden files and those with a NUL in their first 8 KiB are left out. What can be read only once, such as
    /// a pipe, is spooled too, and taken as plain text.
    ///
    /// # Errors
    /// A path is missing or cannot be read, a folder has no text file, or there is no character in all of it. Errors further
    /// inside the files come up when they are read.
    pub fn open(paths: &[PathBuf], options: &TextOptions) -> Result<Self> {
        Self::open_with(paths, options, &mut io::stdin())
    }

    fn open_with(paths: &[PathBuf], options: &TextOptions, stdin: &mut dyn Read) -> Result<Self> {
        expect_one_stdin(paths)?;
        let mut documents = Vec::new();
        for path in paths {
            if is_stdin(path) {
                documents.push(Document::spool("standard input", stdin)?);
            } else {
                documents.append(&mut walk::documents_at(path, &options.include)?);
            }
        }
        let name = name_of(paths, documents.len());
        let title =
            name_of(&paths.iter().map(|path| last_name(path)).collect::<Vec<_>>(), documents.len());
        let text = Self::new(name, title, documents.into(), options.clone(), WHOLE);
        if text.is_empty()? {
            return Err(Error::Empty { name: plain_name(paths) });
        }
        Ok(text)
    }

    /// A text in memory.
    pub fn from_string(name: &str, text: String) -> Self {
        let documents = Arc::new([Document::in_memory(name, text)]);
        let name = format!("`{name}`");
        Self::new(name.clone(), name, documents, TextOptions::default(), WHOLE)
    }

    fn new(
        name: String,
        title: String,
        documents: Arc<[Document]>,
        options: TextOptions,
        range: Range<u64>,
    ) -> Self {
        let (known, stop) = (OnceLock::new(), None);
        Self { inner: Arc::new(Inner { name, title, documents, options, range, known, stop }) }
    }

    /// The same text; once `stop` is set, reading it ends with [`Error::Stopped`].
    #[must_use]
    pub fn stopped_by(&self, stop: &Arc<AtomicBool>) -> Self {
        Self { inner: Arc::new(Inner { stop: Some(stop.clone()), ..(*self.inner).clone() }) }
    }

    /// For people: "`input.txt`" or "`docs` (12 files)".
    pub fn describe(&self) -> String {
        self.inner.name.clone()
    }

    /// As [`Text::describe`] without the folders above the files: what may be told to strangers, as in a model card.
    pub fn title(&self) -> String {
        self.inner.title.clone()
    }

    /// The name without quotes, for errors.
    pub(crate) fn name(&self) -> String {
        self.inner.name.replace('`', "")
    }

    /// Whether there is no character at all; reads no further than the first.
    ///
    /// # Errors
    /// As [`Text::for_each_chunk`].
    pub fn is_empty(&self) -> Result<bool> {
        let mut is_empty = true;
        self.visit(&mut |_| {
            is_empty = false;
            Ok(Flow::Break(()))
        })?;
        Ok(is_empty)
    }

    /// Counts and hash of the text, in one pass; remembered.
    ///
    /// # Errors
    /// As [`Text::for_each_chunk`]; or the text is empty.
    pub fn measure(&self) -> Result<TextStats> {
        match self.inner.known.get() {
            Some(known) => Ok(known.stats.clone()),
            None => self.scan(&mut |_| Ok(Flow::Continue(()))),
        }
    }

    /// As [`Text::measure`], remembered from run to run in the folder `cache` for files that did not change.
    ///
    /// A file counts as unchanged when path, length and time of change are as before. A cache that cannot be written or is
    /// damaged only costs the time to read the text again.
    ///
    /// # Errors
    /// As [`Text::measure`].
    pub fn measure_cached(&self, cache: &Path) -> Result<TextStats> {
        if let Some(stats) = self.known_stats(cache) {
            return Ok(stats);
        }
        let stats = self.measure()?;
        self.remember_stats(cache);
        Ok(stats)
    }

    /// Counts and hash where they are known without reading the text.
    pub(crate) fn known_stats(&self, cache: &Path) -> Option<TextStats> {
        if let Some(known) = self.inner.known.get() {
            return Some(known.stats.clone());
        }
        let fingerprint = self.fingerprint()?;
        let path = stats_path(cache, &fingerprint);
        let stats = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let known = Known { stats, fingerprint: Some(fingerprint), remembered: Some(path) };
        Some(self.inner.known.get_or_init(|| known).stats.clone())
    }

    /// Keeps counts and hash, once known, for later runs, unless the text has become another one since.
    pub(crate) fn remember_stats(&self, cache: &Path) {
        let Some(Known { stats, fingerprint: Some(fingerprint), .. }) = self.inner.known.get()
        else {
            return;
        };
        let path = stats_path(cache, fingerprint);
        let is_same = self.fingerprint().as_ref() == Some(fingerprint);
        if is_same && self.is_settled() && !path.exists() {
            // What cannot be remembered is measured again: no reason to fail.
            let json = serde_json::to_vec(stats).unwrap_or_default();
            let _ = crate::tokens::write_whole(&path, &json);
        }
    }

    /// A name for the text as it stands on disk; `None` where it does not come from files alone.
    fn fingerprint(&self) -> Option<String> {
        let inner = &*self.inner;
        let documents: Vec<_> = inner
            .documents
            .iter()
            .map(|d| Some((d.identity()?, d.format, d.packing)))
            .collect::<Option<_>>()?;
        let all = (env!("CARGO_PKG_VERSION"), documents, &inner.options, &inner.range);
        let json = serde_json::to_vec(&all).ok()?;
        Some(hex(&Sha256::digest(&json)[..16]))
    }

    /// Whether the last change lies far enough back that one more would show in the time of change.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let margin = Duration::from_secs(2).as_nanos();
        self.inner
            .documents
            .iter()
            .all(|d| d.identity().is_some_and(|(_, _, changed)| changed + margin < now.as_nanos()))
    }

    /// Cuts at the first character boundary at or after ⌊(1 − fraction) · bytes⌋.
    ///
    /// # Errors
    /// As [`Text::measure`]; or `fraction` does not lie between 0 and 1, or leaves one part empty.
    pub fn split_last(&self, fraction: f64) -> Result<(Text, Text)> {
        let wrong = |reason| Error::Split { name: self.name(), fraction, reason };
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(wrong("expected a number between 0 and 1"));
        }
        let bytes = self.measure()?.bytes;
        // (1 − 0.9) · 10 is 0.999… in floating point and means 1.
        let cut = ((1.0 - fraction) * bytes as f64 + 1e-6).floor() as u64;
        let start = self.inner.range.start;
        let part = |what: &str, share: f64, range| {
            let percent = (share * 1000.0).round() / 10.0;
            let of = |name: &str| format!("the {what} {percent} % of {name}");
            let inner = &*self.inner;
            Self {
                inner: Arc::new(Inner {
                    name: of(&inner.name),
                    title: of(&inner.title),
                    range,
                    known: OnceLock::new(),
                    ..inner.clone()
                }),
            }
        };
        let first = part("first", 1.0 - fraction, start..start + cut);
        let last = part("last", fraction, start + cut..self.inner.range.end);
        // Only within the last character of the text can the cut move to its end.
        if cut == 0 || (bytes - cut < 4 && last.is_empty()?) {
            return Err(wrong("one part would be empty"));
        }
        Ok((first, last))
    }

    /// Calls `f` with the text in chunks of at most 64 KiB, cut only between characters.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or is not UTF-8 (with its byte offset and line); a record has no such field. What
    /// `f` returns ends the reading.
    pub fn for_each_chunk(&self, f: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.visit(&mut |chunk| f(chunk).map(Flow::Continue))
    }

    /// As [`Text::visit`]; counts on the way, and finds out whether the text is still the same.
    ///
    /// When the visitor had enough, the counts mean nothing.
    pub(crate) fn scan(&self, visitor: Visitor) -> Result<TextStats> {
        let mut is_whole = true;
        let mut visit = |take: &mut dyn FnMut(&str)| {
            self.visit(&mut |chunk| {
                take(chunk);
                let flow = visitor(chunk)?;
                is_whole &= flow.is_continue();
                Ok(flow)
            })
        };
        if let Some(Known { stats, remembered, .. }) = self.inner.known.get() {
            let mut sha256 = Sha256::new();
            visit(&mut |chunk| sha256.update(chunk))?;
            if !is_whole || <[u8; 32]>::from(sha256.finalize()) == stats.sha256 {
                return Ok(stats.clone());
            }
            // The next run had better not remember it.
            let _ = remembered.as_ref().map(fs::remove_file);
            return Err(Error::Changed { name: self.name() });
        }
        let (mut counter, fingerprint) = (Counter::new(), self.fingerprint());
        visit(&mut |chunk| counter.push(chunk))?;
        let stats = counter.finish();
        if stats.bytes == 0 {
            return Err(Error::Empty { name: self.name() });
        }
        if !is_whole {
            return Ok(stats);
        }
        let known = Known { stats, fingerprint, remembered: None };
        Ok(self.inner.known.get_or_init(|| known).stats.clone())
    }

    /// As [`Text::for_each_chunk`], for a reader that may have enough.
    pub(crate) fn visit(&self, visitor: Visitor) -> Result<()> {
        let mut stoppable = |chunk: &str| match &self.inner.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::Stopped { name: self.name() }),
            _ => visitor(chunk),
        };
        let mut outlet = Outlet::new(self.inner.range.clone(), &mut stoppable);
        for document in self.inner.documents.iter() {
            outlet.begin_document();
            let flow = match document.format {
                Format::Plain => plain::read(document, self.inner.options.lossy, &mut outlet),
                Format::JsonLines => {
                    records::read_json_lines(document, &self.inner.options, &mut outlet)
                }
                Format::Table(separator) => {
                    records::read_table(document, separator, &self.inner.options, &mut outlet)
                }
            };
            if flow.map_err(|e| plain::explain(e, document))?.is_break() {
                break;
            }
        }
        outlet.flush().map(|_| ())
    }
}

/// The paths as one name for people.
fn name_of(paths: &[PathBuf], n_files: usize) -> String {
    let quoted = match paths {
        [path] => quote(path),
        [path, rest @ ..] => format!("{} and {} more", quote(path), rest.len()),
        [] => "nothing".into(),
    };
    if n_files > paths.len() { format!("{quoted} ({n_files} files)") } else { quoted }
}

/// The last part of a path; a folder such as `.` has the name by which it is reached.
fn last_name(path: &Path) -> PathBuf {
    let name = |path: &Path| path.file_name().map(PathBuf::from);
    name(path)
        .or_else(|| name(&path.canonicalize().ok()?))
        .unwrap_or_else(|| PathBuf::from("a folder"))
}

fn quote(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { format!("`{}`", path.display()) }
}

fn plain_name(paths: &[PathBuf]) -> String {
    name_of(paths, 0).replace('`', "")
}

#[cfg(test)]
mod tests;
