//! `model.safetensors`: the best weights, and what is known about them.

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use recurra_data::Tokenizer;
use recurra_metrics::LanguageScore;
use recurra_models::{LanguageModel, LanguageModelConfig, State};
use recurra_tensor::Parameters;
use serde::{Deserialize, Serialize};

use crate::config_file::parse_config;
use crate::hash::{sha256, weights_sha256};
use crate::layout::Layout;
use crate::model_folder::{CONFIG, MODEL, ModelFolder, TOKENIZER};
use crate::replace::replace;
use crate::tensor_file::{TensorReader, write_tensors};
use crate::{Error, Result};

/// A model of so many numbers may be built whatever its file says.
const HARMLESS_SIZE: u128 = 1 << 22;
const KIND: &str = "model";
const NOTES_KEY: &str = "recurra.notes";
pub(crate) const CONFIG_KEY: &str = "recurra.config_sha256";
pub(crate) const TOKENIZER_KEY: &str = "recurra.tokenizer_sha256";
pub(crate) const WEIGHTS_KEY: &str = "recurra.weights_sha256";

/// A model that was read from its folder.
#[derive(Debug)]
pub struct SavedModel {
    /// Its kind and sizes.
    pub config: LanguageModelConfig,
    /// The network, which names the parameters.
    pub model: LanguageModel,
    /// The weights.
    pub parameters: Parameters<f32>,
    /// The tokenizer it was trained with.
    pub tokenizer: Tokenizer,
    /// The identity of the weights, as [`weights_sha256`] gives it.
    pub weights_sha256: String,
    /// What was noted when it was saved; `None` in files made by others.
    pub notes: Option<ModelNotes>,
}

/// A model without its weights.
#[derive(Debug)]
pub struct ModelDescription {
    /// Its kind and sizes.
    pub config: LanguageModelConfig,
    /// The tokenizer it was trained with.
    pub tokenizer: Tokenizer,
    /// What was noted when it was saved; `None` in files made by others.
    pub notes: Option<ModelNotes>,
}

/// What is known about a model besides its weights: how it came to be, and how good it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelNotes {
    /// The version of Recurra that trained it.
    pub version: String,
    /// Optimizer steps up to these weights.
    pub step: u64,
    /// Tokens seen up to these weights.
    pub tokens: u64,
    /// Seconds of training up to these weights.
    pub seconds: f64,
    /// The seed of the run.
    pub seed: u64,
    /// What it was trained on, for people.
    pub data: String,
    /// Scores by the name of the text: `validation`, `test`.
    pub scores: BTreeMap<String, LanguageScore>,
    /// Anything else that the trainer wants to keep, such as its recipe.
    pub extra: serde_json::Value,
}

impl ModelFolder {
    /// Saves a model: `config.json`, `tokenizer.json` and `model.safetensors`, each replaced by a whole one.
    ///
    /// # Errors
    /// When the folder was opened to read, holds weights with another configuration or tokenizer, or the disk
    /// refuses; the model that was there is whole.
    pub fn save_model(
        &self,
        config: &LanguageModelConfig,
        tokenizer_json: &str,
        parameters: &Parameters<f32>,
        notes: &ModelNotes,
    ) -> Result<()> {
        self.save_config(config, tokenizer_json)?;
        let config_text = self.read_config_text()?;
        let metadata = BTreeMap::from([
            (CONFIG_KEY, sha256(config_text.as_bytes())),
            (TOKENIZER_KEY, sha256(tokenizer_json.as_bytes())),
            (WEIGHTS_KEY, weights_sha256(parameters)),
            (
                NOTES_KEY,
                serde_json::to_string(notes).expect("notes have names, numbers and JSON only"),
            ),
        ]);
        let no_state = State { layers: vec![] };
        let layout = Layout::default().with_values(parameters);
        replace(self.disk(), &self.path().join(MODEL), None, |file| {
            write_tensors(file, KIND, &metadata, layout.tensors(parameters, &no_state))
        })
    }

    /// Reads the model.
    ///
    /// # Errors
    /// When there is none; when a file was cut off, altered or exchanged; when weights and configuration do not fit.
    pub fn load_model(&self) -> Result<SavedModel> {
        self.load_model_and(|_, _| ()).map(|(saved, ())| saved)
    }

