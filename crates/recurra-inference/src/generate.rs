//! Writing: a prompt is read token by token, then each new token is drawn from what the model predicts after all before it.

use std::ops::{ControlFlow, Deref};
use std::time::{Duration, Instant};

use recurra_models::{Prepared, Stepper};

use crate::warning::{Warning, unseen};
use crate::{Error, Found, Memory, ModelRef, Result, Sampler, Sampling, StopStrings};

/// How to write.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// How each token is chosen.
    pub sampling: Sampling,
    /// The most tokens to write.
    pub max_tokens: usize,
    /// Strings before which the text ends.
    pub stop: Vec<String>,
}

impl Default for GenerateOptions {
    /// 200 tokens by the model's own probabilities.
    fn default() -> Self {
        Self { sampling: Sampling::default(), max_tokens: 200, stop: Vec::new() }
    }
}

/// Why a text ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has as many tokens as were asked for.
    Length,
    /// This stop string came.
    Stop(String),
    /// Whoever took the text wanted no more.
    Taker,
}

/// How a text came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Tokens written.
    pub tokens: usize,
    /// Why it ended.
    pub ended: Ended,
    /// Time for reading the prompt and writing the first token; `None` when there is no token.
    pub first_token_ms: Option<f64>,
    /// Tokens written a second, the prompt's time left out; 0 when there is no token.
    pub tokens_per_second: f64,
}

/// Writes with a model.
///
/// A text begins with nothing or goes on from a [`Memory`]. [`feed`](Self::feed) lets the model read a prompt;
/// [`write`](Self::write) hands over the text as it comes, or [`next_piece`](Self::next_piece) piece by piece. Without a
/// prompt, the text begins after an end of line. Prompt and text run through the same single steps, so reading what was
/// written leads to the same state, bit for bit, as writing it.
///
/// A model that is not [prepared](ModelRef::with_prepared) is prepared first, in the precision of its processor: where many
/// texts are written with one model, prepare it once.
///
/// Text that may be the start of a stop string, and bytes that are not yet a character, are held back. Where the text ends
/// by length, [`rest`](Self::rest) gives what is held, or [`memory`](Self::memory) keeps it for a text that goes on.
#[derive(Debug)]
pub struct Generator<'a> {
    model: ModelRef<'a>,
    prepared: Weights<'a>,
    /// Holds the state of the network; that in `memory` is the one from which this text went on.
    stepper: Stepper,
    memory: Memory,
    sampler: Sampler,
    stop: StopStrings,
    max_tokens: usize,
    /// Bytes of the memory's held text that the last piece handed out.
    handed_out: usize,
    n_written: usize,
    ended: Option<Ended>,
    /// Time spent before the first token, and time spent writing.
    reading: Duration,
    writing: Duration,
    first_token: Option<Duration>,
}

/// The weights laid out for writing: those that the model brings, or the generator's own.
#[derive(Debug)]
enum Weights<'a> {
    Borrowed(&'a Prepared),
    Own(Box<Prepared>),
}

impl<'a> Weights<'a> {
    fn of(model: ModelRef<'a>) -> Self {
        let lay_out = || model.network.prepare(model.cpu, model.parameters, model.storage());
        model.prepared.map_or_else(|| Self::Own(Box::new(lay_out())), Self::Borrowed)
    }
}

impl Deref for Weights<'_> {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        match self {
            Self::Borrowed(prepared) => prepared,
            Self::Own(prepared) => prepared,
        }
    }
}

impl<'a> Generator<'a> {
    /// A text that begins with nothing; `seed` decides every draw.
    ///
    /// # Errors
    /// When a setting is outside of its range or a stop string empty.
    pub fn new(model: ModelRef<'a>, options: &GenerateOptions, seed: u64) -> Result<Self> {
        Self::resume(model, options, Memory::new(model, seed))
    }

