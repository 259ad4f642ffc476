//! What a run is asked to do.

use std::path::PathBuf;

use recurra_data::Text;
use recurra_data::storybook::Language;
use recurra_tensor::Precision;

use crate::recipe::RecipeOptions;

/// Where the training text comes from.
#[derive(Debug, Clone)]
pub enum Corpus {
    /// A text of the user's own.
    Text(Text),
    /// The stories inside the program, whose exact entropy is known.
    Storybook {
        /// Their language.
        language: Language,
        /// How much to tell for training; a twentieth as much again is told for validation.
        bytes: usize,
    },
}

impl Corpus {
    /// Ten megabytes of stories: more than a first run can read twice.
    pub fn storybook(language: Language) -> Corpus {
        Corpus::Storybook { language, bytes: 10_000_000 }
    }
}

/// What a run is asked to do. Only [`Settings::new`]'s two are needed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The training text.
    pub corpus: Corpus,
    /// The validation text; without one, the last tenth of the training text is held out, or 5 MB of it.
    pub valid: Option<Text>,
    /// A text to score with the best weights at the end.
    pub test: Option<Text>,
    /// The model folder.
    pub out: PathBuf,
    /// Go on with the run in `out`; without one there, begin it.
    pub resume: bool,
    /// Everything that decides what is computed.
    pub recipe: RecipeOptions,
    /// Threads; the result does not depend on them. All processors if not given.
    pub threads: Option<usize>,
    /// How numbers go into products; what is fastest here when not given.
    pub precision: Option<Precision>,
    /// Where token files are kept; the user's cache folder if not given.
    pub cache: Option<PathBuf>,
    /// Seconds between two checkpoints, about. The result does not depend on them.
    pub save_every_seconds: f64,
    /// How many tokens the model writes, some times in a run, for people to see it learn; 0 for none.
    pub sample_tokens: usize,
}

impl Settings {
    /// Training on `corpus` into the folder `out`, with everything else decided from the corpus.
    pub fn new(corpus: Corpus, out: impl Into<PathBuf>) -> Settings {
        Settings {
            corpus,
            valid: None,
            test: None,
            out: out.into(),
            resume: false,
            recipe: RecipeOptions::default(),
            threads: None,
            precision: None,
            cache: None,
            save_every_seconds: 30.0,
            sample_tokens: 120,
        }
    }
}