    /// Reads the model, and makes something of its weights while their digest is still being computed: what `early` makes
    /// of weights that were altered is dropped.
    ///
    /// # Errors
    /// As [`load_model`](Self::load_model).
    pub fn load_model_and<T>(
        &self,
        early: impl FnOnce(&LanguageModel, &Parameters<f32>) -> T,
    ) -> Result<(SavedModel, T)> {
        let Described { reader, config, tokenizer_json } = self.open_model()?;
        let named = reader.metadata(WEIGHTS_KEY).filter(|_| reader.is_ours()).map(str::to_owned);
        let notes = notes(&reader);
        // Tokenizer and weights at once: each takes about as long as the digest, which a third thread computes.
        let (tokenizer, weights) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| self.tokenizer(&tokenizer_json, &config));
            let weights = self.weights(&config, reader, early);
            (tokenizer.join(), weights)
        });
        let tokenizer = tokenizer.unwrap_or_else(|panic| resume_unwind(panic))?;
        let (model, parameters, made) = weights?;
        let weights_sha256 = named.unwrap_or_else(|| weights_sha256(&parameters));
        let saved = SavedModel { config, model, parameters, tokenizer, weights_sha256, notes };
        Ok((saved, made))
    }

    /// Reads everything about the model but its weights, whose bytes are only checked.
    ///
    /// # Errors
    /// When there is none; when a file was cut off, altered or exchanged.
    pub fn describe_model(&self) -> Result<ModelDescription> {
        let Described { reader, config, tokenizer_json } = self.open_model()?;
        let notes = notes(&reader);
        reader.skip_to_the_end()?;
        let tokenizer = self.tokenizer(&tokenizer_json, &config)?;
        Ok(ModelDescription { config, tokenizer, notes })
    }

    fn open_model(&self) -> Result<Described> {
        let path = self.path().join(MODEL);
        if !path.exists() {
            return Err(Error::NotAModel { path: self.path().into(), file: MODEL });
        }
        self.check_description(TensorReader::open(&path)?.expect_kind(KIND)?)
    }

    fn tokenizer(&self, json: &str, config: &LanguageModelConfig) -> Result<Tokenizer> {
        let path = || self.path().join(TOKENIZER);
        let tokenizer = Tokenizer::from_json(json)
            .map_err(|source| Error::Tokenizer { path: path(), source })?;
        if tokenizer.vocab_size() != config.vocab_size {
            return Err(Error::VocabularySize {
                path: self.path().into(),
                tokenizer: tokenizer.vocab_size(),
                model: config.vocab_size,
            });
        }
        Ok(tokenizer)
    }

    fn weights<T>(
        &self,
        config: &LanguageModelConfig,
        reader: TensorReader,
        early: impl FnOnce(&LanguageModel, &Parameters<f32>) -> T,
    ) -> Result<(LanguageModel, Parameters<f32>, T)> {
        let (model, mut parameters) = self.build(config, &reader)?;
        let layout = Layout::default().with_values(&parameters);
        let reader = layout.read(reader, &mut parameters, &mut State { layers: vec![] })?;
        let made = early(&model, &parameters);
        reader.finish()?;
        Ok((model, parameters, made))
    }

    /// Reads `config.json` and `tokenizer.json` and checks that they are the ones which the checkpoint names.
    pub(crate) fn check_description(&self, reader: TensorReader) -> Result<Described> {
        let (config_text, tokenizer_json) = (self.read_config_text()?, self.read_tokenizer()?);
        for (key, name, text) in
            [(CONFIG_KEY, CONFIG, &config_text), (TOKENIZER_KEY, TOKENIZER, &tokenizer_json)]
        {
            let (found, expected) =
                (sha256(text.as_bytes()), reader.metadata(key).map(str::to_owned));
            match expected {
                Some(expected) if expected != found => {
                    let (path, saved_with) = (self.path().join(name), reader.path().to_owned());
                    return Err(reader.blame(Error::Mismatch {
                        path,
                        saved_with,
                        expected,
                        found,
                    }));
                }
                _ => {}
            }
        }
        let config = parse_config(&config_text, &self.path().join(CONFIG))?;
        let no_model = |source| Error::Model { path: self.path().join(CONFIG), source };
        config.check().map_err(no_model)?;
        Ok(Described { reader, config, tokenizer_json })
    }

    /// Builds the network of a configuration with parameters of zero, unless the file has far too few numbers for it.
    pub(crate) fn build(
        &self,
        config: &LanguageModelConfig,
        reader: &TensorReader,
    ) -> Result<(LanguageModel, Parameters<f32>)> {
        // Where the two differ a little, the tensor that differs is named later. Where they differ wildly, a few bytes
        // of JSON must not take all memory.
        let (expected, found) = (config.n_parameters(), reader.n_values());
        if expected > u128::from(found).saturating_mul(4).max(HARMLESS_SIZE) {
            return Err(Error::WrongSize { path: reader.path().into(), expected, found });
        }
        let mut parameters = Parameters::new();
        let no_model = |source| Error::Model { path: self.path().join(CONFIG), source };
        let model = LanguageModel::new(config, &mut parameters).map_err(no_model)?;
        Ok((model, parameters))
    }
}

/// Notes of a later version may not be readable; the model is, all the same.
fn notes(reader: &TensorReader) -> Option<ModelNotes> {
    reader.metadata(NOTES_KEY).and_then(|notes| serde_json::from_str(notes).ok())
}

/// A checkpoint with the configuration and the tokenizer that belong to it.
#[derive(Debug)]
pub(crate) struct Described {
    pub reader: TensorReader,
    pub config: LanguageModelConfig,
    pub tokenizer_json: String,
}
