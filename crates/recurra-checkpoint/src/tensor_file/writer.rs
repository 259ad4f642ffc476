//! Writes tensors straight from where they are, hashing as it goes.

use std::collections::BTreeMap;
use std::io;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    BEFORE_DIGEST, DIGEST_DIGITS, FORMAT, FORMAT_KEY, KIND_KEY, LENGTH_BYTES, MAX_HEADER_BYTES,
};
use crate::disk::DiskFile;
use crate::float_bytes::try_for_each_chunk;
use recurra_data::hex;

/// A tensor to be written, borrowed.
pub(crate) struct NamedTensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a [f32],
}

/// Writes these tensors, in the order of their names, with these metadata.
///
/// The same tensors and metadata give the same bytes.
pub(crate) fn write_tensors(
    file: &mut dyn DiskFile,
    kind: &str,
    metadata: &BTreeMap<&str, String>,
    mut tensors: Vec<NamedTensor<'_>>,
) -> io::Result<()> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let header = header_text(kind, metadata, &tensors)?;
    let mut hasher = Sha256::new();
    let mut write = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write(bytes)
    };
    write(&(header.len() as u64).to_le_bytes())?;
    write(header.as_bytes())?;
    for tensor in &tensors {
        try_for_each_chunk(tensor.values, &mut write)?;
    }
    let digest = hex(hasher.finalize().as_slice());
    file.overwrite(LENGTH_BYTES + BEFORE_DIGEST.len() as u64, digest.as_bytes())
}

/// The header with a digest of zeros, padded by spaces so that the tensors start at a multiple of 8 bytes.
fn header_text(
    kind: &str,
    metadata: &BTreeMap<&str, String>,
    tensors: &[NamedTensor<'_>],
) -> io::Result<String> {
    // A second key of ours stands in every file: were one byte of the first altered, the other still says that there
    // should be a digest.
    let mut text = format!("{BEFORE_DIGEST}{}\"", "0".repeat(DIGEST_DIGITS));
    let own = [(FORMAT_KEY, FORMAT.to_string()), (KIND_KEY, kind.to_owned())];
    for (key, value) in own.iter().map(|(key, value)| (key, value)).chain(metadata) {
        text.push_str(&format!(",{}:{}", json!(key), json!(value)));
    }
    text.push('}');
    let mut start = 0;
    for NamedTensor { name, shape, values } in tensors {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "`{name}`");
        let end = start + size_of_val(*values);
        text.push_str(&format!(
            r#",{}:{{"dtype":"F32","shape":{},"data_offsets":[{start},{end}]}}"#,
            json!(name),
            json!(shape)
        ));
        start = end;
    }
    text.push('}');
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    if text.len() as u64 > MAX_HEADER_BYTES {
        let reason = format!("a header of {} bytes is longer than {MAX_HEADER_BYTES}", text.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(text)
}
