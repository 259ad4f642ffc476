//! `cargo xtask bench`: Recurra beside the opponents that are installed, on the same machine in the same minutes.
//!
//! For each shape Recurra and its opponents take turns, so that whatever else the machine does hits all of them; medians
//! are compared. What each program does in a step is said where it stands, in `bench/peers`.

mod program;
mod table;
mod timing;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use program::Program;
use table::{Row, markdown};
use timing::{Timing, geometric_mean, median, parse};

/// The shapes of `recurra bench`.
pub const SHAPES: [&str; 6] =
    ["char-512", "gru-512", "ptb-650", "word-650", "word-200", "awd-1150"];

/// Time Recurra beside the opponents that are installed; prints Markdown tables of medians and ratios
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Shapes to time [default: all]
    #[arg(long, num_args = 1.., value_parser = SHAPES, value_name = "NAME")]
    pub shape: Vec<String>,
    /// What to time [default: both]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How often every program is run; medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub rounds: u64,
    /// Steps that every run times [default: as each program has it]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Streams written side by side
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub streams: usize,
    /// Threads of every program [default: as each program has it]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Hold Recurra to an instruction set of f32 and PyTorch to f32; with avx2, PyTorch to AVX2 as well
    #[arg(long, value_enum)]
    pub isa: Option<Isa>,
    /// A program to take in place of building this one
    #[arg(long, value_name = "PATH")]
    pub recurra: Option<PathBuf>,
    /// The Python that has torch
    #[arg(long, default_value = "python3", value_name = "PATH")]
    pub python: PathBuf,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Steps of training.
    Train,
    /// One token after the other.
    Generate,
}

impl Mode {
    /// Its name in the commands of all programs.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Generate => "generate",
        }
    }
}

/// An instruction set that programs are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isa {
    /// Sixteen lanes of `f32`.
    Avx512,
    /// Eight lanes of `f32`.
    Avx2,
}

impl Isa {
    /// Its name in `RECURRA_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
        }
    }
}

impl Bench {
    /// Times, and returns a table for each mode; `tell` hears of every run, and of what is missing.
    ///
    /// # Errors
    /// When Recurra cannot be built, or a program that is there fails.
    pub fn run(&self, tell: &mut dyn FnMut(&str)) -> Result<String, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent");
        let recurra = Program::recurra(self, root)?;
        if !recurra.is_installed() {
            return Err(format!("{}: leave `--recurra` out to build it", recurra.how_to_install()));
        }
        let (peers, unheld): (Vec<Program>, Vec<Program>) =
            Program::peers(self, root).into_iter().partition(|peer| peer.can_be_held(self.isa));
        if let (Some(isa), false) = (self.isa, unheld.is_empty()) {
            let names: Vec<&str> = unheld.iter().map(|peer| peer.name).collect();
            let isa = isa.name();
            tell(&format!("left out, because nothing holds them to {isa}: {}", names.join(", ")));
        }
        let (peers, missing): (Vec<Program>, Vec<Program>) =
            peers.into_iter().partition(Program::is_installed);
        if !missing.is_empty() {
            let hints: Vec<String> = missing.iter().map(Program::how_to_install).collect();
            tell(&format!("not installed: {}", hints.join("; ")));
        }
        let mut tables = Vec::new();
        for mode in self.mode.map_or(vec![Mode::Train, Mode::Generate], |mode| vec![mode]) {
            let mut rows = Vec::new();
            for shape in self.shapes() {
                rows.push(self.time_shape(mode, shape, &recurra, &peers, tell)?);
            }
            tables.push(markdown(mode, &rows));
        }
        Ok(tables.join("\n\n"))
    }

    fn shapes(&self) -> Vec<&str> {
        match &self.shape[..] {
            [] => SHAPES.to_vec(),
            asked => asked.iter().map(String::as_str).collect(),
        }
    }

    /// Recurra and every opponent that knows the shape, in turns.
    fn time_shape(
        &self,
        mode: Mode,
        shape: &str,
        recurra: &Program,
        peers: &[Program],
        tell: &mut dyn FnMut(&str),
    ) -> Result<Row, String> {
        let mut programs: Vec<(&Program, Vec<Timing>)> = std::iter::once(recurra)
            .chain(peers.iter().filter(|peer| peer.knows(mode, shape)))
            .map(|program| (program, vec![]))
            .collect();
        for round in 1..=self.rounds {
            for (program, timings) in &mut programs {
                // Which precision is the faster one is asked once, in the first round.
                let precision = timings.first().and_then(|first: &Timing| first.precision.clone());
                let timing = program.time(self, mode, shape, precision.as_deref())?;
                tell(&format!(
                    "{shape}, round {round} of {}: {}, {timing}",
                    self.rounds, program.name
                ));
                timings.push(timing);
            }
        }
        let medians = programs
            .into_iter()
            .map(|(program, timings)| (program.name.to_owned(), median(&timings)))
            .collect();
        Ok(Row { shape: shape.to_owned(), medians })
    }
}