    /// A text that goes on from where this memory, made by the same model, stands.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn resume(model: ModelRef<'a>, options: &GenerateOptions, memory: Memory) -> Result<Self> {
        let sampler = Sampler::new(options.sampling.clone())?;
        let stop = StopStrings::new(options.stop.clone())?;
        let (reading, writing) = (Duration::ZERO, Duration::ZERO);
        let prepared = Weights::of(model);
        let mut stepper = Stepper::new(model.cpu, &prepared, 1);
        stepper.set_state(&memory.state);
        Ok(Self {
            model,
            prepared,
            stepper,
            memory,
            sampler,
            stop,
            max_tokens: options.max_tokens,
            handed_out: 0,
            n_written: 0,
            ended: None,
            reading,
            writing,
            first_token: None,
        })
    }

    /// Lets the model read `prompt`; what it has never seen comes back as warnings. An empty prompt changes nothing.
    ///
    /// After a text has ended it may go on: up to `max_tokens` more are written after the prompt. Text that was held back
    /// before the prompt is dropped; [`rest`](Self::rest) gives it.
    ///
    /// # Errors
    /// When the tokenizer has no token for a part of it; nothing is read then.
    pub fn feed(&mut self, prompt: &str) -> Result<Vec<Warning>> {
        let started = Instant::now();
        let ids = self.model.tokenizer.encode(prompt)?;
        let warnings = unseen(self.model, prompt, &ids)?;
        if ids.is_empty() {
            return Ok(warnings);
        }
        for id in ids {
            if let Some(last) = self.memory.next_id {
                self.step(last);
            }
            self.accept(id);
        }
        self.memory.held.clear();
        self.handed_out = 0;
        // Parts of a prompt are one prompt.
        let goes_on = self.n_written == 0 && self.ended.is_none();
        let before = if goes_on { self.reading } else { Duration::ZERO };
        (self.n_written, self.ended, self.first_token) = (0, None, None);
        (self.reading, self.writing) = (before + started.elapsed(), Duration::ZERO);
        Ok(warnings)
    }

    /// The next piece of text, whole characters; `None` at the end.
    ///
    /// # Errors
    /// When the model predicts what is no number.
    pub fn next_piece(&mut self) -> Result<Option<&str>> {
        self.forget_handed_out();
        while self.ended.is_none() {
            if self.n_written >= self.max_tokens {
                self.ended = Some(Ended::Length);
                break;
            }
            self.write_token()?;
            match self.stop.find(&self.memory.held) {
                Found::Stop { index, at } => {
                    self.memory.held.truncate(at);
                    self.handed_out = at;
                    self.ended = Some(Ended::Stop(self.stop.strings()[index].clone()));
                }
                Found::Nothing { sure } => self.handed_out = sure,
            }
            if self.handed_out > 0 {
                return Ok(Some(&self.memory.held[..self.handed_out]));
            }
        }
        Ok(None)
    }

    /// Hands every piece to `sink` until the text ends or `sink` breaks off.
    ///
    /// # Errors
    /// As [`next_piece`](Self::next_piece).
    pub fn write(&mut self, sink: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<Written> {
        while let Some(piece) = self.next_piece()? {
            if sink(piece).is_break() {
                self.ended.get_or_insert(Ended::Taker);
            }
        }
        Ok(self.written())
    }

    /// How the text came to be, as far as it is written.
    pub fn written(&self) -> Written {
        let seconds = self.writing.as_secs_f64();
        let tokens_per_second = if seconds > 0.0 { self.n_written as f64 / seconds } else { 0.0 };
        Written {
            tokens: self.n_written,
            ended: self.ended.clone().unwrap_or(Ended::Taker),
            first_token_ms: self.first_token.map(|time| time.as_secs_f64() * 1e3),
            tokens_per_second,
        }
    }

    /// What is held back, as text: the possible start of a stop string, and U+FFFD for a character that is not complete.
    pub fn rest(&self) -> String {
        let held = &self.memory.held[self.handed_out..];
        held.to_owned() + &self.memory.decoder.clone().finish()
    }

    /// Where the text stands, to be saved or to go on from.
    pub fn memory(&self) -> Memory {
        let state = self.stepper.state();
        let mut memory = Memory { state, ..self.memory.clone() };
        memory.held.drain(..self.handed_out);
        memory
    }

    fn forget_handed_out(&mut self) {
        self.memory.held.drain(..self.handed_out);
        self.handed_out = 0;
    }

    /// Lets the network read a token without asking what comes next.
    fn step(&mut self, id: u32) {
        let ModelRef { cpu, parameters, .. } = self.model;
        self.stepper.read(cpu, &self.prepared, parameters, &[id]);
    }

    /// Chooses one token and appends its text to what is held.
    fn write_token(&mut self) -> Result<()> {
        let started = Instant::now();
        let last = self.memory.next_id.unwrap_or_else(|| {
            let start = self.model.start_id();
            self.memory.decoder.push(start);
            start
        });
        let ModelRef { cpu, parameters, .. } = self.model;
        let prepared = &*self.prepared;
        let id = if self.sampler.takes_the_likeliest() {
            let likeliest = self.stepper.likeliest(cpu, prepared, parameters, &[last])[0];
            likeliest.is_sound().then_some(likeliest.id).ok_or(Error::Logits)?
        } else if self.sampler.draws_from_all() {
            let noise = self.memory.draws.noise(self.sampler.sampling().temperature);
            let drawn = self.stepper.drawn(cpu, prepared, parameters, &[last], &[noise])[0];
            drawn.is_sound().then_some(drawn.id).ok_or(Error::Logits)?
        } else {
            let Memory { recent, draws, .. } = &mut self.memory;
            let last = [last];
            let mut logits = self.stepper.logits(cpu, prepared, parameters, &last);
            let logits = logits.next().expect("one stream");
            self.sampler.choose(logits, recent, draws)?
        };
        self.accept(id);
        self.n_written += 1;
        self.writing += started.elapsed();
        self.first_token.get_or_insert(self.reading + self.writing);
        Ok(())
    }

    /// Makes `id` the last token of the text; what it completes is held.
    fn accept(&mut self, id: u32) {
        let memory = &mut self.memory;
        memory.next_id = Some(id);
        memory.recent.push(id, self.sampler.sampling().repetition_window);
        memory.held.push_str(memory.decoder.push(id));
    }
}

#[cfg(test)]
mod tests;
