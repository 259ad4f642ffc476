//! `training/last.safetensors`: everything that a run needs to go on as if it had never stopped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use recurra_models::{LanguageModel, LanguageModelConfig, State};
use recurra_tensor::Parameters;

use crate::hash::sha256;
use crate::layout::Layout;
use crate::model_folder::{LAST, ModelFolder, PREVIOUS};
use crate::replace::replace;
use crate::saved_model::{CONFIG_KEY, Described, TOKENIZER_KEY};
use crate::tensor_file::{TensorReader, write_tensors};
use crate::{Error, Result};

const KIND: &str = "training";
const MOMENTS_KEY: &str = "recurra.n_moments";
const AVERAGE_KEY: &str = "recurra.has_average";
const PROGRESS_KEY: &str = "recurra.progress";
const STREAMS_KEY: &str = "recurra.streams";

/// No optimizer keeps more than a few numbers beside each weight.
const MAX_MOMENTS: usize = 8;

/// A run as it stands, borrowed to be saved.
#[derive(Debug, Clone, Copy)]
pub struct TrainingState<'a> {
    /// The weights, with the state of the optimizer and their average.
    pub parameters: &'a Parameters<f32>,
    /// The recurrent state that is carried from window to window.
    pub carried: &'a State<f32>,
    /// The position of the run, in the trainer's own words. Numbers come back to the bit; what is not finite does not,
    /// because JSON has no word for it.
    pub progress: &'a serde_json::Value,
}

/// A run as it was saved.
#[derive(Debug)]
pub struct SavedTraining {
    /// The kind and sizes of the model.
    pub config: LanguageModelConfig,
    /// The network, which names the parameters.
    pub model: LanguageModel,
    /// The weights, with the state of the optimizer and their average.
    pub parameters: Parameters<f32>,
    /// The recurrent state that is carried from window to window.
    pub carried: State<f32>,
    /// The position of the run, in the trainer's own words.
    pub progress: serde_json::Value,
    /// The text of `tokenizer.json`.
    pub tokenizer_json: String,
}

/// What a person should know, although it could be helped.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
    /// The last checkpoint is absent or damaged; the one before it was used.
    UsedPrevious {
        /// The checkpoint that was used.
        path: PathBuf,
        /// What is wrong with the last one.
        reason: Error,
    },
}

impl ModelFolder {
    /// Saves a run to `training/last.safetensors`, and keeps the checkpoint before it as `previous.safetensors`.
    ///
    /// # Errors
    /// When the folder was opened to read or has no configuration yet, or the disk refuses; then the checkpoint before
    /// it is whole.
    pub fn save_training(&self, state: &TrainingState<'_>) -> Result<()> {
        self.expect_held()?;
        let TrainingState { parameters, carried, progress } = *state;
        let (config_text, config) = (self.read_config_text()?, self.load_config()?);
        let streams = streams(carried, &config);
        let metadata = BTreeMap::from([
            (CONFIG_KEY, sha256(config_text.as_bytes())),
            (TOKENIZER_KEY, sha256(self.read_tokenizer()?.as_bytes())),
            (MOMENTS_KEY, parameters.n_moments().to_string()),
            (AVERAGE_KEY, parameters.has_average().to_string()),
            (STREAMS_KEY, streams.to_string()),
            (PROGRESS_KEY, progress.to_string()),
        ]);
        let layout = Layout::default()
            .with_values(parameters)
            .with_moments(parameters)
            .with_average(parameters)
            .with_state(carried, streams);
        let (last, previous) =
            (self.training_path().join(LAST), self.training_path().join(PREVIOUS));
        // A last checkpoint that is damaged must not take the place of a whole one before it.
        let previous = self.last_is_whole().then_some(&*previous);
        self.set_last_is_whole(false);
        replace(self.disk(), &last, previous, |file| {
            write_tensors(file, KIND, &metadata, layout.tensors(parameters, carried))
        })?;
        self.set_last_is_whole(true);
        Ok(())
    }

    /// Reads the last checkpoint of the run; if that is absent or damaged, the one before it, with a warning.
    ///
    /// # Errors
    /// When there is none ([`Error::NoTrainingState`]), when both are damaged, or when they belong to another
    /// configuration or tokenizer.
    pub fn load_training(&self) -> Result<(SavedTraining, Option<Warning>)> {
        self.newest(|path| self.load_training_from(path))
    }

