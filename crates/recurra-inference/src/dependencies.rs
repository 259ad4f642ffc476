//! What a model remembers of a story: does it prefer the right name, thing, place or mark, long after it was settled?

use std::ops::ControlFlow;

use recurra_data::storybook::{Probe, Storybook};
use recurra_models::State;
use recurra_tensor::Workspace;
use serde::Serialize;

use crate::predictor::Predictor;
use crate::{Error, ModelRef, Result};

/// Tokens that are read in one go.
const WINDOW: usize = 256;

/// How often a model preferred what a story had settled, at about one distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// The distance in words that these probes are nearest to: one of [`Probe::DISTANCES`].
    pub distance_words: u64,
    /// How many probes there were.
    pub probes: u64,
    /// In how many of them the right words were more likely than every wrong one.
    pub kept: u64,
    /// How many a model that forgets would keep: the sum of 1 / (number of candidates).
    pub by_chance: f64,
}

impl Kept {
    /// kept / probes.
    pub fn rate(&self) -> f64 {
        self.kept as f64 / self.probes.max(1) as f64
    }

    /// What a model that forgets would reach.
    pub fn chance(&self) -> f64 {
        self.by_chance / self.probes.max(1) as f64
    }
}

/// Asks the probes of the stories `first..first + n_stories` of a book: after everything that was said before, which of
/// the candidates has the highest probability? One row for each of [`Probe::DISTANCES`].
///
/// Every candidate is scored as a text, −ln p of all its tokens, so models with different tokens are asked the same. The
/// model reads each story from its start; `progress` is called after each, and may stop.
///
/// # Errors
/// When the tokenizer cannot encode a story, or `progress` stops.
pub fn dependencies(
    model: ModelRef<'_>,
    book: &Storybook,
    first: u64,
    n_stories: u64,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Vec<Kept>> {
    let mut table: Vec<Kept> = Probe::DISTANCES
        .map(|distance_words| Kept { distance_words, probes: 0, kept: 0, by_chance: 0.0 })
        .into();
    let mut workspace = Workspace::new();
    let mut reader = Reader::new(model, &mut workspace);
    for idx in 0..n_stories {
        let story = book.story(first + idx);
        for probe in &story.probes {
            let Some(row) = table.iter_mut().find(|row| Some(row.distance_words) == probe.bucket())
            else {
                continue;
            };
            let candidates = story.candidates(probe);
            let ids_of =
                |words: &str| model.tokenizer.encode(&format!("{}{words}", candidates.context));
            let right = ids_of(&candidates.right)?;
            let wrong = candidates
                .wrong
                .iter()
                .map(|words| ids_of(words))
                .collect::<recurra_data::Result<Vec<_>>>()?;
            let n_shared = wrong.iter().map(|ids| shared_start(&right, ids)).min().unwrap_or(0);
            reader.read_to(&right[..n_shared]);
            let right_nats = reader.nats(&right[n_shared..]);
            let is_kept = wrong.iter().all(|ids| right_nats < reader.nats(&ids[n_shared..]));
            row.probes += 1;
            row.kept += u64::from(is_kept);
            row.by_chance += 1.0 / (wrong.len() + 1) as f64;
        }
        if progress(idx + 1, n_stories).is_break() {
            return Err(Error::Stopped { done: idx + 1, total: n_stories });
        }
    }
    Ok(table)
}

fn shared_start(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A model that has read the start of a story, and remembers which.
struct Reader<'a, 'w> {
    model: ModelRef<'a>,
    predictor: Predictor<'a, 'w>,
    read: Vec<u32>,
    last: u32,
    state: State<f32>,
}

impl<'a, 'w> Reader<'a, 'w> {
    fn new(model: ModelRef<'a>, workspace: &'w mut Workspace<f32>) -> Self {
        let state = model.network.zero_state(1);
        let predictor = Predictor::new(model, workspace);
        Self { model, predictor, read: Vec::new(), last: model.start_id(), state }
    }

    /// Reads on until all of `ids` is read; from the start again if something else was read before.
    fn read_to(&mut self, ids: &[u32]) {
        if !ids.starts_with(&self.read) {
            self.read.clear();
            self.last = self.model.start_id();
            self.state.clear();
        }
        let n_read = self.read.len();
        let mut state = std::mem::replace(&mut self.state, State { layers: Vec::new() });
        self.run(&ids[n_read..], &mut state);
        self.state = state;
        self.last = ids.last().copied().unwrap_or(self.last);
        self.read.extend_from_slice(&ids[n_read..]);
    }

    /// −ln p of `ids` after what was read, which stays as it is.
    fn nats(&mut self, ids: &[u32]) -> f64 {
        let mut state = self.state.clone();
        self.run(ids, &mut state)
    }

    fn run(&mut self, ids: &[u32], state: &mut State<f32>) -> f64 {
        let mut nats = 0.0;
        let mut last = self.last;
        for targets in ids.chunks(WINDOW) {
            let inputs: Vec<u32> = std::iter::once(last).chain(targets.iter().copied()).collect();
            nats += self.predictor.nats(&inputs[..targets.len()], targets, state);
            last = inputs[targets.len()];
        }
        nats
    }
}

#[cfg(test)]
mod tests {
    use recurra_data::storybook::Language;

    use super::*;
    use crate::fixture::Fixture;

    /// A model that has learned nothing keeps about as many as chance has it: far from all.
    #[test]
    fn a_model_that_knows_nothing_keeps_little() {
        let fixture = Fixture::lstm("char");
        let book = Storybook::new(Language::English, 5);
        let mut go_on = |_, _| ControlFlow::Continue(());
        let table = dependencies(fixture.model(), &book, 0, 4, &mut go_on).unwrap();
        assert_eq!(
            table.iter().map(|row| row.distance_words).collect::<Vec<_>>(),
            Probe::DISTANCES
        );
        let (probes, kept) =
            table.iter().fold((0, 0), |(n, k), row| (n + row.probes, k + row.kept));
        assert!(probes > 20 && kept * 2 < probes, "{kept} of {probes}");
        assert!(table.iter().all(|row| (0.0..0.9).contains(&row.chance())));
    }

    /// Reading in parts, with candidates tried in between, scores as reading in one go.
    #[test]
    fn trying_candidates_leaves_no_trace() {
        let fixture = Fixture::lstm("byte");
        let ids: Vec<u32> = (0..600).map(|idx| idx * 7 % 256).collect();
        let (mut first, mut second) = (Workspace::new(), Workspace::new());
        let whole = Reader::new(fixture.model(), &mut first).nats(&ids);
        let mut reader = Reader::new(fixture.model(), &mut second);
        let mut parts = 0.0;
        for end in [1, 300, 301, 600] {
            let start = reader.read.len();
            reader.nats(&[5, 6, 7]);
            parts += reader.nats(&ids[start..end]);
            reader.read_to(&ids[..end]);
        }
        assert!((whole - parts).abs() < 1e-3 * whole, "{whole} {parts}");
        reader.read_to(&ids[..10]);
        assert_eq!(reader.read.len(), 10);
    }

    #[test]
    fn it_stops_when_told_to() {
        let fixture = Fixture::lstm("char");
        let book = Storybook::new(Language::Chinese, 5);
        let outcome =
            dependencies(fixture.model(), &book, 0, 9, &mut |_, _| ControlFlow::Break(()));
        assert!(matches!(outcome, Err(Error::Stopped { .. })), "{outcome:?}");
    }
}
