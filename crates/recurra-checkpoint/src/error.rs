//! What can go wrong with a model on disk, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a model on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another part of this one, trains in this folder.
    #[error("`{}` is being written by another process{}", path.display(), process.map_or(String::new(), |id| format!(" ({id})")))]
    Locked {
        /// The model folder.
        path: PathBuf,
        /// The id of the process that holds the lock, where it can be read.
        process: Option<u32>,
    },
    /// A new run would overwrite an old one.
    #[error("`{}` already holds a run", path.display())]
    HoldsARun {
        /// The model folder.
        path: PathBuf,
    },
    /// A new run would overwrite files that are not of a run.
    #[error("`{}` already holds a file `{file}` that is not of a run", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the files that would be overwritten.
        file: String,
    },
    /// Nothing has this path.
    #[error("no folder `{}`", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// The path is no folder, or a folder without a model.
    #[error("`{}` holds no model: it has no file `{file}`", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What was looked for.
        file: &'static str,
    },
    /// The folder holds no run that could be resumed.
    #[error("`{}` holds no run to resume", path.display())]
    NothingToResume {
        /// The path.
        path: PathBuf,
    },
    /// The run was stopped before its first checkpoint; where there is a model, its training files were removed.
    #[error("`{}` holds no training state", path.display())]
    NoTrainingState {
        /// The model folder.
        path: PathBuf,
    },
    /// The folder was opened to read, and something is to be saved.
    #[error("`{}` was opened to be read, not written", path.display())]
    OpenedToRead {
        /// The model folder.
        path: PathBuf,
    },
    /// A file is something else: a folder, a pipe, a device.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than such a file can be.
    #[error("`{}` has {found} bytes: expected at most {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The file was written by a later version.
    #[error("`{}` has format version {found}: this program reads version {supported}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version that the file names.
        found: String,
        /// The version that this program reads.
        supported: u32,
    },
    /// The file is of another kind: a training state where a model is expected.
    #[error("`{}` holds a {found}: expected a {expected}", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// A JSON file cannot be read.
    #[error("`{}` is not what this program writes", path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file is shorter than it says.
    #[error("checkpoint `{}` was cut off while saving: expected {expected} bytes, found {found}", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
        /// The length that the file names.
        expected: u64,
        /// The length that it has.
        found: u64,
    },
    /// The bytes are not the ones that were saved.
    #[error("checkpoint `{}` was altered since it was saved: {reason}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// The file is no safetensors file, or one that contradicts itself.
    #[error("`{}` is not a sound safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is of another format, or holds something else.
    #[error("`{}` holds no state of a model: {reason}", path.display())]
    NotAState {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A tensor that the configuration asks for is absent.
    #[error("`{}` has no tensor `{tensor}`: the configuration asks for one of shape {}", path.display(), shape_text(expected))]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// A tensor is there that the configuration does not ask for.
    #[error("`{}` has a tensor `{tensor}` of shape {}: the configuration asks for none of that name", path.display(), shape_text(found))]
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("tensor `{tensor}` in `{}` has shape {}: expected {}", path.display(), shape_text(found), shape_text(expected))]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor holds another type of number.
    #[error("tensor `{tensor}` in `{}` holds numbers of type `{found}`: expected `F32`", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The type that it holds.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor `{tensor}` in `{}` holds what is no finite number", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
    },
    /// The configuration asks for more numbers than the file has.
    #[error("`{}` holds {found} numbers: the configuration asks for {expected}", path.display())]
    WrongSize {
        /// The file with the tensors.
        path: PathBuf,
        /// How many numbers the configuration asks for.
        expected: u128,
        /// How many there are.
        found: u64,
    },
    /// `config.json` or `tokenizer.json` is not the one that the weights were saved with.
    #[error("`{}` is not the one that `{}` was saved with: expected sha256 {expected}, found {found}", path.display(), saved_with.display())]
    Mismatch {
        /// The file that differs.
        path: PathBuf,
        /// The file that names it.
        saved_with: PathBuf,
        /// The sha256 that was named.
        expected: String,
        /// The sha256 of the file as it is.
        found: String,
    },
    /// The tokenizer has another vocabulary than the model.
    #[error("the tokenizer in `{}` has {tokenizer} tokens: the model was made for {model}", path.display())]
    VocabularySize {
        /// The model folder.
        path: PathBuf,
        /// The size of the tokenizer's vocabulary.
        tokenizer: usize,
        /// The size of the model's.
        model: usize,
    },
    /// A run is to be saved over one with another configuration or tokenizer.
    #[error("`{}` differs from the one of this run", path.display())]
    ConfigurationChanged {
        /// The file that differs.
        path: PathBuf,
    },
    /// The state belongs to another model.
    #[error("the state in `{}` belongs to another model: it was saved with weights {found}, this model has {expected}", path.display())]
    OtherModel {
        /// The state file.
        path: PathBuf,
        /// The weights of the model that is to go on.
        expected: String,
        /// The weights that the state was saved with.
        found: String,
    },
    /// The configuration describes no model.
    #[error("the configuration in `{}` describes no model that can be built", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: recurra_models::Error,
    },
    /// The tokenizer cannot be read.
    #[error("cannot read the tokenizer `{}`", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: recurra_data::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Io { doing: "write" | "create", source, .. } => match source.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => {
                    "make room on the disk; what was saved before is whole".into()
                }
                _ => "choose a place that can be written; what was saved before is whole".into(),
            },
            Error::Io { .. } => return None,
            Error::Locked { .. } => "wait until it has ended, or choose another folder with --out".into(),
            Error::HoldsARun { .. } => "go on with it by --resume, or choose another folder with --out".into(),
            Error::NotEmpty { .. } => "choose another folder with --out".into(),
            Error::NoFolder { .. } | Error::NotAModel { .. } => "name the folder that `recurra train --out` wrote".into(),
            Error::NothingToResume { .. } => "name the folder of the run with --out, or leave out --resume".into(),
            Error::NoTrainingState { .. } => {
                "put its `training/last.safetensors` back, or train into another folder with --out: a run that begins here would overwrite the model".into()
            }
            Error::OpenedToRead { .. } => "open it with `ModelFolder::resume`".into(),
            Error::NotAFile { .. } => "name a regular file, or one that does not exist yet".into(),
            Error::TooLarge { .. } | Error::NotSafetensors { .. } => {
                "copy the file from its source again; it is damaged, or was made to do harm".into()
            }
            Error::NotAState { .. } => "name a file that `recurra generate --state-out` wrote".into(),
            Error::UnknownFormat { .. } => "install the version of recurra that wrote it, or a later one".into(),
            Error::WrongKind { .. } => "name the file that was written for this purpose".into(),
            Error::BadJson { .. } => "restore the file; it was edited or damaged".into(),
            // No word of the checkpoint before it: a run that is resumed has tried that one.
            Error::CutOff { .. } | Error::Altered { .. } => "use a copy of it, or make it again".into(),
            Error::MissingTensor { .. }
            | Error::UnexpectedTensor { .. }
            | Error::WrongShape { .. }
            | Error::WrongSize { .. } => "put the `config.json` beside it that belongs to these weights".into(),
            Error::NotFinite { .. } => "take the weights of an earlier step, from before training diverged".into(),
            Error::WrongType { .. } => "convert the weights to 32-bit floats before saving them".into(),
            Error::Mismatch { .. } | Error::VocabularySize { .. } => {
                "put back the file that was saved with this model".into()
            }
            Error::ConfigurationChanged { .. } => {
                "resume with the sizes and the tokenizer of the run, or choose another folder with --out".into()
            }
            Error::OtherModel { .. } => {
                "continue with the model that wrote the state, or start without --state-in".into()
            }
            Error::Model { source, .. } => return source.hint(),
            Error::Tokenizer { source, .. } => return source.hint(),
        })
    }

    /// Whether the file is damaged, so that the one saved before it should be used.
    pub fn is_damage(&self) -> bool {
        self.is_lasting_damage() || matches!(self, Error::Io { doing: "read", .. })
    }

    /// Whether the file itself is damaged, so that what it held is lost; a file that cannot be read now may be read later.
    pub fn is_lasting_damage(&self) -> bool {
        matches!(
            self,
            Error::CutOff { .. }
                | Error::Altered { .. }
                | Error::NotSafetensors { .. }
                | Error::NotFinite { .. }
                | Error::NotAFile { .. }
        )
    }

    /// For `map_err`: names what was tried, and on which path.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }
}

/// A shape as people write it: `(200, 64)`.
fn shape_text(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("({})", sizes.join(", "))
}
