//! The safetensors format, with a digest over every byte.
//!
//! ```text
//! 8 bytes             N, the length of the header, little-endian
//! N bytes             JSON: {"__metadata__": {"recurra.digest": "…", …}, "name": {"dtype", "shape", "data_offsets"}, …}
//! the rest            the tensors, one after the other without a gap
//! ```
//! `recurra.digest` is the sha256 of the whole file with its own 64 digits replaced by zeros; it stands first in the
//! header, so that its place is known before anything is parsed. Any altered byte and any missing one is found on
//! reading. Files made by others have no digest; they are read too, and their headers are trusted in nothing.

mod digest;
mod header;
mod reader;
mod writer;

pub(crate) use reader::TensorReader;
pub(crate) use writer::{NamedTensor, write_tensors};

/// The version of our use of the format: what the metadata mean.
pub(crate) const FORMAT: u32 = 1;
/// The longest header that is read or written; a model of ten thousand tensors needs 1 MB.
pub(crate) const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The bytes of the file before the digest, behind the 8 bytes of the length.
const BEFORE_DIGEST: &str = r#"{"__metadata__":{"recurra.digest":""#;
const DIGEST_KEY: &str = "recurra.digest";
const DIGEST_DIGITS: usize = 64;
const FORMAT_KEY: &str = "recurra.format";
const KIND_KEY: &str = "recurra.kind";
const LENGTH_BYTES: u64 = 8;
