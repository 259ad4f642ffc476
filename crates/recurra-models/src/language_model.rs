//! A language model: the next token from all tokens before it.

use recurra_layers::{Embedding, Recurrent, RecurrentStack, Regularization, SoftmaxLoss, Top};
use recurra_tensor::{Element, Input, ParameterId, Parameters, Random, Tape, Var, Window};

use crate::{Error, LanguageModelConfig, State};

/// Embedding → recurrent layers → output layer (Mikolov et al. 2010; Zaremba et al. 2014).
#[derive(Clone, Debug, PartialEq)]
pub struct LanguageModel {
    config: LanguageModelConfig,
    embedding: Embedding,
    recurrent: RecurrentStack,
    /// (E, H), where the output layer is tied to an embedding of another width.
    projection: Option<ParameterId>,
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
        let LanguageModelConfig { vocab_size, embed_size, ref hidden_sizes, .. } = *config;
        parameters.reserve(64 * (1 + hidden_sizes.len()), config.n_parameters() as usize);
        let embedding = Embedding::declare(parameters, vocab_size, embed_size);
        let recurrent = RecurrentStack::declare(
            parameters,
            config.cell,
            embed_size,
            hidden_sizes,
            &config.options,
            config.dropout,
            &config.regularization,
        );
        let tied_to = config.tied.then_some(embedding.weight);
        let hidden_size = config.last_hidden_size();
        let projection = config.is_projected().then(|| {
            parameters.declare("projection.weight", &[embed_size, hidden_size]) // (E, H)
        });
        let output = SoftmaxLoss::declare(parameters, vocab_size, hidden_size, tied_to);
        Ok(Self { config: config.clone(), embedding, recurrent, projection, output })
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

    /// (E, H), between the last layer and an output layer that is tied to an embedding of another width.
    pub(crate) fn projection(&self) -> Option<ParameterId> {
        self.projection
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
        if let Some(projection) = self.projection {
            let bound = 1.0 / (self.config.last_hidden_size() as f64).sqrt();
            random.fill_uniform(parameters.value_mut(projection), bound);
        }
        if !self.config.tied {
            self.output.initialize(parameters, &mut random);
        }
    }

    /// Lets training start from the frequencies of the tokens to the power p: sets the output layer's bias to
    /// p · ln((n_v + ½) / (N + ½V)).
    ///
    /// # Shapes
    /// `counts` (V): how often each token stands in the training text. `power`: p, 1 for the frequencies themselves.
    pub fn start_from_counts<E: Element>(
        &self,
        parameters: &mut Parameters<E>,
        counts: &[u64],
        power: f64,
    ) {
        self.output.start_from_counts(parameters, counts, power);
    }

    /// The memory before the first token, for `batch` streams.
    pub fn zero_state<E: Element>(&self, batch: usize) -> State<E> {
        State { layers: self.recurrent.zero_state(batch) }
    }

    /// What the top layer makes of a window.
    ///
    /// # Shapes
    /// `inputs` (T·B) → (T·B, H).
    fn top<'x, E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        inputs: &'x [u32],
        window: Window,
        state: &mut State<E>,
    ) -> Top<'x> {
        let rate = self.config.regularization.word_dropout.unwrap_or(0.0);
        let x = self.embedding.with_word_dropout(tape, inputs, rate); // (T·B, E)
        self.recurrent.sequence(tape, x, window, &mut state.layers) // (T·B, H)
    }

    /// What the output layer reads of what the top layer hands up: the same, or in the width of the embedding that it is tied to.
    ///
    /// # Shapes
    /// `hidden` (T·B, H) → (T·B, H or E).
    fn projected<'x, E: Element>(&self, tape: &mut Tape<'_, E>, hidden: Input<'x>) -> Input<'x> {
        match self.projection {
            None => hidden,
            Some(projection) => {
                let hidden = tape.read(hidden);
                tape.linear(hidden, projection, None).into()
            }
        }
    }

    /// The mean nats a token of predicting `targets` from `inputs`; `state` is carried on, cut off from its history.
    ///
    /// In training, α·mean(h²) of what the last layer hands up after dropout and β·mean((h_t − h_{t−1})²) of the same before it are
    /// learned too, where the configuration has the penalties α and β (Merity, McCann and Socher 2017). The loss itself is
    /// without them.
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
        let Top { hidden, mut dropped } = self.top(tape, inputs, window, state);
        let Regularization { activation_penalty, temporal_penalty, .. } =
            self.config.regularization;
        if let Some(alpha) = activation_penalty.filter(|_| tape.is_training()) {
            let values = tape.read(dropped);
            tape.activation_penalty(values, alpha);
            dropped = values.into();
        }
        if let Some(beta) = temporal_penalty {
            tape.temporal_penalty(hidden, beta, window);
        }
        let read = self.projected(tape, dropped);
        self.output.loss(tape, read, targets)
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
        let hidden = self.read(tape, inputs, window, state);
        self.output.nats(tape, hidden, targets)
    }

    /// What the output layer reads of a window: the first half of [`nats`](Self::nats) and [`loss`](Self::loss) where
    /// something else is wanted of it too.
    ///
    /// # Shapes
    /// `inputs` (T·B), time-major → (T·B, H).
    #[track_caller]
    pub fn read<E: Element>(
        &self,
        tape: &mut Tape<'_, E>,
        inputs: &[u32],
        window: Window,
        state: &mut State<E>,
    ) -> Var {
        let top = self.top(tape, inputs, window, state);
        let hidden = self.projected(tape, top.dropped);
        tape.read(hidden)
    }

    /// −ln p of each of `targets` where logits are divided by `temperature`: the second half of [`nats`](Self::nats).
    ///
    /// # Shapes
    /// `hidden` (N, H) from [`read`](Self::read), `targets` (N) → (N).
    #[track_caller]
    pub fn row_nats<'t, E: Element>(
        &self,
        tape: &'t mut Tape<'_, E>,
        hidden: Var,
        targets: &[u32],
        temperature: f64,
    ) -> &'t [f64] {
        self.output.row_nats(tape, hidden, targets, temperature)
    }

    /// The mean nats a token of `targets`: the second half of [`loss`](Self::loss).
    ///
    /// # Shapes
    /// `hidden` (N, H) from [`read`](Self::read), `targets` (N) → a loss.
    #[track_caller]
    pub fn loss_of<E: Element>(&self, tape: &mut Tape<'_, E>, hidden: Var, targets: &[u32]) -> Var {
        self.output.loss(tape, hidden, targets)
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
        let hidden = self.read(tape, ids, Window { time: 1, batch: ids.len() }, state);
        self.output.logits(tape, hidden)
    }
}

#[cfg(test)]
mod tests;
