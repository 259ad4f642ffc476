//! A model in memory, as inference reads it.

use recurra_checkpoint::SavedModel;
use recurra_data::Tokenizer;
use recurra_models::{LanguageModel, Prepared};
use recurra_tensor::step::Storage;
use recurra_tensor::{Cpu, Parameters, Precision};

use crate::{Error, Result};

/// Everything that scoring and writing read, borrowed: a saved model, or one that is being trained.
#[derive(Clone, Copy, Debug)]
pub struct ModelRef<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) network: &'a LanguageModel,
    pub(crate) parameters: &'a Parameters<f32>,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) prepared: Option<&'a Prepared>,
}

impl<'a> ModelRef<'a> {
    /// The network with its weights and the tokenizer that it was made for.
    ///
    /// # Errors
    /// When the tokenizer has another number of tokens than the network.
    pub fn new(
        cpu: &'a Cpu,
        network: &'a LanguageModel,
        parameters: &'a Parameters<f32>,
        tokenizer: &'a Tokenizer,
    ) -> Result<Self> {
        let (expected, found) = (network.config().vocab_size, tokenizer.vocab_size());
        if found != expected {
            return Err(Error::Vocabulary { found, expected });
        }
        Ok(Self { cpu, network, parameters, tokenizer, prepared: None })
    }

    /// A model read from its folder.
    ///
    /// # Errors
    /// As [`ModelRef::new`].
    pub fn of(cpu: &'a Cpu, saved: &'a SavedModel) -> Result<Self> {
        Self::new(cpu, &saved.model, &saved.parameters, &saved.tokenizer)
    }

    /// The same model, read and written with in single steps, with weights as `prepared` has them: made by
    /// [`prepare`](LanguageModel::prepare) from this network and these parameters, for this processor.
    #[must_use]
    pub fn with_prepared(self, prepared: &'a Prepared) -> Self {
        Self { prepared: Some(prepared), ..self }
    }

    /// How weights are stored in which it is read and written with.
    pub fn storage(&self) -> Storage {
        match (self.prepared, self.cpu.isa().precision()) {
            (Some(prepared), _) => prepared.storage(),
            (None, Precision::F32) => Storage::F32,
            (None, Precision::Bf16) => Storage::Bf16,
        }
    }

    /// V.
    pub(crate) fn vocab_size(&self) -> usize {
        self.network.config().vocab_size
    }

    /// The token that an unprompted text begins after: the end of a line, or the last token of "\n", or token 0.
    pub(crate) fn start_id(&self) -> u32 {
        let last_of_line_end = || self.tokenizer.encode("\n").ok()?.last().copied();
        let start = self.tokenizer.end_of_line_id().or_else(last_of_line_end);
        start.filter(|&id| (id as usize) < self.vocab_size()).unwrap_or(0)
    }
}
