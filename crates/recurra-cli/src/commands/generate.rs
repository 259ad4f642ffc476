//! `recurra generate`: let a model write.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use recurra::Model;
use recurra::checkpoint::StateFile;
use recurra::inference::{Ended, GenerateOptions, Memory, Sampling};
use recurra::metrics::readable::{grouped, rounded};
use serde::Serialize;

use crate::failure::Failure;
use crate::machine_flags::UseFlags;
use crate::values;
use crate::{interrupt, output};

/// Let a model write, and save or restore what it remembers
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)] // so that `--temperature -1` is told what it may be
pub struct Generate {
    /// Folder of the model
    #[arg(value_name = "DIR")]
    model: PathBuf,
    /// Text to go on from
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Most tokens to write
    #[arg(long, value_parser = values::size::<0, 1_000_000_000>, default_value = "200", value_name = "N")]
    tokens: usize,
    /// Stop before this text (\n is a line end); may be given several times
    #[arg(long, value_parser = values::escaped, value_name = "TEXT")]
    stop: Vec<String>,
    /// Print one JSON object, in place of the text, as last line of standard output
    #[arg(long)]
    json: bool,
    /// Temperature of the softmax: 0 takes the likeliest token always, 1 follows the model
    #[arg(long, value_parser = values::temperature, default_value = "1", value_name = "F", help_heading = "Sampling")]
    temperature: f64,
    /// Choose among the N likeliest only
    #[arg(long, value_parser = values::size::<1, 10_000_000>, value_name = "N", help_heading = "Sampling")]
    top_k: Option<usize>,
    /// Choose among the likeliest that together have this share
    #[arg(long, value_parser = values::share, value_name = "F", help_heading = "Sampling")]
    top_p: Option<f64>,
    /// Choose among those at least this likely, as a share of the likeliest
    #[arg(long, value_parser = values::part, value_name = "F", help_heading = "Sampling")]
    min_p: Option<f64>,
    /// Make what came lately less likely; 1 does not
    #[arg(long, value_parser = values::penalty, default_value = "1", value_name = "F", help_heading = "Sampling")]
    repetition_penalty: f64,
    /// Seed of the choices [default: a new one each time, told; with --state-in that of the file]
    #[arg(long, value_parser = values::whole::<0, { u64::MAX }>, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,
    /// Go on from what the model remembers in this file
    #[arg(long, value_name = "FILE", help_heading = "State")]
    state_in: Option<PathBuf>,
    /// Save what the model remembers at the end
    #[arg(long, value_name = "FILE", help_heading = "State")]
    state_out: Option<PathBuf>,
    #[command(flatten)]
    machine: UseFlags,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Report {
    text: String,
    tokens: usize,
    tokens_per_second: f64,
    first_token_ms: Option<f64>,
    seed: u64,
}

impl Generate {
    /// Reads the prompt, writes, saves the state.
    pub fn run(self) -> Result<(), Failure> {
        // A text that nothing can go on from is better not written.
        self.state_out.as_deref().map_or(Ok(()), StateFile::expect_place)?;
        let model = self.machine.open(&self.model)?;
        let memory = self.memory(&model)?;
        let seed = memory.seed();
        let mut generator = model.resume(&self.options(), memory)?;
        let prompt = self.prompt.as_deref().unwrap_or_default();
        for warning in generator.feed(prompt)? {
            tell_line!("warning: {warning}");
        }

        let stop = Arc::new(AtomicBool::new(false));
        interrupt::set(&stop)?;
        let mut text = String::new();
        let mut output = Output { closed: false, result: Ok(()), silent: self.json };
        output.write(prompt);
        let written = generator.write(&mut |piece| {
            text.push_str(piece);
            output.write(piece);
            let ends = output.closed || stop.load(Ordering::Relaxed);
            if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        // What is held back begins the next text where the state is saved; otherwise it ends this one.
        if self.state_out.is_none() && written.ended == Ended::Length {
            let rest = generator.rest();
            text.push_str(&rest);
            output.write(&rest);
        }
        if std::io::stdout().is_terminal() && !self.json {
            output.write("\n");
        }
        if let Some(path) = &self.state_out {
            model.save_memory(&generator.memory(), path)?;
        }
        tell_line!(
            "{} tokens, {} tokens/s in {}, seed {seed}",
            grouped(written.tokens as u64),
            rounded(written.tokens_per_second),
            model.storage()
        );
        output.result?;
        match self.json {
            false => Ok(()),
            true => output::write_json(&Report {
                text,
                tokens: written.tokens,
                tokens_per_second: written.tokens_per_second,
                first_token_ms: written.first_token_ms,
                seed,
            }),
        }
    }

    /// Where the text begins: with nothing, or where a state file stands. `--seed` begins new draws in either.
    fn memory(&self, model: &Model) -> Result<Memory, Failure> {
        let Some(path) = &self.state_in else {
            return Ok(Memory::new(model.reference(), self.seed.unwrap_or_else(new_seed)));
        };
        let mut memory = model.load_memory(path)?;
        if let Some(seed) = self.seed {
            memory.reseed(seed);
        }
        Ok(memory)
    }

    fn options(&self) -> GenerateOptions {
        let usual = Sampling::default();
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            repetition_penalty: self.repetition_penalty,
            ..usual
        };
        GenerateOptions { sampling, max_tokens: self.tokens, stop: self.stop.clone() }
    }
}

/// The text as it is written; a reader that goes away ends it.
struct Output {
    closed: bool,
    result: std::io::Result<()>,
    silent: bool,
}

impl Output {
    fn write(&mut self, text: &str) {
        if self.silent || self.closed || text.is_empty() {
            return;
        }
        if let Err(error) = output::write(text) {
            self.closed = true;
            if !output::is_closed(&error) {
                self.result = Err(error);
            }
        }
    }
}

/// A seed that is another one each time, short enough to be typed again.
fn new_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) % 1_000_000_000
}
