//! A recurrent language model: the next token from all tokens before it.

use recurra_layers::{Embedding, Recurrent, RecurrentStack, SoftmaxLoss};
use recurra_tensor::{Element, Input, Parameters, Random, Tape, Var, Window};

use crate::{Error, LanguageModelConfig, State};

/// Embedding → recurrent layers → output layer (Mikolov et al. 2010; Zaremba et al. 2014).
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageModel {
    config: LanguageModelConfig,
    embedding: Embedding,
    recurrent: RecurrentStack,
    output: SoftmaxLoss,
}

impl LanguageModel {
    /// Declares the parameters of the network, all zero.
    ///
    /// # Errors
    /// When the config describes no network.
    pub fn new<E: Element>(
        config: &LanguageModelConfig,
        parameters: &mut Parameters<E>,
    ) -> Result<Self, Error> {
        config.check()?;
        let LanguageModelConfig {
            cell,
            vocab_size,
            embed_size,
            ref hidden_sizes,
            tied,
            dropout,
            forget_bias,
        } = *config;
        let n_parameters = 3 + 4 * hidden_sizes.len();
        parameters.reserve(n_parameters, config.n_parameters() as usize);
        let embedding = Embedding::declare(parameters, vocab_size, embed_size);
        let recurrent = RecurrentStack::declare(
            parameters,
            cell,
            embed_size,
            hidden_sizes,
            forget_bias,
            dropout,
        );
        let tied_to = tied.then_some(embedding.weight);
        let output =
            SoftmaxLoss::declare(parameters, vocab_size, config.last_hidden_size(), tied_to);
        Ok(Self { config: config.clone(), embedding, recurrent, output })
    }

    /// What it is made of.
    pub fn config(&self) -> &LanguageModelConfig {
        &self.config
    }

    /// The table of the tokens' vectors.
    pub(crate) fn embedding(&self) -> Embedding {
        self.embedding
    }

    /// The recurrent layers, first to last.
    pub(crate) fn layers(&self) -> &[Recurrent] {
        self.recurrent.layers()
    }

    /// The output layer.
    pub(crate) fn output(&self) -> SoftmaxLoss {
        self.output
    }

    /// Draws all parameters; the same seed, the same values.
    pub fn initialize<E: Element>(&self, parameters: &mut Parameters<E>, seed: u64) {
        let mut random = Random::new(seed, 0);
        self.embedding.initialize(parameters, &mut random);
        self.recurrent.initialize(parameters, &mut random);
        if !self.config.tied {
            self.output.initialize(parameters, &mut random);
        }
    }

    /// Lets training start from the frequencies of the tokens: sets the output layer's bias to
    /// ln((n_v + ½) / (N + ½V)).
    ///
    /// # Shapes
    /// `counts` (V): how often each token stands in the training text.
    pub fn start_from_counts<E: Element>(&self, parameters: &mut Parameters<E>, counts: &[u64]) {
        self.output.start_from_counts(parameters, counts);
    }

    /// The memory before the first token, for `batch` streams.
    pub fn zero_state<E: Element>(&self, batch: usize) -> State<E> {
        State { layers: self.recurrent.zero_state(batch) }
    }

    /// What the top layer makes of a window.
    ///
    /// # Shapes
    /// `inputs` (T·B) → (T·B, H).
    fn hidden<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        inputs: &'x [u32],
        window: Window,
        state: &mut State<E>,
    ) -> Input<'x> {
        let x = self.embedding.input(inputs); // (T·B, E)
        self.recurrent.sequence(tape, x, window, &mut state.layers) // (T·B, H)
    }

    /// The mean nats a token of predicting `targets` from `inputs`; `state` is carried on, cut off from its history.
    ///
    /// # Shapes
    /// `inputs` and `targets` (T·B), time-major → a loss.
    ///
    /// # Panics
    /// When the sizes do not fit or an id is not below V.
    #[track_caller]
    pub fn loss<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        inputs: &[u32],
        targets: &[u32],
        window: Window,
        state: &mut State<E>,
    ) -> Var {
        let hidden = self.hidden(tape, inputs, window, state);
        self.output.loss(tape, hidden, targets)
    }

    /// The sum of the nats of `targets`: the same without learning.
    ///
    /// # Shapes
    /// `inputs` and `targets` (T·B), time-major.
    ///
    /// # Panics
    /// As [`loss`](Self::loss).
    #[track_caller]
    pub fn nats<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        inputs: &[u32],
        targets: &[u32],
        window: Window,
        state: &mut State<E>,
    ) -> f64 {
        let hidden = self.hidden(tape, inputs, window, state);
        let hidden = tape.read(hidden);
        self.output.nats(tape, hidden, targets)
    }

    /// Reads one token in each of B streams and gives the logits of the next.
    ///
    /// # Shapes
    /// `ids` (B) → (B, V).
    #[track_caller]
    pub fn step<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        ids: &[u32],
        state: &mut State<E>,
    ) -> Var {
        let hidden = self.hidden(tape, ids, Window { time: 1, batch: ids.len() }, state);
        let hidden = tape.read(hidden);
        self.output.logits(tape, hidden)
    }
}

#[cfg(test)]
mod tests;
