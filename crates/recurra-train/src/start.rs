//! Where a run starts: with a new network, or with its checkpoint.

use std::path::Path;

use recurra_checkpoint::SavedTraining;
use recurra_data::Streams;
use recurra_models::{LanguageModel, LanguageModelConfig, State};
use recurra_tensor::{Isa, Method, Optimizer, Parameters};

use crate::averaging::Averaging;
use crate::corpus::TokenizedCorpus;
use crate::error::Error;
use crate::observer::{Event, Observer};
use crate::position::{Arithmetic, Position};
use crate::recipe::Recipe;

/// A run as it was saved, and its position.
pub(crate) type Checkpoint = (SavedTraining, Position);

/// The network that a run starts with, and where it stands.
pub(crate) struct Start {
    pub model: LanguageModel,
    pub parameters: Parameters<f32>,
    pub carried: State<f32>,
    pub position: Position,
    /// The step of the checkpoint, where there is one.
    pub resumed_step: Option<u64>,
    /// Whether the checkpoint is of a run with another length, of which it was another part.
    pub is_of_new_length: bool,
}

impl Start {
    /// A new network, before its first step.
    pub fn anew(
        recipe: &Recipe,
        config: &LanguageModelConfig,
        corpus: &TokenizedCorpus,
        optimizer: Optimizer,
    ) -> Result<Start, Error> {
        let counts = corpus.token_counts();
        let (model, parameters) = begin(config, optimizer, recipe.seed, Some(&counts))?;
        let carried = model.zero_state(recipe.batch);
        let position = Position::start(recipe.clone(), corpus.names());
        let (resumed_step, is_of_new_length) = (None, false);
        Ok(Start { model, parameters, carried, position, resumed_step, is_of_new_length })
    }

    /// The checkpoint of the run in `out`, which goes on with `recipe`.
    pub fn resumed(
        (saved, mut position): Checkpoint,
        recipe: &Recipe,
        corpus: &TokenizedCorpus,
        out: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Start, Error> {
        position.expect_texts(out, corpus)?;
        if let Some(message) = told_of_new_length(&position.recipe, recipe, position.average.n > 0)
        {
            observer.observe(&Event::Warned { message });
        }
        let is_of_new_length = position.recipe.length != recipe.length;
        position.recipe = recipe.clone();
        let resumed_step = Some(position.step);
        let SavedTraining { model, parameters, carried, .. } = saved;
        Ok(Start { model, parameters, carried, position, resumed_step, is_of_new_length })
    }

    /// Refuses a position that is none of this recipe and text.
    pub fn expect_within(&self, streams: &Streams, out: &Path) -> Result<(), Error> {
        let Start { model, carried, position, .. } = self;
        let zero: State<f32> = model.zero_state(position.recipe.batch);
        let state_fits =
            carried.parts().zip(zero.parts()).all(|(part, zero)| part.len() == zero.len());
        let is_within = position.window < streams.windows_per_epoch();
        if is_within && position.recipe.accumulate > 0 && state_fits {
            return Ok(());
        }
        let reason = "its position is none of this recipe and text".to_owned();
        Err(Error::Position { out: out.to_owned(), reason })
    }

    /// Takes note of the instruction set that the run goes on with, and tells if it was another one so far.
    pub fn with_arithmetic(mut self, isa: Isa, observer: &mut dyn Observer) -> Start {
        let arithmetic = Arithmetic::from(isa);
        let stored = self.position.arithmetic.as_ref();
        if let Some(message) = told_of_new_arithmetic(stored, &arithmetic) {
            observer.observe(&Event::Warned { message });
        }
        self.position.arithmetic = Some(arithmetic);
        self
    }
}

/// The part of the log frequencies that plain gradient descent begins with.
///
/// Measured on validation nats: AWD-LSTM at a rate of 30, 350 updates on a quarter of PTB, came to 6.09 from none, 6.15 from a half,
/// and stayed at 6.4 from ¾ and from all, since what a young network adds to good frequencies is noise, against which such rates
/// shut its gates for good. An LSTM of 192 at a rate of 20, 2,000 updates on the 33,278 words of WikiText-2, came to 5.58 from
/// none, 5.44 from a half and 5.43 from all. Optimizers that scale their updates need all: they take long to move so many biases
/// so far.
const SGD_POWER: f64 = 0.5;

/// A new network before its first update, which knows how often each token is in its text where that is given.
///
/// # Errors
/// There can be no such network.
pub(crate) fn begin(
    config: &LanguageModelConfig,
    optimizer: Optimizer,
    seed: u64,
    token_counts: Option<&[u64]>,
) -> Result<(LanguageModel, Parameters<f32>), Error> {
    let mut parameters = Parameters::new();
    let model = LanguageModel::new(config, &mut parameters)?;
    model.initialize(&mut parameters, seed);
    if let Some(counts) = token_counts {
        let power = if matches!(optimizer.method, Method::Sgd { .. }) { SGD_POWER } else { 1.0 };
        model.start_from_counts(&mut parameters, counts, power);
    }
    parameters.set_n_moments(optimizer.n_moments());
    Ok((model, parameters))
}

/// What a resumed run with another length does to the learning rate.
fn told_of_new_length(stored: &Recipe, resumed: &Recipe, has_average: bool) -> Option<String> {
    if stored.length == resumed.length {
        return None;
    }
    let schedule = resumed.schedule.follows_length().then(|| {
        let schedule = &resumed.schedule;
        format!("the schedule `{schedule}` spreads over the new length, so the learning rate goes on elsewhere than it stopped")
    });
    let is_tail = matches!(resumed.averaging, Averaging::Tail { .. });
    let average = (is_tail && has_average).then(|| {
        "the average that has begun goes on, so it reaches further back than that of a run of the new length".to_owned()
    });
    let told: Vec<String> = schedule.into_iter().chain(average).collect();
    let lengths = format!("the run was to have {}, now {}", stored.length, resumed.length);
    (!told.is_empty()).then(|| format!("{lengths}: {}", told.join("; ")))
}

/// What a resumed run on another instruction set does to its result.
fn told_of_new_arithmetic(stored: Option<&Arithmetic>, present: &Arithmetic) -> Option<String> {
    stored.filter(|stored| *stored != present).map(|stored| {
        format!(
            "the run was computed with {stored} so far and goes on with {present}: it will not end with the bits of a run on one of them"
        )
    })
}
