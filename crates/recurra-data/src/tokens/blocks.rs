//! A whole text worked on in blocks by several threads, with results in the order of the text.

use crate::text::{Flow, boundary_at_or_before};
use crate::{Result, Text, TextStats};
use std::sync::mpsc::sync_channel;
use std::thread;

/// About how long a block is.
const BLOCK_BYTES: usize = 256 << 10;

/// How long a block may become where no place to cut is found.
pub(super) const LONGEST_BLOCK_BYTES: usize = 1 << 20;

/// More threads than this wait for the disk.
const MOST_WORKERS: usize = 8;

/// Where a text can be cut.
///
/// Called with the text so far; returns how much of its start can go, 0 for none. `is_forced` when nothing may be held back
/// any longer.
pub(super) type Cut = fn(text: &str, is_forced: bool) -> Result<usize>;

/// Between any two characters.
pub(super) fn anywhere(text: &str, _: bool) -> Result<usize> {
    Ok(text.len())
}

/// Cuts the text into blocks, has them worked on by several threads, each with a worker that `make_worker` made, and hands
/// the results to `sink` in order. Memory does not depend on the length of the text.
///
/// # Errors
/// Those of reading the text, of the workers and of the sink: the first in the order of the text.
pub(super) fn map_blocks<T, W>(
    text: &Text,
    cut: Cut,
    make_worker: impl Fn() -> W,
    sink: &mut dyn FnMut(T) -> Result<()>,
) -> Result<TextStats>
where
    T: Send,
    W: FnMut(&str) -> Result<T> + Send,
{
    let n_workers = thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
    thread::scope(|scope| {
        // Block i goes to worker i mod n, so that taking results in turn gives them in order.
        let (mut blocks_in, mut results_out) = (Vec::new(), Vec::new());
        for _ in 0..n_workers {
            let (block_sender, block_receiver) = sync_channel::<String>(1);
            let (result_sender, result_receiver) = sync_channel::<Result<T>>(1);
            let mut worker = make_worker();
            scope.spawn(move || {
                for block in block_receiver {
                    if result_sender.send(worker(&block)).is_err() {
                        break;
                    }
                }
            });
            blocks_in.push(block_sender);
            results_out.push(result_receiver);
        }
        let reader = scope.spawn(move || {
            let mut turn = blocks_in.iter().cycle();
            let mut send = |block: String| match turn.next().map(|sender| sender.send(block)) {
                Some(Ok(())) => Flow::Continue(()),
                _ => Flow::Break(()), // the other end is gone: somebody failed
            };
            let mut gathered = String::with_capacity(BLOCK_BYTES * 2);
            let stats = text.scan(&mut |chunk| {
                gathered.push_str(chunk);
                if gathered.len() < BLOCK_BYTES {
                    return Ok(Flow::Continue(()));
                }
                let at = cut(&gathered, gathered.len() >= LONGEST_BLOCK_BYTES)?;
                if at == 0 {
                    return Ok(Flow::Continue(()));
                }
                let mut block = String::with_capacity(BLOCK_BYTES * 2);
                block.push_str(&gathered[at..]);
                std::mem::swap(&mut block, &mut gathered);
                block.truncate(at);
                Ok(send(block))
            })?;
            if !gathered.is_empty() {
                let _ = send(gathered);
            }
            Ok(stats)
        });
        let mut outcome = Ok(());
        for receiver in results_out.iter().cycle() {
            // A closed channel in turn means that no block is left.
            let Ok(result) = receiver.recv() else { break };
            outcome = result.and_then(&mut *sink);
            if outcome.is_err() {
                break;
            }
        }
        drop(results_out);
        let stats = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.and(stats)
    })
}

/// After the last white space; a text without any is cut anywhere only when it must.
pub(super) fn after_white_space(text: &str, is_forced: bool) -> usize {
    match text.char_indices().rfind(|(_, c)| c.is_whitespace()) {
        Some((at, c)) => at + c.len_utf8(),
        None if is_forced => boundary_at_or_before(text, text.len()),
        None => 0,
    }
}
