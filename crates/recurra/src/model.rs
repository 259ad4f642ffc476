//! A trained model, ready to be used.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use recurra_checkpoint::{ModelFolder, SavedModel, StateFile};
use recurra_data::{Text, cache_dir};
use recurra_inference::{Evaluation, GenerateOptions, Generator, Memory, ModelRef, score_text};
use recurra_metrics::LanguageScore;
use recurra_models::{LanguageModel, Prepared};
use recurra_tensor::step::Storage;
use recurra_tensor::{Cpu, Parameters};

use crate::Result;

/// A model from its folder, and what computes with it.
pub struct Model {
    cpu: Cpu,
    saved: SavedModel,
    storage: Option<Storage>,
    prepared: OnceLock<Prepared>,
}

impl Model {
    /// Reads a model, whole and checked, to be used with all cores of this machine.
    ///
    /// # Errors
    /// When the folder holds no model, or a file in it was cut off, altered or exchanged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Model> {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        Model::open_on(Cpu::new(n_cores)?, folder)
    }

    /// The same, with a given instruction set and number of threads.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_on(cpu: Cpu, folder: impl AsRef<Path>) -> Result<Model> {
        let saved = ModelFolder::open(folder.as_ref())?.load_model()?;
        ModelRef::of(&cpu, &saved)?;
        Ok(Model { cpu, saved, storage: None, prepared: OnceLock::new() })
    }

    /// The same as [`open_on`](Model::open_on) and then [`with_storage`](Model::with_storage), where one was asked for, for a
    /// model that is going to write: its weights are laid out while the files are still being checked.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_to_write(
        cpu: Cpu,
        folder: impl AsRef<Path>,
        storage: Option<Storage>,
    ) -> Result<Model> {
        let lay_out = |model: &LanguageModel, parameters: &Parameters<f32>| {
            model.prepare(&cpu, parameters, storage.unwrap_or(Storage::FASTEST))
        };
        let (saved, prepared) = ModelFolder::open(folder.as_ref())?.load_model_and(lay_out)?;
        ModelRef::of(&cpu, &saved)?;
        Ok(Model { cpu, saved, storage, prepared: OnceLock::from(prepared) })
    }

    /// The same model, used with its weights stored like this. Without it, texts are written with the storage that is fastest
    /// and costs nothing to speak of ([`Storage::FASTEST`]), and read in the precision of the instruction set.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> Model {
        Model { storage: Some(storage), prepared: OnceLock::new(), ..self }
    }

    /// How weights are stored with which texts are written: as was asked for, or as training has them where the tape makes the steps.
    pub fn storage(&self) -> Storage {
        self.prepared().storage()
    }

    /// Weights, configuration, tokenizer, and what is known about them.
    pub fn saved(&self) -> &SavedModel {
        &self.saved
    }

    /// The model as the functions of [`inference`](crate::inference) read texts with it.
    pub fn reference(&self) -> ModelRef<'_> {
        let bare =
            ModelRef::of(&self.cpu, &self.saved).expect("it was checked when the model was opened");
        // Whole windows are faster than single steps, where they are as exact.
        let is_asked_for = self.storage.is_some_and(|storage| storage != bare.storage());
        // Of cells that the tape steps with there is one storage, whatever was asked for.
        match is_asked_for && self.prepared().storage() != bare.storage() {
            true => bare.with_prepared(self.prepared()),
            false => bare,
        }
    }

    /// The model as texts are written with it, prepared at the first use.
    pub fn reference_for_writing(&self) -> ModelRef<'_> {
        self.reference().with_prepared(self.prepared())
    }

    fn prepared(&self) -> &Prepared {
        let SavedModel { model, parameters, .. } = &self.saved;
        let storage = self.storage.unwrap_or(Storage::FASTEST);
        self.prepared.get_or_init(|| model.prepare(&self.cpu, parameters, storage))
    }

    /// How well it predicts a text, with the signature of how that was measured.
    ///
    /// # Errors
    /// When the text cannot be read, or has fewer than two tokens.
    pub fn evaluate(&self, text: &Text) -> Result<LanguageScore> {
        let mut to_the_end = |_, _| ControlFlow::Continue(());
        Ok(score_text(self.reference(), text, &cache_dir(), &mut to_the_end)?)
    }

    /// Scores with what helps a model, a temperature, a cache of the text or weights that follow it; the model stays as it is.
    pub fn evaluation(&self) -> Evaluation<'_> {
        Evaluation::new(self.reference())
    }

    /// Writes on from a prompt; the same seed, the same text.
    ///
    /// # Errors
    /// When an option is outside of its range.
    pub fn generate(&self, prompt: &str, options: &GenerateOptions, seed: u64) -> Result<String> {
        let mut generator = self.generator(options, seed)?;
        generator.feed(prompt)?;
        let mut text = String::new();
        while let Some(piece) = generator.next_piece()? {
            text.push_str(piece);
        }
        Ok(text)
    }

    /// A writer that begins with nothing, hands over text as it comes, and knows where it stands.
    ///
    /// # Errors
    /// When an option is outside of its range.
    pub fn generator(&self, options: &GenerateOptions, seed: u64) -> Result<Generator<'_>> {
        Ok(Generator::new(self.reference_for_writing(), options, seed)?)
    }

    /// A writer that goes on from where `memory` stands, bit for bit.
    ///
    /// # Errors
    /// When an option is outside of its range.
    pub fn resume(&self, options: &GenerateOptions, memory: Memory) -> Result<Generator<'_>> {
        Ok(Generator::resume(self.reference_for_writing(), options, memory)?)
    }

    /// Saves where a text stands, in a file (a few kilobytes for a recurrent model) that only this model can go on from.
    ///
    /// # Errors
    /// When the file cannot be written; then the one that was there is whole.
    pub fn save_memory(&self, memory: &Memory, path: impl AsRef<Path>) -> Result<()> {
        let SavedModel { model, weights_sha256, .. } = &self.saved;
        Ok(memory.to_file().save(path.as_ref(), model, weights_sha256)?)
    }

    /// Reads where a text stands.
    ///
    /// # Errors
    /// When the file was cut off or altered, or belongs to another model.
    pub fn load_memory(&self, path: impl AsRef<Path>) -> Result<Memory> {
        let SavedModel { model, weights_sha256, .. } = &self.saved;
        let file = StateFile::load(path.as_ref(), model, weights_sha256)?;
        Ok(Memory::from_file(self.reference(), file)?)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("config", &self.saved.config).finish_non_exhaustive()
    }
}