    /// Reads the position of the run alone, in the trainer's own words; the numbers beside it are only checked.
    ///
    /// # Errors
    /// As [`load_training`](Self::load_training), but for what belongs to another configuration.
    pub fn load_progress(&self) -> Result<serde_json::Value> {
        let load = |path: &Path| {
            let reader = TensorReader::open(path)?.expect_kind(KIND)?;
            match progress(&reader) {
                Some(progress) => reader.skip_to_the_end().map(|()| progress),
                None => Err(no_training_state(reader)),
            }
        };
        self.newest(load).map(|(progress, _)| progress)
    }

    /// What `load` makes of the last checkpoint; if that is absent or damaged, of the one before it.
    fn newest<T>(&self, load: impl Fn(&Path) -> Result<T>) -> Result<(T, Option<Warning>)> {
        let (last, previous) =
            (self.training_path().join(LAST), self.training_path().join(PREVIOUS));
        if !last.exists() && !previous.exists() {
            return Err(Error::NoTrainingState { path: self.path().into() });
        }
        let loaded = load(&last);
        self.set_last_is_whole(loaded.is_ok());
        match loaded {
            Ok(saved) => Ok((saved, None)),
            Err(reason) if reason.is_damage() && previous.exists() => match load(&previous) {
                Ok(saved) => Ok((saved, Some(Warning::UsedPrevious { path: previous, reason }))),
                Err(error) if error.is_damage() => Err(reason),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn load_training_from(&self, path: &Path) -> Result<SavedTraining> {
        let reader = TensorReader::open(path)?.expect_kind(KIND)?;
        let Described { reader, config, tokenizer_json } = self.check_description(reader)?;
        let Some(position) = position(&reader, &config) else {
            return Err(no_training_state(reader));
        };
        let (model, mut parameters) = self.build(&config, &reader)?;
        let Position { n_moments, has_average, streams, progress } = position;
        parameters.set_n_moments(n_moments);
        parameters.set_average(has_average);
        let mut carried = model.zero_state(streams);
        Layout::default()
            .with_values(&parameters)
            .with_moments(&parameters)
            .with_average(&parameters)
            .with_state(&carried, streams)
            .read(reader, &mut parameters, &mut carried)?
            .finish()?;
        Ok(SavedTraining { config, model, parameters, carried, progress, tokenizer_json })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UsedPrevious { path, reason } => {
                write!(f, "{reason}; going on from the checkpoint before it, `{}`", path.display())
            }
        }
    }
}

struct Position {
    n_moments: usize,
    has_average: bool,
    streams: usize,
    progress: serde_json::Value,
}

/// What the metadata say, unless they ask for more memory than the file accounts for.
fn position(reader: &TensorReader, config: &LanguageModelConfig) -> Option<Position> {
    let n_moments = reader.metadata(MOMENTS_KEY)?.parse().ok().filter(|&n| n <= MAX_MOMENTS)?;
    // A file from before averages were kept does not say so.
    let has_average = reader.metadata(AVERAGE_KEY).is_some_and(|is_kept| is_kept == "true");
    let streams: usize = reader.metadata(STREAMS_KEY)?.parse().ok()?;
    let progress = progress(reader)?;
    fits(streams, config, reader).then_some(Position { n_moments, has_average, streams, progress })
}

fn progress(reader: &TensorReader) -> Option<serde_json::Value> {
    serde_json::from_str(reader.metadata(PROGRESS_KEY)?).ok()
}

fn no_training_state(reader: TensorReader) -> Error {
    let reason = "its metadata are not those of a training state".into();
    let path = reader.path().to_owned();
    reader.blame(Error::NotSafetensors { path, reason })
}

/// How many times the numbers of a file are made room for before it is known whose they are: a state of a larger model should
/// be refused by its shapes, which say more.
const OF_ANOTHER_MODEL: u128 = 16;

/// Whether the file has numbers enough for the state of so many streams.
pub(crate) fn fits(streams: usize, config: &LanguageModelConfig, reader: &TensorReader) -> bool {
    (streams as u128).saturating_mul(config.state_values())
        <= OF_ANOTHER_MODEL * u128::from(reader.n_values())
}

/// How many streams a state has.
pub(crate) fn streams(state: &State<f32>, config: &LanguageModelConfig) -> usize {
    let first = state.layers.first().and_then(|cell| cell.parts.first());
    let width = config.state_widths().first().copied().unwrap_or(0);
    first.map_or(0, |part| part.len() / width.max(1))
}
