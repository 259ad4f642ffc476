//! The folder of a model, and who may write into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use recurra_data::LARGEST_TOKENIZER_BYTES;
use recurra_models::LanguageModelConfig;

use crate::config_file::{config_text, parse_config, read_config_text, read_text};
use crate::disk::{Disk, LocalDisk};
use crate::replace::{replace_by_text, temporary_name};
use crate::run_lock::RunLock;
use crate::{Error, Result};

pub(crate) const CARD: &str = "README.md";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const LAST: &str = "last.safetensors";
pub(crate) const LOCK: &str = "lock";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const PREVIOUS: &str = "previous.safetensors";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const TRAINING: &str = "training";

/// The folder of a model, opened to be read or held to be written.
pub struct ModelFolder {
    path: PathBuf,
    lock: Option<RunLock>,
    /// Whether `last.safetensors` is known to be whole, so that it may take the place of the one before it.
    last_is_whole: AtomicBool,
    disk: Box<dyn Disk>,
}

impl ModelFolder {
    /// Makes the folder of a new run and holds its lock.
    ///
    /// A run that stopped before its first checkpoint may be made again in its folder.
    ///
    /// # Errors
    /// When the folder holds a run or files that would be overwritten, is being written by another process, or cannot
    /// be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<ModelFolder> {
        let path = path.into();
        if !path.join(TRAINING).join(LOCK).exists() {
            Self::expect_new(&path)?;
        }
        let training = path.join(TRAINING);
        fs::create_dir_all(&training).map_err(Error::io("create", &path))?;
        let folder = Self::hold(path)?;
        // Asked again, now that nobody else can write.
        Self::refuse_a_run(&folder.path)?;
        for new in [&folder.path, folder.path.parent().unwrap_or(&folder.path)] {
            // A folder whose name did not outlive a power cut is as good as one that was never made.
            let _ = folder.disk.sync_folder(if new.as_os_str().is_empty() {
                Path::new(".")
            } else {
                new
            });
        }
        Ok(folder)
    }

    /// Finds out, and changes nothing, whether [`ModelFolder::create`] would refuse this folder for what it holds.
    ///
    /// # Errors
    /// It holds a run, or files that a run would write over.
    pub fn expect_new(path: &Path) -> Result<()> {
        Self::refuse_a_run(path)?;
        let is_of_a_run_that_never_began = path.join(TRAINING).join(LOCK).exists();
        let names = [CARD, CONFIG, TOKENIZER, TRAINING];
        match names.into_iter().find(|name| path.join(name).exists()) {
            Some(file) if !is_of_a_run_that_never_began => {
                Err(Error::NotEmpty { path: path.to_owned(), file: file.into() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a run was to begin in this folder and left nothing, having failed on its text, say, before its first step;
    /// and nobody is beginning one now.
    pub fn holds_no_run(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let names = [MODEL, CONFIG, TOKENIZER, CARD].map(|name| path.join(name));
        let checkpoints = [LAST, PREVIOUS].map(|name| path.join(TRAINING).join(name));
        path.join(TRAINING).join(LOCK).exists()
            && !names.iter().chain(&checkpoints).any(|file| file.exists())
            && Self::hold(path.to_owned()).is_ok()
    }

    /// Holds the lock of a folder that holds a run.
    ///
    /// # Errors
    /// When there is no run, or it is being written by another process.
    pub fn resume(path: impl Into<PathBuf>) -> Result<ModelFolder> {
        let path = path.into();
        let is_ours =
            [LOCK, LAST, PREVIOUS].iter().any(|name| path.join(TRAINING).join(name).exists());
        if is_ours { Self::hold(path) } else { Err(Error::NothingToResume { path }) }
    }

    /// Opens a folder to read; others may write into it meanwhile.
    ///
    /// # Errors
    /// When there is no such folder, or it holds no model.
    pub fn open(path: impl Into<PathBuf>) -> Result<ModelFolder> {
        let path = path.into();
        if !path.exists() {
            return Err(Error::NoFolder { path });
        }
        if let Some(file) = [CONFIG, TOKENIZER].into_iter().find(|file| !path.join(file).is_file())
        {
            return Err(Error::NotAModel { path, file });
        }
        Ok(Self {
            path,
            lock: None,
            last_is_whole: AtomicBool::new(false),
            disk: Box::new(LocalDisk),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of everything that only training needs: checkpoints, metrics, events.
    pub fn training_path(&self) -> PathBuf {
        self.path.join(TRAINING)
    }

    /// Whether there is a model, whole or not.
    pub fn holds_a_model(&self) -> bool {
        self.path.join(MODEL).exists()
    }

    /// Removes what a run saved that could not begin, so that another may begin in its place.
    ///
    /// # Errors
    /// When the folder was opened to read.
    pub fn forget_the_run(&self) -> Result<()> {
        self.expect_held()?;
        let training = self.training_path();
        let checkpoints = [LAST, PREVIOUS].map(|name| training.join(name));
        let model = [MODEL, CONFIG, TOKENIZER].map(|name| self.path.join(name));
        for file in checkpoints.into_iter().chain(model) {
            // What cannot be removed was not to be written either, and that has been said.
            let _ = self.disk.remove(&file);
        }
        Ok(())
    }

    /// Writes `config.json` and `tokenizer.json`, to which every checkpoint is bound.
    ///
    /// # Errors
    /// When the folder holds weights that were saved with others, or the disk refuses.
    pub fn save_config(&self, config: &LanguageModelConfig, tokenizer_json: &str) -> Result<()> {
        self.expect_held()?;
        let holds_weights = Self::holds_a_run(&self.path);
        let config_path = self.path.join(CONFIG);
        // A later version may write the same configuration in another way: then the old file stays, byte for byte.
        let same = config_path.exists() && self.load_config().is_ok_and(|found| found == *config);
        if !same {
            if holds_weights {
                return Err(Error::ConfigurationChanged { path: config_path });
            }
            replace_by_text(&*self.disk, &config_path, &config_text(config))?;
        }
        let tokenizer_path = self.path.join(TOKENIZER);
        if holds_weights && read_text(&tokenizer_path, LARGEST_TOKENIZER_BYTES)? != tokenizer_json {
            return Err(Error::ConfigurationChanged { path: tokenizer_path });
        }
        replace_by_text(&*self.disk, &tokenizer_path, tokenizer_json)
    }

    /// Writes the model card, `README.md`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save_card(&self, markdown: &str) -> Result<()> {
        self.expect_held()?;
        replace_by_text(&*self.disk, &self.path.join(CARD), markdown)
    }

    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, or was written by a later version.
    pub fn load_config(&self) -> Result<LanguageModelConfig> {
        parse_config(&self.read_config_text()?, &self.path.join(CONFIG))
    }

    /// The text of `config.json`.
    pub(crate) fn read_config_text(&self) -> Result<String> {
        read_config_text(&self.path.join(CONFIG))
    }

    /// The text of `tokenizer.json`.
    pub(crate) fn read_tokenizer(&self) -> Result<String> {
        read_text(&self.path.join(TOKENIZER), LARGEST_TOKENIZER_BYTES)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn last_is_whole(&self) -> bool {
        self.last_is_whole.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last_is_whole(&self, whole: bool) {
        self.last_is_whole.store(whole, Ordering::Relaxed);
    }

    pub(crate) fn expect_held(&self) -> Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(Error::OpenedToRead { path: self.path.clone() }),
        }
    }

    #[cfg(test)]
    pub(crate) fn set_disk(&mut self, disk: Box<dyn Disk>) {
        self.disk = disk;
    }

    fn hold(path: PathBuf) -> Result<ModelFolder> {
        let training = path.join(TRAINING);
        let lock = RunLock::take(&training.join(LOCK), &path)?;
        let disk = Box::new(LocalDisk);
        // What a run that was killed while saving left behind; where it cannot be removed, it does no harm.
        for name in [CARD, CONFIG, MODEL, TOKENIZER] {
            let _ = disk.remove(&temporary_name(&path.join(name)));
        }
        let _ = disk.remove(&temporary_name(&training.join(LAST)));
        Ok(Self { path, lock: Some(lock), last_is_whole: AtomicBool::new(false), disk })
    }

    fn holds_a_run(path: &Path) -> bool {
        let training = path.join(TRAINING);
        path.join(MODEL).exists()
            || training.join(LAST).exists()
            || training.join(PREVIOUS).exists()
    }

    fn refuse_a_run(path: &Path) -> Result<()> {
        if Self::holds_a_run(path) { Err(Error::HoldsARun { path: path.into() }) } else { Ok(()) }
    }
}

impl std::fmt::Debug for ModelFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFolder")
            .field("path", &self.path)
            .field("held", &self.lock.is_some())
            .finish()
    }
}
