//! The end of a run: the last checkpoint, the scores that can be trusted, the model card and the report.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use recurra_checkpoint::{ModelNotes, SavedModel, weights_sha256};
use recurra_data::TokenFile;
use recurra_data::storybook::Storybook;
use recurra_inference::{Kept, ModelRef, dependencies, score};
use recurra_metrics::LanguageScore;
use recurra_tensor::{Tape, Window};

use crate::corpus::{SCORED_ROLES, VALID_BOOK};
use crate::error::Error;
use crate::observer::{Event, StopReason};
use crate::recipe::Length;
use crate::record::ModelCard;
use crate::report::Report;
use crate::run::Run;
use crate::settings::Corpus;

/// Stories whose dependencies are probed at the end, and the tokens a model reads for each, candidates included.
const PROBED_STORIES: u64 = 16;
const TOKENS_PER_PROBED_STORY: f64 = 4000.0;

/// Scores by the texts that they are of.
type Scores = Vec<(&'static str, LanguageScore)>;

impl Run<'_> {
    /// Takes note of what is read at the end of the run, and measures what it will take, so that a budget can keep that
    /// time free.
    pub(crate) fn expect_the_end(&mut self) {
        if !matches!(self.recipe.length, Length::Budget(_)) {
            return;
        }
        let n_test = self.corpus.test.as_ref().map_or(0, |test| test.tokens.len()) as f64;
        let n_probed = match self.settings.corpus {
            Corpus::Storybook { .. } => PROBED_STORIES as f64 * TOKENS_PER_PROBED_STORY,
            Corpus::Text(_) => 0.0,
        };
        self.pace.costs.valid_tokens = self.corpus.valid.tokens.len() as f64;
        self.pace.costs.other_tokens = n_test + n_probed;
        let started = Instant::now();
        self.validation.loss_nats(&self.cpu, &self.model, &self.parameters, 1);
        let n_windows = self.validation.n_windows() as f64;
        self.pace.costs.validation.note(started.elapsed().as_secs_f64() * n_windows);
        self.measure_scoring();
        // A token that is written costs no less than one that is read, and the choice comes on top.
        let token_seconds = self.pace.costs.scored_token.seconds();
        self.pace.costs.sample.note(2.0 * self.settings.sample_tokens as f64 * token_seconds);
    }

    /// Measures what scoring costs on the machine as busy as it is now.
    pub(crate) fn measure_scoring(&mut self) {
        if matches!(self.recipe.length, Length::Budget(_)) {
            let token_seconds = self.seconds_per_token();
            self.pace.costs.scored_token.note(token_seconds);
        }
    }

    /// The last validation and checkpoint, the scores of the best weights, the card and the report.
    pub(crate) fn finish(
        mut self,
        stop_reason: StopReason,
        stop: &AtomicBool,
    ) -> Result<Report, Error> {
        self.observer.observe(&Event::Stopped { step: self.position.step, reason: &stop_reason });
        let is_interrupted = matches!(stop_reason, StopReason::Interrupted { .. });
        if !is_interrupted && self.position.validated_step != Some(self.position.step) {
            self.validate()?;
        }
        if !is_interrupted && self.sample.as_ref().is_none_or(|s| s.step != self.position.step) {
            self.show_sample();
        }
        let is_saved = self.saved_step == Some(self.position.step);
        // Where no validation has chosen weights yet, the model is those of now.
        let is_unchosen = self.position.best.is_none();
        if (!is_saved || is_unchosen) && self.is_sound() {
            if !is_saved {
                self.save()?;
            }
            if is_unchosen {
                self.save_model(&self.notes())?;
            }
        }
        // Whoever asked to stop does not want to wait for scores.
        let scores = if is_interrupted { vec![] } else { self.scores(stop)? };
        let kept = if is_interrupted { vec![] } else { self.kept_dependencies(stop)? };
        let last_sha256 = self.with_weights_that_count(|run| weights_sha256(&run.parameters));
        self.save_card(&scores)?;
        Ok(self.report(stop_reason, scores, kept, last_sha256))
    }

    /// The scores of the best weights, which go into the model, where `recurra info` finds them.
    fn scores(&mut self, stop: &AtomicBool) -> Result<Scores, Error> {
        self.choose_scored_part();
        let best = self.folder.load_model()?;
        let mut scores = self.score_texts(&best, stop)?;
        // Of a text that was not read to its end, a score that these weights have already stays.
        for role in SCORED_ROLES {
            let is_scored = scores.iter().any(|(of, _)| *of == role);
            let before = best.notes.as_ref().and_then(|notes| notes.scores.get(role));
            scores.extend(before.filter(|_| !is_scored).map(|score| (role, score.clone())));
        }
        let named = scores.iter().map(|(role, score)| ((*role).to_owned(), score.clone()));
        self.save_scores(best, named.collect())?;
        Ok(scores)
    }

    /// Scores validation and test text at batch 1 with the state carried from the first token to the last; fewer if `stop` is
    /// set meanwhile.
    fn score_texts(&mut self, best: &SavedModel, stop: &AtomicBool) -> Result<Scores, Error> {
        let model = ModelRef::of(&self.cpu, best)?;
        let valid = match self.scored_valid() {
            Err(Error::Data(recurra_data::Error::Stopped { .. })) => return Ok(vec![]),
            valid => valid?,
        };
        let test = self.corpus.test.as_ref().map(|test| test.tokens.clone());
        let texts = SCORED_ROLES.into_iter().zip([Some(valid), test]);
        let mut scores = Vec::new();
        for (role, tokens) in texts.filter_map(|(role, tokens)| Some((role, tokens?))) {
            let mut go_on = |done, total| {
                self.observer.observe(&Event::Scoring { role, done, total });
                match stop.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            match score(model, &mut self.workspace, &tokens, &mut go_on) {
                Ok(score) => {
                    self.observer.observe(&Event::Scored { role, score: &score });
                    scores.push((role, score));
                }
                Err(recurra_inference::Error::Stopped { .. }) => {
                    let message = format!(
                        "the {role} text was not scored to its end; resume the run for its score"
                    );
                    self.observer.observe(&Event::Warned { message });
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(scores)
    }

    /// Saves the best weights with these scores in place of those that they have.
    pub(crate) fn save_scores(
        &self,
        best: SavedModel,
        scores: BTreeMap<String, LanguageScore>,
    ) -> Result<(), Error> {
        let notes = ModelNotes { scores, ..best.notes.unwrap_or_default() };
        let tokenizer_json = self.corpus.tokenizer.to_json();
        Ok(self.folder.save_model(&best.config, tokenizer_json, &best.parameters, &notes)?)
    }

    /// What the best weights keep of the stories that validate a storybook; nothing for another text, or if `stop` is set.
    fn kept_dependencies(&self, stop: &AtomicBool) -> Result<Vec<Kept>, Error> {
        let Corpus::Storybook { language, .. } = self.settings.corpus else { return Ok(vec![]) };
        let best = self.folder.load_model()?;
        let book = Storybook::new(language, VALID_BOOK);
        let mut go_on = |_, _| match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let model = ModelRef::of(&self.cpu, &best)?;
        match dependencies(model, &book, 0, PROBED_STORIES, &mut go_on) {
            Err(recurra_inference::Error::Stopped { .. }) => Ok(vec![]),
            kept => Ok(kept?),
        }
    }

    /// With a budget, only the start of a long validation text is scored, and of any where the machine is too busy.
    fn choose_scored_part(&mut self) {
        if !matches!(self.recipe.length, Length::Budget(_)) {
            return;
        }
        let token_seconds = self.seconds_per_token();
        self.scored_part = self.pace.affordable_part(token_seconds);
        if self.scored_part < 1.0 {
            let message = format!(
                "the budget does not reach for all of {}: the final score is of its first {:.0} %",
                self.corpus.valid.text.describe(),
                100.0 * self.scored_part
            );
            self.observer.observe(&Event::Warned { message });
        }
    }

    /// The validation text, or as much of its start as the budget can pay for.
    fn scored_valid(&self) -> Result<TokenFile, Error> {
        let valid = &self.corpus.valid;
        if self.scored_part >= 1.0 {
            return Ok(valid.tokens.clone());
        }
        let (start, _) = valid.text.split_last(1.0 - self.scored_part)?;
        Ok(TokenFile::open_or_build(&self.cache, &start, &self.corpus.tokenizer)?)
    }

    /// Seconds a token at batch 1, measured for some hundredths of a second.
    fn seconds_per_token(&mut self) -> f64 {
        let tokens = &self.corpus.valid.tokens;
        let time = 64.min(tokens.len() - 1);
        let (mut ids, window) = (vec![0; time + 1], Window { time, batch: 1 });
        tokens.read(0, &mut ids);
        let mut state = self.model.zero_state(1);
        let mut score = || {
            let mut tape = Tape::inference(&self.cpu, &self.parameters, &mut self.workspace);
            self.model.nats(&mut tape, &ids[..time], &ids[1..], window, &mut state);
        };
        score(); // the first time packs weights and fills caches
        let (started, mut n_windows) = (Instant::now(), 0);
        while n_windows == 0 || (n_windows < 16 && started.elapsed().as_secs_f64() < 0.05) {
            score();
            n_windows += 1;
        }
        started.elapsed().as_secs_f64() / (n_windows * time) as f64
    }

    /// What the model's file says about it.
    pub(crate) fn notes(&self) -> ModelNotes {
        ModelNotes {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            step: self.position.step,
            tokens: self.position.tokens_seen,
            seconds: self.pace.elapsed_seconds(),
            seed: self.recipe.seed,
            data: self.position.train_text.clone(),
            scores: Default::default(),
            extra: serde_json::json!({ "recipe": self.recipe }),
        }
    }

    fn save_card(&mut self, scores: &[(&'static str, LanguageScore)]) -> Result<(), Error> {
        let corpus = &self.corpus;
        let texts = [&corpus.train, &corpus.valid].into_iter().chain(&corpus.test);
        let card = ModelCard {
            name: self.name(),
            recipe: &self.recipe,
            vocab_size: corpus.tokenizer.vocab_size(),
            parameters: self.parameters.n_values() as u64,
            flops_per_token: self.model.config().flops_per_token(),
            texts: texts.map(|text| text.for_card()).collect(),
            steps: self.position.step,
            tokens: self.position.tokens_seen,
            seconds: self.pace.elapsed_seconds(),
            machine: format!("{} threads of {}", self.cpu.threads(), self.cpu.isa()),
            scores: scores.to_vec(),
            true_bits_per_byte: self.true_bits_per_byte(),
            sample: self.sample.as_ref().map(|sample| sample.text.clone()),
            has_curve: self.recorder.draw_curve(&self.name())?,
        };
        Ok(self.folder.save_card(&card.markdown())?)
    }

    /// What a perfect model would need for the validation text, if that is known and all of it was scored.
    fn true_bits_per_byte(&self) -> Option<f64> {
        let n_bytes = self.corpus.valid.tokens.n_bytes() as f64;
        let nats = self.true_valid_nats.filter(|_| self.scored_part >= 1.0)?;
        Some(nats / (n_bytes * std::f64::consts::LN_2))
    }

    fn report(
        self,
        stop_reason: StopReason,
        scores: Scores,
        kept_dependencies: Vec<Kept>,
        last_sha256: String,
    ) -> Report {
        let score_of =
            |role| scores.iter().find(|(name, _)| *name == role).map(|(_, score)| score.clone());
        let (valid, test) = (score_of("validation"), score_of("test"));
        // Without the score that can be trusted, the loss of the best validation on the way stands in its place.
        let valid_loss_nats = match &valid {
            Some(score) => Some(score.loss_nats()),
            None => self.position.best.map(|best| best.loss_nats),
        };
        let valid_bits_per_byte = match &valid {
            Some(score) => Some(score.bits_per_byte()),
            None => valid_loss_nats.map(|loss_nats| self.corpus.valid.bits_per_byte(loss_nats)),
        };
        let n_predicted = self.corpus.valid.tokens.len().saturating_sub(1);
        let valid_part = valid.as_ref().map(|score| score.tokens as f64 / n_predicted as f64);
        let true_bits_per_byte = valid.as_ref().and(self.true_bits_per_byte());
        let forecast = self.position.forecast.filter(|_| valid.is_some());
        Report {
            forecast_bits_per_byte: forecast.map(|forecast| forecast.bits_per_byte),
            out: self.settings.out.display().to_string(),
            steps: self.position.step,
            tokens: self.position.tokens_seen,
            seconds: self.pace.elapsed_seconds(),
            tokens_per_second: self.position.tokens_seen as f64
                / self.position.update_seconds.max(1e-9),
            train_loss_nats: self
                .position
                .train_loss_nats
                .or(self.position.since_validation.loss_nats()),
            valid_loss_nats,
            valid_perplexity: valid_loss_nats.map(f64::exp),
            valid_bits_per_byte,
            valid_text_part: valid_part.filter(|part| *part < 1.0),
            valid_on_the_way: valid.is_none() && valid_loss_nats.is_some(),
            test_loss_nats: test.as_ref().map(LanguageScore::loss_nats),
            test_perplexity: test.as_ref().map(LanguageScore::perplexity),
            test_bits_per_byte: test.as_ref().map(LanguageScore::bits_per_byte),
            true_bits_per_byte,
            excess_bits_per_byte: true_bits_per_byte
                .zip(valid_bits_per_byte)
                .map(|(limit, bits)| bits - limit),
            kept_dependencies,
            parameters: self.parameters.n_values() as u64,
            precision: self.cpu.isa().precision().to_string(),
            isa: self.cpu.isa().to_string(),
            threads: self.cpu.threads(),
            seed: self.recipe.seed,
            weights_sha256: last_sha256,
            stop_reason,
            valid_score: valid,
            test_score: test,
        }
    }
}
