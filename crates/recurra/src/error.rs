//! What can go wrong with a trained model, whichever stage it happened in.

use recurra_checkpoint as checkpoint;
use recurra_inference as inference;
use recurra_tensor::IsaError;

/// What can go wrong with a trained model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model on disk.
    #[error(transparent)]
    Checkpoint(Box<checkpoint::Error>),
    /// Scoring and writing.
    #[error(transparent)]
    Inference(Box<inference::Error>),
    /// The instruction set that `RECURRA_ISA` asks for.
    #[error(transparent)]
    Isa(#[from] IsaError),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Checkpoint(error) => error.hint(),
            Error::Inference(error) => error.hint(),
            Error::Isa(error) => Some(error.hint().to_owned()),
        }
    }
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Error {
        Error::Checkpoint(Box::new(error))
    }
}

impl From<inference::Error> for Error {
    fn from(error: inference::Error) -> Error {
        Error::Inference(Box::new(error))
    }
}
