//! Hashes of bytes and of weights.

use recurra_data::hex;
use recurra_tensor::Parameters;
use sha2::{Digest, Sha256};

use crate::float_bytes::for_each_chunk;

/// The sha256 of these bytes, in 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// The sha256 of all weights, in 64 hexadecimal digits: the identity of a model's numbers.
///
/// Hashed, tensor by tensor in the order of their names: the length of the name and the name, the number of
/// dimensions and the dimensions (all as 64-bit little-endian integers), and the values as little-endian 32-bit
/// floats. Gradients and optimizer state do not count, nor does the order in which the tensors were declared.
pub fn weights_sha256(parameters: &Parameters<f32>) -> String {
    let mut ids: Vec<_> = parameters.ids().collect();
    ids.sort_by_key(|&id| parameters.name(id));
    let mut hasher = Sha256::new();
    for id in ids {
        let (name, shape) = (parameters.name(id), parameters.shape(id));
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update((shape.len() as u64).to_le_bytes());
        shape.iter().for_each(|&size| hasher.update((size as u64).to_le_bytes()));
        for_each_chunk(parameters.value(id), |bytes| hasher.update(bytes));
    }
    hex(hasher.finalize().as_slice())
}
