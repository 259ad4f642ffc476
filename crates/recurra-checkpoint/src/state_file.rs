//! What a model remembers, in a file: a few kilobytes of a recurrent one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use recurra_models::{LanguageModel, State};
use recurra_tensor::Parameters;

use crate::disk::{Disk, LocalDisk};
use crate::layout::Layout;
use crate::replace::{expect_place, folder_of, replace_shared};
use crate::saved_model::WEIGHTS_KEY;
use crate::saved_training::{fits, streams};
use crate::tensor_file::{TensorReader, write_tensors};
use crate::{Error, Result};

const KIND: &str = "state";
const POSITION_KEY: &str = "recurra.position";
const STREAMS_KEY: &str = "recurra.streams";

/// The recurrent state of one or more streams, bound to the weights that made it.
///
/// Written and read back, it goes on bit for bit as if it had never left memory.
#[derive(Debug, Clone, PartialEq)]
pub struct StateFile {
    /// The state of every layer, each part (B, H).
    pub state: State<f32>,
    /// What else is needed to go on: the position of the sampler, the last token, bytes of a character that is not
    /// complete. In the words of whoever generates.
    pub position: serde_json::Value,
}

impl StateFile {
    /// Saves the state of this model; the file that was there is replaced by a whole one, whoever else writes it.
    ///
    /// # Errors
    /// When the path is no regular file, or the disk refuses; then the file that was there is whole.
    pub fn save(&self, path: &Path, model: &LanguageModel, weights_sha256: &str) -> Result<()> {
        self.save_to(&LocalDisk, path, model, weights_sha256)
    }

    /// Finds out, before there is a state, whether one could be saved to `path`.
    ///
    /// # Errors
    /// When the path is no regular file, or no file can be made there.
    pub fn expect_place(path: &Path) -> Result<()> {
        expect_place(&LocalDisk, &target(path)?)
    }

    pub(crate) fn save_to(
        &self,
        disk: &dyn Disk,
        path: &Path,
        model: &LanguageModel,
        weights_sha256: &str,
    ) -> Result<()> {
        let path = &target(path)?;
        let streams = streams(&self.state, model.config());
        let metadata = BTreeMap::from([
            (WEIGHTS_KEY, weights_sha256.to_owned()),
            (STREAMS_KEY, streams.to_string()),
            (POSITION_KEY, self.position.to_string()),
        ]);
        let (layout, parameters) =
            (Layout::default().with_state(&self.state, streams), Parameters::new());
        replace_shared(disk, path, |file| {
            write_tensors(file, KIND, &metadata, layout.tensors(&parameters, &self.state))
        })
    }

    /// Reads a state that this model saved.
    ///
    /// # Errors
    /// When the file was cut off, altered, is of another kind, or belongs to another model.
    pub fn load(path: &Path, model: &LanguageModel, weights_sha256: &str) -> Result<StateFile> {
        let reader = TensorReader::open(path).map_err(|error| match error {
            Error::NotSafetensors { path, reason } => Error::NotAState { path, reason },
            error => error,
        })?;
        let reader = reader.expect_kind(KIND)?;
        let not_a_state = |reader: TensorReader| {
            let reason = "it lacks what a state has".into();
            Err(reader.blame(Error::NotAState { path: path.into(), reason }))
        };
        let Some(found) = reader.metadata(WEIGHTS_KEY).map(str::to_owned) else {
            return not_a_state(reader);
        };
        if found != weights_sha256 {
            let expected = weights_sha256.to_owned();
            return Err(reader.blame(Error::OtherModel { path: path.into(), expected, found }));
        }
        let streams = reader.metadata(STREAMS_KEY).and_then(|text| text.parse().ok());
        let position =
            reader.metadata(POSITION_KEY).and_then(|text| serde_json::from_str(text).ok());
        let (Some(streams), Some(position)) = (streams, position) else {
            return not_a_state(reader);
        };
        if !fits(streams, model.config(), &reader) {
            return not_a_state(reader);
        }
        let mut state = model.zero_state(streams);
        let layout = Layout::default().with_state(&state, streams);
        layout.read(reader, &mut Parameters::new(), &mut state)?.finish()?;
        Ok(StateFile { state, position })
    }
}

/// The file that a path leads to: renaming would put a file in the place of a device, or of a link instead of what it
/// points to.
fn target(path: &Path) -> Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(target) if !target.is_file() => Err(Error::NotAFile { path: path.into() }),
        Ok(target) => Ok(target),
        Err(error) => match fs::read_link(path) {
            // Whoever makes the file hears what is wrong with its place.
            Err(_) => Ok(path.to_owned()),
            Ok(link) if error.kind() == io::ErrorKind::NotFound => {
                target(&folder_of(path).join(link))
            }
            Ok(_) => Err(Error::io("read", path)(error)),
        },
    }
}
