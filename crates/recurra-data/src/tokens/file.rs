//! The ids of a whole text in a memory-mapped file, kept under the hashes of text and tokenizer.
//!
//! ```text
//! header    192 bytes: counts and hashes, checked by a CRC of its own
//! tokens    1, 2 or 4 bytes each, little-endian
//! trailer   one CRC-32C for every MiB of tokens
//! ```

use crate::disk::sync_folder;
use crate::mapped_file::MappedFile;
use crate::text::hex;
use crate::{Error, Result, Text, TextStats, Tokenizer};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

const MAGIC: [u8; 8] = *b"RECURTOK";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 192;
const CRC_AT: usize = HEADER_BYTES - 4;

/// Tokens are checked in blocks of this size.
const BLOCK_BYTES: usize = 1 << 20;

/// Files up to so many blocks are checked whole when opened (a tenth of a second); of longer ones as many blocks, evenly.
const BLOCKS_CHECKED: usize = 512;

/// What files that are still being written begin with.
const TEMPORARY_PREFIX: &str = ".building-";

/// The folder for token files: `RECURRA_CACHE`, else `XDG_CACHE_HOME/recurra`, else `~/.cache/recurra`, else a temporary one.
pub fn cache_dir() -> PathBuf {
    cache_dir_of(|name| env::var_os(name), env::home_dir())
}

fn cache_dir_of(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("RECURRA_CACHE")
        .or_else(|| {
            Some(folder("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("recurra"))
        })
        .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".cache").join("recurra")))
        .unwrap_or_else(|| env::temp_dir().join("recurra"))
}

/// The ids of a whole text, memory-mapped; cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    map: MappedFile,
    header: Header,
    text_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// Bytes a token.
    width: u32,
    tokens: u64,
    bytes: u64,
    chars: u64,
    words: u64,
    vocab_size: u64,
    text_sha256: [u8; 32],
    tokenizer_hash: [u8; 16],
}

#[allow(clippy::len_without_is_empty)] // a text without a character is an error long before
impl TokenFile {
    /// Opens the token file of this text and tokenizer in the folder `cache`, or builds it.
    ///
    /// Its name is `<hash of the text>-<hash of the tokenizer>.tokens`. It is written under a temporary name, synced and
    /// renamed, so that several processes can build it at once; a damaged one is built again. Memory does not depend on the
    /// length of the text.
    ///
    /// # Errors
    /// The text cannot be read or tokenized, or the folder cannot be written.
    pub fn open_or_build(cache: &Path, text: &Text, tokenizer: &Tokenizer) -> Result<Self> {
        let path_of = |stats: &TextStats| {
            cache.join(format!("{}-{}.tokens", hex(&stats.sha256), tokenizer.hash()))
        };
        if let Some(stats) = text.known_stats(cache) {
            let file = Self::open(&path_of(&stats)).ok().flatten();
            if let Some(file) = file.filter(|file| file.is_of(&stats, tokenizer)) {
                return Ok(file);
            }
        }
        let cannot_write = |source| Error::Write { path: cache.into(), source };
        fs::create_dir_all(cache).map_err(cannot_write)?;
        remove_abandoned(cache);
        let mut builder = Builder::new(cache, tokenizer.vocab_size()).map_err(cannot_write)?;
        let stats = tokenizer
            .encode_and_measure(text, &mut |ids| builder.push(ids).map_err(cannot_write))?;
        let file = builder.finish(&stats, tokenizer, &path_of(&stats)).map_err(cannot_write)?;
        text.remember_stats(cache);
        Ok(file)
    }

