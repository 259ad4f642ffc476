//! A small model, its tokenizer and a run, with numbers that no initialisation would make.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use recurra_models::{CellKind, LanguageModel, LanguageModelConfig, State};
use recurra_tensor::Parameters;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{ModelFolder, ModelNotes, Result, SavedTraining, TrainingState};

/// A tokenizer of five words.
pub fn tokenizer_json() -> String {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, "unk_token": "<unk>"}
    })
    .to_string()
}

pub fn config() -> LanguageModelConfig {
    LanguageModelConfig {
        cell: CellKind::Lstm,
        vocab_size: 5,
        embed_size: 2,
        hidden_sizes: vec![3, 2],
        tied: false,
        dropout: 0.2,
        ..LanguageModelConfig::new(5)
    }
}

/// A run in memory; each `seed` gives another, the even ones with an average.
#[derive(Debug, Clone)]
pub struct Run {
    pub model: LanguageModel,
    pub parameters: Parameters<f32>,
    pub carried: State<f32>,
    pub progress: Value,
}

impl Run {
    pub fn new(seed: u32) -> Run {
        Run::of(&config(), seed)
    }

    pub fn of(config: &LanguageModelConfig, seed: u32) -> Run {
        let mut parameters = Parameters::new();
        let model = LanguageModel::new(config, &mut parameters).unwrap();
        parameters.set_n_moments(2);
        parameters.set_average(seed.is_multiple_of(2));
        let mut numbers = Numbers(seed);
        for id in parameters.ids() {
            numbers.fill(parameters.value_mut(id));
            (0..2).for_each(|slot| numbers.fill(parameters.moments_mut(slot, id)));
            if parameters.has_average() {
                numbers.fill(parameters.average_mut(id));
            }
        }
        let mut carried = model.zero_state(3);
        carried
            .layers
            .iter_mut()
            .flat_map(|cell| &mut cell.parts)
            .for_each(|part| numbers.fill(part));
        // Decimal fractions that a careless reader of JSON rounds to a neighbour.
        let progress = json!({"step": seed, "best": 0.1 + 0.2, "lr": 1.0 / 3.0, "seconds": 2.0f64.sqrt() * 1e-9});
        Run { model, parameters, carried, progress }
    }

    pub fn state(&self) -> TrainingState<'_> {
        TrainingState {
            parameters: &self.parameters,
            carried: &self.carried,
            progress: &self.progress,
        }
    }

    pub fn save_model(&self, folder: &ModelFolder) -> Result<()> {
        folder.save_model(
            self.model.config(),
            &tokenizer_json(),
            &self.parameters,
            &ModelNotes::default(),
        )
    }

    pub fn save_training(&self, folder: &ModelFolder) -> Result<()> {
        folder.save_training(&self.state())
    }

    #[track_caller]
    pub fn check(&self, saved: &SavedTraining) {
        assert_eq!(saved.progress, self.progress);
        assert_eq!(saved.config, *self.model.config());
        check_parameters(&saved.parameters, &self.parameters);
        assert_eq!(state_bits(&saved.carried), state_bits(&self.carried));
    }
}

/// The same names, shapes and bits, optimizer state included.
#[track_caller]
pub fn check_parameters(actual: &Parameters<f32>, expected: &Parameters<f32>) {
    assert_eq!(actual.len(), expected.len());
    assert_eq!(actual.n_moments(), expected.n_moments());
    assert_eq!(actual.has_average(), expected.has_average());
    for id in expected.ids() {
        assert_eq!((actual.name(id), actual.shape(id)), (expected.name(id), expected.shape(id)));
        assert_eq!(bits(actual.value(id)), bits(expected.value(id)), "{}", expected.name(id));
        if expected.has_average() {
            assert_eq!(
                bits(actual.average(id)),
                bits(expected.average(id)),
                "{}",
                expected.name(id)
            );
        }
        for slot in 0..expected.n_moments() {
            assert_eq!(
                bits(actual.moments(slot, id)),
                bits(expected.moments(slot, id)),
                "{}",
                expected.name(id)
            );
        }
    }
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub fn state_bits(state: &State<f32>) -> Vec<Vec<u32>> {
    state.layers.iter().flat_map(|cell| &cell.parts).map(|part| bits(part)).collect()
}

/// A folder with a run that has saved a model and two checkpoints, of the seeds 1 and 2.
pub fn saved_run(path: &Path) -> ModelFolder {
    let folder = ModelFolder::create(path).unwrap();
    Run::new(2).save_model(&folder).unwrap();
    Run::new(1).save_training(&folder).unwrap();
    Run::new(2).save_training(&folder).unwrap();
    folder
}

/// Puts the digest that they have now into the bytes of a file.
pub fn put_digest(bytes: &mut [u8]) {
    let start = 8 + r#"{"__metadata__":{"recurra.digest":""#.len();
    bytes[start..start + 64].fill(b'0');
    let digest: String = Sha256::digest(&*bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    bytes[start..start + 64].copy_from_slice(digest.as_bytes());
}

/// Copies a folder and the folders in it.
pub fn copy_folder(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (source, target) =
            (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if source.is_dir() {
            copy_folder(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
    to.into()
}

/// Calls `check` with the file cut off after every `stride` bytes, and leaves it whole.
pub fn for_each_cut(path: &Path, stride: usize, mut check: impl FnMut(usize)) {
    let whole = fs::read(path).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for len in (0..whole.len()).step_by(stride).rev() {
        file.set_len(len as u64).unwrap();
        check(len);
    }
    fs::write(path, whole).unwrap();
}

/// Calls `check` with one byte altered, in turn every `stride`th, and leaves the file whole.
pub fn for_each_altered_byte(path: &Path, stride: usize, mut check: impl FnMut(usize, u8)) {
    let whole = fs::read(path).unwrap();
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    let mut put = |idx: usize, byte: u8| {
        file.seek(SeekFrom::Start(idx as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    for idx in (0..whole.len()).step_by(stride) {
        // One bit, the case of a letter, and all bits.
        for mask in [1, 0x20, 0xff] {
            put(idx, whole[idx] ^ mask);
            check(idx, mask);
        }
        put(idx, whole[idx]);
    }
    assert!(fs::read(path).unwrap() == whole);
}

/// Finite numbers of every size and sign, with a negative zero and the largest and smallest of both signs among them.
struct Numbers(u32);

impl Numbers {
    fn fill(&mut self, values: &mut [f32]) {
        const SPECIAL: [u32; 5] = [0x8000_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x0000_0001, 0x8000_0001];
        const LARGEST: u32 = 0x7f7f_ffff;
        for (idx, value) in values.iter_mut().enumerate() {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = f32::from_bits(match idx % 7 {
                6 => SPECIAL[idx % 5],
                _ if self.0 & !(1 << 31) <= LARGEST => self.0,
                _ => self.0 ^ 1 << 30, // not finite
            });
        }
    }
}
