//! Steps of one token by the tape: for networks whose cells have no step kernels of their own.

use recurra_tensor::step::{Likeliest, Noise};
use recurra_tensor::{Cpu, Parameters, Tape, Window, Workspace};

use crate::{LanguageModel, State};

/// Some streams, what they remember, and the memory that a step works in.
#[derive(Debug)]
pub(crate) struct TapeStepper {
    state: State<f32>,
    n_streams: usize,
    /// Holds the packed weights from one step to the next.
    workspace: Workspace<f32>,
    /// (B, V)
    logits: Vec<f32>,
    likeliest: Vec<Likeliest>,
}

impl TapeStepper {
    /// `n_streams` streams (at least one) before their first token.
    pub(crate) fn new(model: &LanguageModel, n_streams: usize) -> Self {
        let n_streams = n_streams.max(1);
        Self {
            state: model.zero_state(n_streams),
            n_streams,
            workspace: Workspace::new(),
            logits: Vec::new(),
            likeliest: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> &State<f32> {
        &self.state
    }

    #[track_caller]
    pub(crate) fn set_state(&mut self, state: &State<f32>) {
        assert!(self.state.n_parts().eq(state.n_parts()), "a state of another network");
        for (part, values) in self.state.parts_mut().zip(state.parts()) {
            part.copy_from_slice(values);
        }
    }

    #[track_caller]
    pub(crate) fn read(
        &mut self,
        cpu: &Cpu,
        model: &LanguageModel,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) {
        assert_eq!(ids.len(), self.n_streams, "as many tokens as streams");
        let mut tape = Tape::inference(cpu, parameters, &mut self.workspace);
        let window = Window { time: 1, batch: ids.len() };
        model.read(&mut tape, ids, window, &mut self.state);
    }

    /// B rows (V).
    #[track_caller]
    pub(crate) fn logits(
        &mut self,
        cpu: &Cpu,
        model: &LanguageModel,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) -> &[f32] {
        assert_eq!(ids.len(), self.n_streams, "as many tokens as streams");
        let mut tape = Tape::inference(cpu, parameters, &mut self.workspace);
        let logits = model.step(&mut tape, ids, &mut self.state);
        self.logits.clear();
        self.logits.extend_from_slice(tape.value(logits));
        &self.logits
    }

    #[track_caller]
    pub(crate) fn likeliest(
        &mut self,
        cpu: &Cpu,
        model: &LanguageModel,
        parameters: &Parameters<f32>,
        ids: &[u32],
    ) -> &[Likeliest] {
        self.logits(cpu, model, parameters, ids);
        let rows = self.logits.chunks_exact(model.config().vocab_size);
        self.likeliest.clear();
        self.likeliest.extend(rows.map(Likeliest::of));
        &self.likeliest
    }

    #[track_caller]
    pub(crate) fn drawn(
        &mut self,
        cpu: &Cpu,
        model: &LanguageModel,
        parameters: &Parameters<f32>,
        ids: &[u32],
        noises: &[Noise],
    ) -> &[Likeliest] {
        assert_eq!(ids.len(), noises.len(), "noise for each stream");
        self.logits(cpu, model, parameters, ids);
        let rows = self.logits.chunks_exact_mut(model.config().vocab_size);
        self.likeliest.clear();
        self.likeliest.extend(rows.zip(noises).map(|(row, noise)| {
            noise.add(row, 0);
            Likeliest::of(row)
        }));
        &self.likeliest
    }
}