    /// Maps a token file; `None` if it is damaged.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        // Checked through the handle and not the mapping, whose pages would count as this process's memory.
        let mut file = File::open(path)?;
        let Some(header) = Header::read_checked(&mut file)? else { return Ok(None) };
        Ok(Some(Self::map(&file, header)?))
    }

    fn map(file: &File, header: Header) -> io::Result<Self> {
        let text_sha256 = hex(&header.text_sha256);
        Ok(Self { inner: Arc::new(Inner { map: MappedFile::map(file)?, header, text_sha256 }) })
    }

    fn is_of(&self, stats: &TextStats, tokenizer: &Tokenizer) -> bool {
        let header = &self.inner.header;
        let tokens = header.tokens;
        *header == Header::new(tokens, stats, tokenizer)
    }

    /// Tokens.
    pub fn len(&self) -> usize {
        self.inner.header.tokens as usize // not above the length of a mapped file
    }

    /// Bytes of UTF-8 text under the tokens.
    pub fn n_bytes(&self) -> u64 {
        self.inner.header.bytes
    }

    /// Characters of text under the tokens.
    pub fn n_chars(&self) -> u64 {
        self.inner.header.chars
    }

    /// Words of the text, each line end counted as one more, as perplexities on Penn Treebank and WikiText-2 count them.
    pub fn n_words(&self) -> u64 {
        self.inner.header.words
    }

    /// SHA-256 of the text, in hexadecimal digits.
    pub fn text_sha256(&self) -> &str {
        &self.inner.text_sha256
    }

    /// The [`Tokenizer::hash`] of the tokenizer that made the tokens.
    pub fn tokenizer_hash(&self) -> &str {
        std::str::from_utf8(&self.inner.header.tokenizer_hash).unwrap_or_default()
    }

    /// Fills `out` with the ids from `start` on.
    ///
    /// # Panics
    /// They reach beyond the end.
    #[track_caller]
    pub fn read(&self, start: usize, out: &mut [u32]) {
        self.read_strided(start, out.len(), out, 1);
    }

    /// Writes `count` ids from `start` on to `out[0]`, `out[stride]`, …
    #[track_caller]
    pub(crate) fn read_strided(&self, start: usize, count: usize, out: &mut [u32], stride: usize) {
        let end = start.checked_add(count).filter(|&end| end <= self.len());
        assert!(end.is_some(), "tokens {start}..{start}+{count} of {}", self.len());
        let width = self.inner.header.width as usize;
        let bytes = &self.inner.map[HEADER_BYTES + start * width..][..count * width];
        let out = out.iter_mut().step_by(stride);
        match width {
            1 => out.zip(bytes).for_each(|(id, &byte)| *id = u32::from(byte)),
            2 => out
                .zip(bytes.as_chunks().0)
                .for_each(|(id, &b)| *id = u32::from(u16::from_le_bytes(b))),
            _ => out.zip(bytes.as_chunks().0).for_each(|(id, &b)| *id = u32::from_le_bytes(b)),
        }
    }
}

