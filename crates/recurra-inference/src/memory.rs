//! All that the continuation of a text depends on, a few kilobytes of a recurrent model: it can be saved, restored and forked.

use recurra_checkpoint::StateFile;
use recurra_data::{Decoder, DecoderState};
use recurra_models::State;
use serde::{Deserialize, Serialize};

use crate::{Draws, Error, ModelRef, Recent, Result};

/// Where a text stands: the state of the network, the token that it reads next, the position of the sampler, the tokens
/// that a repetition penalty looks back on, the bytes of a character and the start of a stop string that are not complete.
///
/// A clone is a fork: both go on by themselves. Written to a file and read back, it goes on bit for bit as it would have.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(crate) state: State<f32>,
    /// The last token of the text, which the network has not read yet; none before the first.
    pub(crate) next_id: Option<u32>,
    pub(crate) recent: Recent,
    pub(crate) draws: Draws,
    pub(crate) decoder: Decoder,
    /// Text that may be the start of a stop string.
    pub(crate) held: String,
}

/// What of a [`Memory`] is not the state of the network, as the file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    next_id: Option<u32>,
    recent: Recent,
    draws: Draws,
    decoder: DecoderState,
    held: String,
}

impl Memory {
    /// The memory before the first token.
    pub fn new(model: ModelRef<'_>, seed: u64) -> Self {
        Self {
            state: model.network.zero_state(1),
            next_id: None,
            recent: Recent::default(),
            draws: Draws::new(seed),
            decoder: model.tokenizer.decoder(),
            held: String::new(),
        }
    }

    /// The seed of the draws to come.
    pub fn seed(&self) -> u64 {
        self.draws.seed
    }

    /// Begins the draws of another seed: a fork that goes its own way.
    pub fn reseed(&mut self, seed: u64) {
        self.draws = Draws::new(seed);
    }

    /// The state of the network.
    pub fn state(&self) -> &State<f32> {
        &self.state
    }

    /// What goes into a state file.
    pub fn to_file(&self) -> StateFile {
        let position = Position {
            next_id: self.next_id,
            recent: self.recent.clone(),
            draws: self.draws,
            decoder: self.decoder.state(),
            held: self.held.clone(),
        };
        let position = serde_json::to_value(position).expect("names, numbers and text only");
        StateFile { state: self.state.clone(), position }
    }

    /// Goes on from what a state file held.
    ///
    /// # Errors
    /// When it is not the state of one text of this model.
    pub fn from_file(model: ModelRef<'_>, file: StateFile) -> Result<Self> {
        let expected = model.network.zero_state::<f32>(1);
        let sizes = |state: &State<f32>| state.parts().map(Vec::len).collect::<Vec<_>>();
        if sizes(&file.state) != sizes(&expected) {
            return Err(Error::Position { reason: "its sizes are not those of one stream".into() });
        }
        let Position { next_id, recent, draws, decoder, held } =
            serde_json::from_value(file.position)
                .map_err(|error| Error::Position { reason: error.to_string() })?;
        let vocab_size = model.vocab_size();
        if !recent.fits(vocab_size) || next_id.is_some_and(|id| id as usize >= vocab_size) {
            return Err(Error::Position {
                reason: format!("it names a token that is not below {vocab_size}"),
            });
        }
        let decoder = model.tokenizer.decoder_from(decoder)?;
        Ok(Self { state: file.state, next_id, recent, draws, decoder, held })
    }
}
