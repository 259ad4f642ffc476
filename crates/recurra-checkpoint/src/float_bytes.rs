//! Floats to bytes and back, a piece at a time, so that a file never needs a second copy of the weights in memory.

/// How many floats are turned into bytes at once.
const CHUNK: usize = 16 * 1024;

/// Calls `take` with the little-endian bytes of all values, piece by piece.
pub(crate) fn for_each_chunk(values: &[f32], mut take: impl FnMut(&[u8])) {
    let result: Result<(), std::convert::Infallible> = try_for_each_chunk(values, |bytes| {
        take(bytes);
        Ok(())
    });
    match result {
        Ok(()) => {}
    }
}

/// Calls `take` with the little-endian bytes of all values, piece by piece, until it fails.
pub(crate) fn try_for_each_chunk<E>(
    values: &[f32],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(size_of::<f32>() * CHUNK.min(values.len()));
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        take(&bytes)?;
    }
    Ok(())
}

/// Fills all values from as many little-endian bytes.
pub(crate) fn from_bytes(values: &mut [f32], bytes: &[u8]) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}