/// Bytes that hold every id of a vocabulary.
fn width_for(vocab_size: usize) -> u32 {
    match vocab_size {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

impl Header {
    fn new(tokens: u64, stats: &TextStats, tokenizer: &Tokenizer) -> Self {
        let mut tokenizer_hash = [0; 16];
        tokenizer_hash.copy_from_slice(&tokenizer.hash().as_bytes()[..16]);
        Self {
            width: width_for(tokenizer.vocab_size()),
            tokens,
            bytes: stats.bytes,
            chars: stats.chars,
            words: stats.words_and_line_ends(),
            vocab_size: tokenizer.vocab_size() as u64,
            text_sha256: stats.sha256,
            tokenizer_hash,
        }
    }

    fn to_bytes(&self, trailer_crc: u32) -> [u8; HEADER_BYTES] {
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend(MAGIC);
        fields.extend(VERSION.to_le_bytes());
        fields.extend(self.width.to_le_bytes());
        for count in [self.tokens, self.bytes, self.chars, self.words, self.vocab_size] {
            fields.extend(count.to_le_bytes());
        }
        fields.extend(self.text_sha256);
        fields.extend(self.tokenizer_hash);
        fields.extend(trailer_crc.to_le_bytes());
        let mut bytes = [0; HEADER_BYTES];
        bytes[..fields.len()].copy_from_slice(&fields);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The counts in a header, and the checksum of the trailer.
    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<(Self, u32)> {
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let header = Self {
            width: u32_at(12)?,
            tokens: u64_at(16)?,
            bytes: u64_at(24)?,
            chars: u64_at(32)?,
            words: u64_at(40)?,
            vocab_size: u64_at(48)?,
            text_sha256: bytes[56..88].try_into().ok()?,
            tokenizer_hash: bytes[88..104].try_into().ok()?,
        };
        let trailer_crc = u32_at(104)?;
        // Magic, version, padding and checksum are right if the same header would be written again.
        (header.to_bytes(trailer_crc) == *bytes).then_some((header, trailer_crc))
    }

    /// The header of a file that agrees with it in length and checksums; `None` if the file is damaged.
    fn read_checked(file: &mut File) -> io::Result<Option<Self>> {
        let len = file.metadata()?.len();
        let mut bytes = [0; HEADER_BYTES];
        if len < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact(&mut bytes)?;
        let Some((header, trailer_crc)) = Self::from_bytes(&bytes) else { return Ok(None) };
        let n_bytes = match (header.width, header.tokens.checked_mul(u64::from(header.width))) {
            (1 | 2 | 4, Some(n_bytes)) if n_bytes < len => n_bytes,
            _ => return Ok(None),
        };
        let n_blocks = n_bytes.div_ceil(BLOCK_BYTES as u64);
        if len != HEADER_BYTES as u64 + n_bytes + n_blocks * 4 {
            return Ok(None);
        }
        // Not above 4 bytes for every MiB that the file really has.
        let mut trailer = vec![0; n_blocks as usize * 4];
        file.seek(SeekFrom::Start(len - trailer.len() as u64))?;
        file.read_exact(&mut trailer)?;
        if crc32c::crc32c(&trailer) != trailer_crc {
            return Ok(None);
        }
        let crcs: Vec<u32> =
            trailer.as_chunks().0.iter().map(|&crc| u32::from_le_bytes(crc)).collect();
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let n_checked = crcs.len().min(BLOCKS_CHECKED);
        for i in 0..n_checked {
            let idx = if n_checked < 2 { 0 } else { i * (crcs.len() - 1) / (n_checked - 1) };
            let start = (idx * BLOCK_BYTES) as u64;
            file.seek(SeekFrom::Start(HEADER_BYTES as u64 + start))?;
            block.clear();
            file.take((n_bytes - start).min(BLOCK_BYTES as u64)).read_to_end(&mut block)?;
            if crc32c::crc32c(&block) != crcs[idx] {
                return Ok(None);
            }
        }
        Ok(Some(header))
    }
}

/// A token file that is being written.
struct Builder {
    writer: BufWriter<NamedTempFile>,
    width: u32,
    tokens: u64,
    packed: Vec<u8>,
    /// Bytes and checksum of the block that is not full yet.
    block_len: usize,
    block_crc: u32,
    trailer: Vec<u8>,
}

impl Builder {
    fn new(folder: &Path, vocab_size: usize) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        writer.write_all(&[0; HEADER_BYTES])?;
        let width = width_for(vocab_size);
        Ok(Self {
            writer,
            width,
            tokens: 0,
            packed: Vec::new(),
            block_len: 0,
            block_crc: 0,
            trailer: Vec::new(),
        })
    }

    fn push(&mut self, ids: &[u32]) -> io::Result<()> {
        self.packed.clear();
        match self.width {
            1 => self.packed.extend(ids.iter().map(|&id| id as u8)),
            2 => self.packed.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes())),
            _ => self.packed.extend(ids.iter().flat_map(|&id| id.to_le_bytes())),
        }
        self.tokens += ids.len() as u64;
        let mut rest = &self.packed[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(BLOCK_BYTES - self.block_len));
            self.block_crc = crc32c::crc32c_append(self.block_crc, head);
            self.block_len += head.len();
            if self.block_len == BLOCK_BYTES {
                self.trailer.extend(self.block_crc.to_le_bytes());
                (self.block_len, self.block_crc) = (0, 0);
            }
            rest = tail;
        }
        self.writer.write_all(&self.packed)
    }

    /// Gives the file its name and maps it.
    fn finish(
        mut self,
        stats: &TextStats,
        tokenizer: &Tokenizer,
        path: &Path,
    ) -> io::Result<TokenFile> {
        if self.block_len > 0 {
            self.trailer.extend(self.block_crc.to_le_bytes());
        }
        self.writer.write_all(&self.trailer)?;
        let header = Header::new(self.tokens, stats, tokenizer);
        let mut file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file_mut().seek(SeekFrom::Start(0))?;
        file.write_all(&header.to_bytes(crc32c::crc32c(&self.trailer)))?;
        TokenFile::map(&publish(file, path)?, header)
    }
}

/// Gives a finished file its name: synced before and after.
fn publish(file: NamedTempFile, path: &Path) -> io::Result<File> {
    file.as_file().sync_all()?;
    let file = file.persist(path).map_err(|e| e.error)?;
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(file)
}

/// Writes a small file under a temporary name, syncs it and renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
    file.write_all(bytes)?;
    publish(file, path).map(|_| ())
}

/// Removes what processes that were killed left half written, once it is a day old.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let age =
            entry.metadata().and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes());
        if is_ours && age.is_some_and(|age| age > Duration::from_secs(24 * 60 * 60)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
