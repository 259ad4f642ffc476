//! The digest of a file that is being read: of a large one on a thread of its own, so that reading does not wait for it.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use recurra_data::hex;

/// Bytes from which a thread is worth its while.
const LARGE: u64 = 4 << 20;
/// Pieces that may wait for the thread.
const WAITING: usize = 8;

/// A sha256 that takes bytes as they are read.
#[derive(Debug)]
pub(super) enum Digest {
    Here(Sha256),
    Elsewhere(Elsewhere),
}

/// The thread, the way to it, and the way back of the pieces that it is done with.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pieces: SyncSender<Vec<u8>>,
    done: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl Digest {
    /// That of a file of `n_bytes`.
    pub(super) fn new(n_bytes: u64) -> Self {
        if n_bytes < LARGE {
            return Digest::Here(Sha256::new());
        }
        let (pieces, to_hash) = sync_channel::<Vec<u8>>(WAITING);
        let (hashed, done) = channel();
        let thread = std::thread::Builder::new().name("sha256".into()).spawn(move || {
            let mut hasher = Sha256::new();
            for piece in to_hash {
                hasher.update(&piece);
                // Nobody may want it back any more.
                let _ = hashed.send(piece);
            }
            hasher
        });
        match thread {
            Ok(thread) => Digest::Elsewhere(Elsewhere { pieces, done, thread }),
            Err(_) => Digest::Here(Sha256::new()),
        }
    }

    /// A buffer to read the next bytes into.
    pub(super) fn piece(&self) -> Vec<u8> {
        match self {
            Digest::Here(_) => Vec::new(),
            Digest::Elsewhere(Elsewhere { done, .. }) => done.try_recv().unwrap_or_default(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, piece: Vec<u8>) {
        match self {
            Digest::Here(hasher) => hasher.update(&piece),
            Digest::Elsewhere(Elsewhere { pieces, .. }) => {
                pieces.send(piece).expect("the thread takes pieces until there are no more");
            }
        }
    }

    /// The digest of all bytes, in 64 hexadecimal digits.
    pub(super) fn finish(self) -> String {
        let hasher = match self {
            Digest::Here(hasher) => hasher,
            Digest::Elsewhere(Elsewhere { pieces, thread, .. }) => {
                drop(pieces);
                thread.join().expect("hashing does not panic")
            }
        };
        hex(hasher.finalize().as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_has_the_digest_of_its_bytes() {
        let bytes: Vec<u8> = (0..1 << 20).map(|idx: u32| (idx * 7 + idx / 251) as u8).collect();
        for n_bytes in [0, LARGE] {
            let mut digest = Digest::new(n_bytes);
            for part in bytes.chunks(10_007) {
                let mut piece = digest.piece();
                piece.clear();
                piece.extend_from_slice(part);
                digest.update(piece);
            }
            assert_eq!(digest.finish(), crate::hash::sha256(&bytes));
        }
    }
}
